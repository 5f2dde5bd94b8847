"""A killed monitor still reports every window once."""

import time
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from stream_app.broker import EmbeddedBroker
from tests.running_system import Load, System

WINDOW_MS = 500
DECLARED = """
from dataclasses import replace
from datetime import timedelta
from tests.small_pipeline import small_pipeline
second = timedelta(seconds=1)
label = replace(small_pipeline().label, horizon=second, allowed_lateness=second)
pipeline = small_pipeline("NAME", label=label, window=second / 2, publish_features=True)
"""


@pytest.mark.faults
def test_kill_9_of_the_monitor_reports_each_window_once(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with System(
        broker.bootstrap_servers, tmp_path, f"monitor-{uuid4().hex[:8]}", DECLARED
    ) as system:
        system.start_all()
        system.start("monitor")
        load = Load(system, rate=400)
        load.start()
        system.until(lambda: volumes(system).total() > 2, 60, "no window was reported")
        # Windows from here on have all their events.
        complete_from = max(value["event_time"] for value in system.values("scored")) + WINDOW_MS
        for _ in range(2):
            system.kill("monitor-0")
            system.start("monitor")
            wait_for_more(system)
        newest = complete_from + 5 * WINDOW_MS
        system.until(lambda: max(volumes(system)) > newest, 60, "too few windows were reported")
        load.stop()
        system.await_outcomes()
        wait_until_idle(system)
        expected = Counter(
            value["event_time"] // WINDOW_MS * WINDOW_MS for value in system.values("scored")
        )
        found = {value["window"]["start"]: value["n"] for value in monitored(system)}
        assert set(volumes(system).values()) == {1}
        compared = [start for start in expected if complete_from <= start <= max(found)]
        assert len(compared) > 3
        assert [found[start] for start in compared] == [expected[start] for start in compared]


def wait_until_idle(system: System) -> None:
    """Waits until the monitor reports nothing more."""
    count = -1
    while count != len(monitored(system)):
        count = len(monitored(system))
        time.sleep(3)


def wait_for_more(system: System) -> None:
    """Waits until the monitor has reported two more windows."""
    before = volumes(system).total()
    system.until(lambda: volumes(system).total() > before + 1, 40, "the monitor has not recovered")


def volumes(system: System) -> Counter[int]:
    """Returns the number of reports of each window's volume."""
    return Counter(value["window"]["start"] for value in monitored(system))


def monitored(system: System) -> list[dict[str, Any]]:
    """Returns the measurements of the volume."""
    return [value for value in system.values("monitoring") if value["kind"] == "volume"]
