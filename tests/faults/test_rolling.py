"""Workers are restarted, added and taken away under load: nothing is lost, and every pause is measured."""

import time
from collections import defaultdict
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.topic_kinds import INPUT_KINDS
from tests.faults.run import Recovery, learner_beyond, restart, running
from tests.running_system import System

pytestmark = pytest.mark.faults

SESSION_SECONDS = 6.0
WORKERS = ("score-0", "score-1", "score-2", "learn-0", "monitor-0")


def test_every_worker_restarted_in_turn_twice(
    broker: EmbeddedBroker, tmp_path: Path, recovery: Recovery
) -> None:
    """Once as one restarts workers, and once more as one rolls out new software, which is the same."""
    with running(broker, tmp_path, scorers=3) as (system, _):
        system.start("monitor")
        wait_until_all_score(system, 3)
        for turn in ("restarted", "upgraded"):
            began = now()
            for worker in WORKERS:
                system.terminate(worker)
                restart(system, worker)
            learner = learner_beyond(system)
            pauses = silences(system, began)
            print(
                f"\n{turn}: longest silence of each partition {pauses} s, learner {learner:.1f} s behind"
            )
            assert max(pauses.values()) < 2 * recovery.scorer
        assert len(system.read("monitor.state")) > 0


def test_scorers_added_and_taken_away(
    broker: EmbeddedBroker, tmp_path: Path, recovery: Recovery
) -> None:
    with running(broker, tmp_path, scorers=1) as (system, _):
        began = now()
        for instance in ("1", "2"):
            system.start("score", instance)
        wait_until_all_score(system, 3)
        print(f"\n1 to 3 scorers: longest silence of each partition {silences(system, began)} s")
        began = now()
        for worker in ("score-2", "score-1"):
            system.terminate(worker)
        marked = {kind: system.ends(kind) for kind in INPUT_KINDS}
        seconds = system.until(
            lambda: all(system.has_processed_beyond(kind, ends) for kind, ends in marked.items()),
            60,
            "partitions are left alone",
        )
        print(
            f"3 to 1 scorers: all partitions go on after {seconds:.1f} s, silences {silences(system, began)} s"
        )
        assert seconds < 2 * (SESSION_SECONDS + recovery.scorer)


def wait_until_all_score(system: System, scorers: int) -> None:
    """Until every scorer has had partitions assigned, and every partition goes on."""
    for number in range(scorers):
        worker = f"score-{number}"
        system.until(partial(has_partitions, system, worker), 60, f"{worker} does not get ready")
    marked = system.ends("raw")
    system.until(lambda: system.has_processed_beyond("raw", marked), 30, "partitions do not go on")


def has_partitions(system: System, worker: str) -> bool:
    return '"ready"' in (system.folder / f"{worker}.log").read_text()


def silences(system: System, since: int) -> dict[int, float]:
    """Per partition the longest time, in seconds, between two scored records since then (epoch ms)."""
    times: dict[int, list[int]] = defaultdict(list)
    for message in system.read("scored"):
        times[message.partition() or 0].append(message.timestamp()[1])
    return {
        partition: longest_gap([t for t in found if t >= since])
        for partition, found in sorted(times.items())
    }


def longest_gap(times: list[int]) -> float:
    return max((after - before for before, after in pairwise(sorted(times))), default=0) / 1000


def now() -> int:
    return int(time.time() * 1000)
