"""One event stamped far ahead is named by `try`, because it makes later ones too late."""

from stream_app.offline.simulation import Simulation
from stream_app.offline.simulation_summary import simulation_warnings
from stream_app.offline.timeline import InputLine, Timed
from tests.small_pipeline import HOUR, NOW, event, record, small_pipeline

DAY = 24 * HOUR


def simulated(times: list[int]) -> Simulation:
    """Return a finished simulation of events at these times, in lines from 1."""
    events = [
        Timed(time, InputLine("event", number + 1, record(event(number, time), number)))
        for number, time in enumerate(times)
    ]
    simulation = Simulation(small_pipeline(), events, [], NOW)
    list(simulation)
    return simulation


def jumps(simulation: Simulation) -> list[str]:
    return [one for one in simulation_warnings(simulation) if "at once" in one]


def test_the_line_of_an_event_that_makes_later_ones_too_late_is_named() -> None:
    year = NOW - 365 * DAY
    found = simulated([year, year + HOUR, NOW, *(year + n * HOUR for n in range(2, 50))])
    assert found.engine.record_counts.dead["event-too-late"] == 48
    (warning,) = jumps(found)
    assert "The event in line 3 moved event time ahead by 365 days at once" in warning
    assert "48 events came too late" in warning


def test_a_gap_without_late_events_and_the_first_event_are_no_jumps() -> None:
    assert jumps(simulated([NOW - 365 * DAY, NOW - HOUR, NOW])) == []
    assert simulated([NOW]).largest_jump is None
