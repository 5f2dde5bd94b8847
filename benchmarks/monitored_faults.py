"""Finds of the monitor among faults of a year of flights: `python -m benchmarks.monitored_faults`.

Each fault begins at twenty random hours and lasts for a week; it is found by the first alarm of its
kind that is opened meanwhile. It prints two tables in Markdown, with the defaults and with one
false alarm a year for each kind, and needs ten minutes.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from math import cos, pi, sin
from typing import Any, NamedTuple

from benchmarks.alarms import spread
from benchmarks.monitored_flights import DEFAULTS, MonitoredFlights, pipeline
from benchmarks.poisoned_flights import (
    FOUND_WITHIN_MS,
    HOUR_MS,
    FlightChange,
    LabelLoss,
    ServedFlights,
    TimedFlight,
    read_year,
)
from stream_app.core.alarms.alarm_record import AlarmName
from stream_app.pipeline import Alarms

# Written down before the first run.
SEED = 2100
FAULTS = 20
FIRST, LAST = datetime(2013, 2, 5, tzinfo=UTC), datetime(2013, 12, 13, tzinfo=UTC)
# After the year.
NEVER_ENDS = 2**62
WEATHER = ("humidity", "wind_speed", "precipitation", "pressure", "visibility")
Features = dict[str, Any]


class Fault(NamedTuple):
    """Fault of a stream, and the alarm that should be raised.

    Attributes:
        name: what is wrong.
        alarm: name of the alarm.
        flights: what is sent of a flight.
        lost: True if the label of a flight is not sent.
    """

    name: str
    alarm: AlarmName
    flights: FlightChange = lambda flight, _: [flight.features]
    lost: LabelLoss = lambda _: False


def in_km(flight: TimedFlight, _: random.Random) -> Sequence[Features]:
    return [{**flight.features, "distance": flight.features["distance"] * 1.609}]


def renamed(flight: TimedFlight, _: random.Random) -> Sequence[Features]:
    features = flight.features
    if features["carrier"] != "UA":
        return [features]
    return [{**features, "carrier": "UNITED", "flight": features["flight"].replace("UA", "UNITED")}]


def without_jfk(flight: TimedFlight, _: random.Random) -> Sequence[Features]:
    return [] if flight.features["origin"] == "JFK" else [flight.features]


def shifted(flight: TimedFlight, _: random.Random) -> Sequence[Features]:
    hour = (flight.features["hour"] + 4) % 24
    angle = 2 * pi * hour / 24
    day = {"day_sin": sin(angle), "day_cos": cos(angle)}
    half_day = {"half_day_sin": sin(2 * angle), "half_day_cos": cos(2 * angle)}
    return [{**flight.features, "hour": hour, **day, **half_day}]


def filled(flight: TimedFlight, _: random.Random) -> Sequence[Features]:
    """Sends 0 for pressures that are not known, a tenth of them."""
    features = flight.features
    return [{**features, "pressure": 0.0} if features["pressure"] == 1017.0 else features]


def with_other_weather(flight: TimedFlight, chance: random.Random) -> Sequence[Features]:
    other = chance.choice(year()).features
    return [flight.features | {name: other[name] for name in WEATHER}]


def fewer_on_time(flight: TimedFlight, chance: random.Random) -> Sequence[Features]:
    return [] if flight.label is False and chance.random() < 0.6 else [flight.features]


def times(number: float, flight: TimedFlight, chance: random.Random) -> Sequence[Features]:
    return [flight.features] * (int(number) + (chance.random() < number % 1))


LIST = (
    Fault("distance in km", "input-drift", in_km),
    Fault("a carrier renamed", "input-drift", renamed),
    Fault("an airport silent", "input-drift", without_jfk),
    Fault("times shifted by 4 h", "input-drift", shifted),
    Fault("nulls filled with 0", "input-drift", filled),
    Fault("weather of another flight", "input-drift", with_other_weather),
    Fault("60 % of the flights on time gone", "input-drift", fewer_on_time),
    Fault("no events", "event-volume", partial(times, 0.0)),
    Fault("half of the events", "event-volume", partial(times, 0.5)),
    Fault("twice the events", "event-volume", partial(times, 2.0)),
    Fault("no labels", "label-coverage", lost=lambda _: True),
    Fault(
        "no labels of an airport",
        "label-coverage",
        lost=lambda flight: bool(flight.features["origin"] == "JFK"),
    ),
)


@cache
def year() -> list[TimedFlight]:
    """Returns the flights of the year, those that were cancelled too."""
    return read_year(unlabelled=True)


def starts() -> list[int]:
    """Returns the times at which faults begin, in Unix milliseconds."""
    chance = random.Random(SEED)
    hours = int((LAST - FIRST).total_seconds() // 3600)
    first = int(FIRST.timestamp() * 1000)
    return sorted(first + hour * HOUR_MS for hour in chance.sample(range(hours), FAULTS))


def main() -> None:
    """Prints how many of the faults were found, and when."""
    print_finds("the defaults", DEFAULTS)
    # Volume and coverage get a share of .3 each.
    each = replace(DEFAULTS, false_per_year=1 / 0.3, input_drift_per_year=1)
    print_finds("one a year for each kind", each)


def print_finds(name: str, alarms: Alarms) -> None:
    """Prints the alarms of the clean year, then the table."""
    clean = MonitoredFlights(ServedFlights(year()), pipeline(alarms))
    hours: dict[str, list[float]] = {fault.name: [] for fault in LIST}
    print(f"{name}\n")
    for number, start in enumerate([*starts(), NEVER_ENDS]):
        for alarm in clean.until(start):
            print(f"clean: {alarm.id}: {alarm.cause}", flush=True)
        for fault in LIST if start < NEVER_ENDS else ():
            faulty = clean.copied().until(
                start + FOUND_WITHIN_MS, seed=number, flights=fault.flights, lost=fault.lost
            )
            found = next((one.opened_at for one in faulty if one.name == fault.alarm), None)
            if found is not None:
                hours[fault.name].append((found - start) / HOUR_MS)
    print("\n| fault | alarm | found | median | 90 % |\n|---|---|--:|--:|--:|")
    for fault in LIST:
        _, median, late = spread(hours[fault.name])
        count = f"{len(hours[fault.name])} of {FAULTS}"
        print(f"| {fault.name} | {fault.alarm} | {count} | {median:.0f} h | {late:.0f} h |")


if __name__ == "__main__":
    main()
