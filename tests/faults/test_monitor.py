"""A killed monitor reports what an undisturbed one reports."""

import time
from collections import Counter
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from stream_app.broker import EmbeddedBroker
from tests.running_system import System

DECLARED = """
from dataclasses import replace
from datetime import timedelta
from tests.small_pipeline import small_pipeline
hours = timedelta(hours=6)
label = replace(small_pipeline().label, horizon=hours, allowed_lateness=hours)
pipeline = small_pipeline("NAME", label=label, publish_features=True)
"""
HOUR = 3_600_000
DAY = 24 * HOUR
PER_DAY = 600
DAYS = 10


@pytest.mark.faults
def test_kill_9_of_monitor_and_scorer_leaves_the_windows_of_an_undisturbed_monitor(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with System(
        broker.bootstrap_servers, tmp_path, f"monitor-{uuid4().hex[:8]}", DECLARED, partitions=2
    ) as system:
        system.start_all()
        system.start("monitor")
        first = (int(time.time() * 1000) // DAY - DAYS - 30) * DAY
        for day in range(DAYS):
            send_day(system, first, day)
            system.await_outcomes()
            # A watermark is published each second.
            time.sleep(1.5)
            if day in (2, 4, 5, 8):
                system.kill("monitor-0")
                if day == 5:
                    system.kill("score-0")
                    system.start("score")
                system.start("monitor")
        # The last windows stay open, so the day before is the last one that is certain to be seen.
        until = first + (DAYS - 1) * DAY
        system.until(lambda: newest(system) >= until, 90, "too few windows were reported")
        wait_until_idle(system)
        disturbed = windows(system)
        assert set(disturbed.values()) == {1}
        kinds = Counter(window[0] for window in disturbed)
        assert kinds["drift"] > 20
        assert kinds["coverage"] > 20
        assert kinds["volume"] > 28

        system.terminate("monitor-0")
        # Without its state, a monitor starts over and reports everything again.
        system.send("monitor.state", None, b"state")
        system.producer.flush(10)
        system.start("monitor")
        system.until(
            lambda: windows(system).total() >= 2 * disturbed.total(), 90, "the second is behind"
        )
        wait_until_idle(system)
        again = windows(system)
        assert again - disturbed == disturbed
        check_volumes(system, disturbed)


def send_day(system: System, first: int, day: int) -> None:
    """Send a day of events, in order of time but for a few, and a label for every other one."""
    for number in range(day * PER_DAY, (day + 1) * PER_DAY):
        at = first + number * DAY // PER_DAY
        at -= 8 * HOUR if number % 97 == 5 and number > PER_DAY else 0
        system.send_event(number, at)
        if number % 2:
            system.send_label(number, at + HOUR, fraud=number % 3 == 0)


def windows(system: System) -> Counter[tuple[str, ...]]:
    """Return the number of times that each measurement of a window was reported."""
    return Counter(
        (one["kind"], orjson.dumps(one, option=orjson.OPT_SORT_KEYS).decode())
        for one in system.values("monitoring")
        if one["kind"] in ("volume", "coverage", "delay", "drift")
    )


def newest(system: System) -> int:
    """Return the end of the last window that was reported."""
    found = [one for one in system.values("monitoring") if one["kind"] == "volume"]
    return max((one["window"]["end"] for one in found), default=0)


def check_volumes(system: System, found: Counter[tuple[str, ...]]) -> None:
    """Check that all events in time were counted in the windows of the first days."""
    times = [value["event_time"] for value in system.values("scored")]
    measured = [orjson.loads(text) for kind, text in found if kind == "volume"]
    totals = [one for one in measured if one["name"] == "scored" and one["reference"] is None]
    late = sum(one["n"] for one in measured if one["name"] == "late")
    end = max(one["window"]["end"] for one in totals)
    expected = sum(time < end for time in times)
    counted = sum(one["n"] for one in totals)
    assert counted <= expected
    # Late events of the last day are not reported yet.
    assert expected - counted - late <= PER_DAY // 97 + 1


def wait_until_idle(system: System) -> None:
    """Wait until the monitor reports nothing more."""
    count = -1
    while count != len(system.values("monitoring")):
        count = len(system.values("monitoring"))
        time.sleep(4)
