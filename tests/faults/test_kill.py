"""Workers die at any moment: nothing is lost, nothing is doubled, and the work goes on."""

import time
from pathlib import Path
from uuid import uuid4

import pytest

from stream_app.broker import EmbeddedBroker
from tests.system import Load, System

RATE = 400  # events a second, each with its label


def progress_after_kill(system: System, worker: str, down: float = 0.5) -> float:
    """Kill a worker, restart it after `down` seconds; returns the seconds until all partitions score again."""
    before = time.monotonic()
    system.kill(worker)
    time.sleep(down)
    role, instance = worker.split("-")
    system.start(role, instance)
    marked = system.sent["raw"]
    system.until(lambda: system.books().events > marked, 30, f"no progress after killing {worker}")
    return time.monotonic() - before


def test_kill_9_of_scorers_and_learner_loses_and_doubles_nothing(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with System(broker.bootstrap_servers, tmp_path, f"kill-{uuid4().hex[:8]}") as system:
        system.start_all(scorers=2)
        system.until(lambda: _scored_something(system), 60, "did not start")
        load = Load(system, RATE)
        load.start()
        for worker in ("score-0", "learn-0", "score-1"):
            time.sleep(1)
            progress_after_kill(system, worker)
        load.stop()
        system.check_outcomes()


def _scored_something(system: System) -> bool:
    if not system.sent["raw"]:
        system.send_event(10**6, int(time.time() * 1000) - 3_600_000)
    return system.books().scored > 0


@pytest.mark.faults
def test_ten_kills_in_turn(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with System(broker.bootstrap_servers, tmp_path, f"kills-{uuid4().hex[:8]}") as system:
        system.start_all(scorers=2)
        system.until(lambda: _scored_something(system), 60, "did not start")
        load = Load(system, RATE)
        load.start()
        took = []
        for turn in range(10):
            time.sleep(1.5)
            took.append(progress_after_kill(system, ("score-0", "score-1", "learn-0")[turn % 3]))
        load.stop()
        system.check_outcomes()
        print(f"back after {sorted(round(seconds, 1) for seconds in took)} s")
