"""Flights of 2013 as events and labels."""

import importlib.util
from datetime import UTC, datetime, timedelta, timezone
from statistics import quantiles

import pytest

from stream_app.errors import InputError
from stream_app.examples.nycflights import Flight, read_flights, timeline

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def year() -> list[Flight]:
    return read_flights(datetime(2013, 1, 1), datetime(2014, 1, 2))


@pytest.mark.faults
def test_event_ids_are_unique_over_the_whole_year(year: list[Flight]) -> None:
    assert len(year) == 336_776
    assert len({flight.event["event_id"] for flight in year}) == 336_776


def test_exactly_the_flights_that_arrived_have_a_label(year: list[Flight]) -> None:
    labels = [flight.label for flight in year if flight.label is not None]
    assert len(year) - len(labels) == 8_255 + 1_175  # cancelled, diverted
    assert sum(label["late"] for label in labels) / len(labels) == pytest.approx(0.2447, abs=1e-4)


def test_labels_become_known_hours_after_the_event(year: list[Flight]) -> None:
    delays = [
        (flight.label_time_ms - flight.event_time_ms) / HOUR_MS for flight in year if flight.label
    ]
    cuts = quantiles(delays, n=100)
    assert min(delays) > 0
    assert cuts[49] == pytest.approx(2.83, abs=0.02)
    assert cuts[94] == pytest.approx(6.42, abs=0.02)
    assert max(delays) == pytest.approx(32.7, abs=0.01)


@pytest.mark.parametrize(
    ("event_id", "departure", "minutes", "known_at"),
    [
        (
            "2013-01-01-UA1545-EWR",
            "2013-01-01T10:15:00Z",
            244,
            "2013-01-01T14:30:00Z",
        ),  # Houston, an hour behind
        (
            "2013-01-01-B6725-JFK",
            "2013-01-01T10:45:00Z",
            217,
            "2013-01-01T14:04:00Z",
        ),  # Puerto Rico, an hour ahead
        (
            "2013-07-01-HA51-JFK",
            "2013-07-01T14:00:00Z",
            630,
            "2013-07-02T01:27:00Z",
        ),  # Hawaii, no summer time
    ],
)
def test_the_planned_duration_is_computed_from_local_clock_times(
    year: list[Flight], event_id: str, departure: str, minutes: int, known_at: str
) -> None:
    flight = next(flight for flight in year if flight.event["event_id"] == event_id)
    assert flight.label is not None
    assert flight.event["scheduled_departure"] == departure
    assert flight.event["planned_minutes"] == minutes
    assert flight.label["known_at"] == known_at


def test_an_event_contains_only_what_is_known_at_scheduled_departure(
    two_months: list[Flight],
) -> None:
    event = two_months[0].event
    unknown_fields = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")
    assert not any(name in event for name in unknown_fields)
    assert event == {
        "event_id": "2013-01-01-UA1545-EWR",
        "scheduled_departure": "2013-01-01T10:15:00Z",
        "carrier": "UA",
        "flight": 1545,
        "tail_number": "N14228",
        "origin": "EWR",
        "dest": "IAH",
        "distance": 1400,
        "local_departure": 515,
        "planned_minutes": 244,
        "humidity": 62.21,  # measured at 9:00 UTC
        "wind_speed": 12.658579999999999,
        "precipitation": 0.0,
        "pressure": 1012.2,
        "visibility": 10.0,
    }


def test_missing_values_are_kept_in_the_events(two_months: list[Flight]) -> None:
    events = [flight.event for flight in two_months]
    assert any(event["tail_number"] is None for event in events)
    assert any(event["pressure"] is None for event in events)


def test_flights_are_read_from_a_half_open_period_in_order(two_months: list[Flight]) -> None:
    start, end = (
        datetime(2013, 1, 31, 12, 30),
        datetime(2013, 2, 1, 14, tzinfo=timezone(timedelta(hours=2))),
    )
    low, high = (int(time.timestamp() * 1000) for time in (start.replace(tzinfo=UTC), end))
    assert read_flights(start, end) == [
        flight for flight in two_months if low <= flight.event_time_ms < high
    ]
    times = [flight.event_time_ms for flight in two_months]
    assert times == sorted(times)


def test_the_timeline_merges_events_and_labels_by_time(two_months: list[Flight]) -> None:
    items = timeline(two_months)
    times = [time for _, time, _ in items]
    assert times == sorted(times)
    assert sum(kind == "raw" for kind, _, _ in items) == len(two_months)
    assert sum(kind == "labels" for kind, _, _ in items) == sum(
        flight.label is not None for flight in two_months
    )


def test_a_missing_distribution_is_an_error_with_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install"):
        read_flights(datetime(2013, 1, 1), datetime(2013, 1, 2))
