"""Poisoned labels, an outage and a drift are found through a broker, whatever is killed."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.examples.nycflights import Item, read_flights, timeline
from tests.faults.replayed_flights import DAY, HOUR, ReplayedFlights

pytestmark = pytest.mark.faults

DECLARED = """
from dataclasses import replace
from stream_app import Alarms
from stream_app.loading import load_pipeline

pipeline = replace(
    load_pipeline("stream_app.examples.flights:pipeline"),
    name="NAME",
    alarms=Alarms(zone="America/New_York"),
)
"""


def milliseconds(month: int, day: int, hour: int = 0) -> int:
    """Return a time of 2013 in Unix milliseconds."""
    return int(datetime(2013, month, day, hour, tzinfo=UTC).timestamp() * 1000)


START, END = datetime(2013, 1, 1), datetime(2013, 3, 9)
# A fifth of the labels that become known is inverted.
POISONED, CORRECTED = milliseconds(1, 29, 6), milliseconds(2, 1, 6)
# No event is sent.
SILENT, RESTORED = milliseconds(2, 20, 11), milliseconds(2, 21, 5)
# Distances are in km.
DRIFTED = milliseconds(3, 3)
STEP_HOURS = 6
# Steps after which the monitor and the learner are killed.
KILLS = range(19, 260, 24)


def with_faults(items: Sequence[Item]) -> Iterator[Item]:
    """Yields the items with the three faults."""
    chance, missing = Random(2013), set()
    for kind, at, record in items:
        if kind == "raw" and SILENT <= at < RESTORED:
            missing.add(record["event_id"])
        elif kind == "raw" and at >= DRIFTED:
            yield kind, at, {**record, "distance": round(record["distance"] * 1.609)}
        elif kind == "labels" and POISONED <= at < CORRECTED and chance.random() < 0.2:
            yield kind, at, {**record, "late": not record["late"]}
        elif record["event_id"] not in missing:
            yield kind, at, record


def alarms(system: ReplayedFlights) -> list[dict[str, Any]]:
    """Returns the records of alarms in the order in which they were written."""
    return [one for one in system.values("alarms") if "opened_at" in one]


def opened(found: Sequence[dict[str, Any]], *names: str) -> list[tuple[int, int, str]]:
    """Returns since when, when, and why alarms with these names were opened."""
    return [
        (one["since"], one["opened_at"], one["cause"])
        for one in found
        if one["name"] in names and one["n"] == 1 and one["closed_at"] is None
    ]


def test_poisoning_outage_and_drift_are_found_and_kills_change_no_alarm(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    items = list(with_faults(timeline(read_flights(START, END))))
    first = items[0][1] // DAY * DAY
    with ReplayedFlights(broker, tmp_path, DECLARED) as system:
        system.start_all()
        system.start("monitor")
        for number, begin in enumerate(range(first, items[-1][1], STEP_HOURS * HOUR)):
            system.replay(items, begin, begin + STEP_HOURS * HOUR, STEP_HOURS)
            if number == 16:
                shorten_windows(system)
            if number in KILLS:
                for role in ("monitor", "learn"):
                    system.kill(f"{role}-0")
                    system.start(role)
        await_quiet(system)
        found = alarms(system)
        check_found(found)

        system.terminate("monitor-0")
        # Without its state, a monitor starts over and reports everything again.
        system.send("monitor.state", None, b"state")
        system.producer.flush(10)
        system.start("monitor")
        system.until(lambda: len(alarms(system)) >= 2 * len(found), 120, "the second is behind")
        await_quiet(system)
        assert alarms(system) == 2 * found


def shorten_windows(system: ReplayedFlights) -> None:
    done = system.command("monitor", "window", "PIPELINE", "1h", "--why", "to see hours")
    assert done.returncode == 0, done.stderr


def check_found(found: Sequence[dict[str, Any]]) -> None:
    """Check that each fault is found in time; all alarms are printed."""
    for one in found:
        print(one)
    wrong = [one for one in opened(found, "label-flips", "positive-share") if one[1] > POISONED]
    since, at, _ = wrong[0]
    assert POISONED - 8 * HOUR <= since < at <= POISONED + 4 * DAY
    volumes = [one for one in opened(found, "event-volume") if SILENT <= one[1] <= RESTORED + DAY]
    # Bets on the volume begin with each day.
    assert [since >= SILENT - DAY for since, _, _ in volumes] == [True]
    (since, at, why), *_ = [one for one in opened(found, "input-drift") if one[1] >= DRIFTED]
    assert DRIFTED - 3 * HOUR <= since < at <= DRIFTED + 3 * DAY
    assert "distance" in why
    # The newest record of each is that it was closed.
    newest = {one["id"]: one for one in found}
    assert all(one["closed_at"] is not None for one in newest.values())


def await_quiet(system: ReplayedFlights) -> None:
    """Wait until the monitor reports nothing more."""
    count = -1
    while count != len(system.values("monitoring")) + len(alarms(system)):
        count = len(system.values("monitoring")) + len(alarms(system))
        time.sleep(5)
