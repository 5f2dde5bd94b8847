"""Workers restarted, added and removed under load lose nothing and cause only short pauses."""

import time
from collections import defaultdict
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.topic_kinds import INPUT_KINDS
from tests.faults.run import Recovery, await_learner, restart, running
from tests.running_system import System

pytestmark = pytest.mark.faults

SESSION_SECONDS = 6.0
WORKERS = ("score-0", "score-1", "score-2", "learn-0", "monitor-0")


def test_rolling_restarts_cause_only_short_pauses(
    broker: EmbeddedBroker, tmp_path: Path, recovery: Recovery
) -> None:
    """Two rolling restarts: one as a plain restart, one as the rollout of a new release."""
    with running(broker, tmp_path, scorers=3) as (system, _):
        system.start("monitor")
        wait_until_all_score(system, 3)
        for reason in ("restart", "rollout"):
            began = now()
            for worker in WORKERS:
                system.terminate(worker)
                restart(system, worker)
            learner = await_learner(system)
            pauses = longest_pauses(system, began)
            print(
                f"\n{reason}: longest pause of each partition {pauses} s, "
                f"learner recovered after {learner:.1f} s"
            )
            assert max(pauses.values()) < 2 * recovery.scorer
        assert len(system.read("monitor.state")) > 0


def test_scorers_added_and_removed_cause_only_short_pauses(
    broker: EmbeddedBroker, tmp_path: Path, recovery: Recovery
) -> None:
    with running(broker, tmp_path, scorers=1) as (system, _):
        began = now()
        for instance in ("1", "2"):
            system.start("score", instance)
        wait_until_all_score(system, 3)
        print(
            f"\n1 to 3 scorers: longest pause of each partition {longest_pauses(system, began)} s"
        )
        began = now()
        for worker in ("score-2", "score-1"):
            system.terminate(worker)
        sent = {kind: system.ends(kind) for kind in INPUT_KINDS}
        seconds = system.until(
            lambda: all(system.has_processed_beyond(kind, ends) for kind, ends in sent.items()),
            60,
            "some partitions have no worker",
        )
        print(
            f"3 to 1 scorers: all partitions make progress after {seconds:.1f} s, "
            f"longest pauses {longest_pauses(system, began)} s"
        )
        assert seconds < 2 * (SESSION_SECONDS + recovery.scorer)


def wait_until_all_score(system: System, scorers: int) -> None:
    """Waits until every scorer has had partitions, and every partition makes progress."""
    for number in range(scorers):
        worker = f"score-{number}"
        system.until(partial(has_partitions, system, worker), 60, f"{worker} does not become ready")
    sent = system.ends("raw")
    system.until(lambda: system.has_processed_beyond("raw", sent), 30, "no progress")


def has_partitions(system: System, worker: str) -> bool:
    return '"ready"' in (system.folder / f"{worker}.log").read_text()


def longest_pauses(system: System, since: int) -> dict[int, float]:
    """Returns the longest pause of each partition in seconds between two scored records.

    Args:
        system: running system.
        since: start in Unix milliseconds.
    """
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
