"""Workers die at any moment: nothing is lost, nothing is doubled, and the work goes on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from stream_app.broker import EmbeddedBroker
from tests.faults.replay import check_replay
from tests.system import Load, System

RATE = 400  # events a second, each with its label
WRITER = "stream_app.streaming.writer:TransactionWriter"
IN_TRANSACTION = [
    f"{WRITER}._until_done,before,3,send offsets to a transaction",
    f"{WRITER}._until_done,before,3,commit a transaction",
    f"{WRITER}._until_done,after,3,commit a transaction",
    f"{WRITER}.write,after,4",
]
IN_PUBLISH = [
    "stream_app.models.artifacts:ArtifactStore.put,before,2",
    "stream_app.models.artifacts:ArtifactStore.put,after,2",
    "stream_app.streaming.roles.learn:LearnProcessor.after_commit,before,3",
]


@contextmanager
def running(broker: EmbeddedBroker, folder: Path, scorers: int = 2) -> Iterator[tuple[System, Load]]:
    """A system that scores under load.

    At the end every record must have exactly one outcome, and one undisturbed learner must come to the same versions
    and predictions.
    """
    with System(broker.bootstrap_servers, folder, f"kill-{uuid4().hex[:8]}") as system:
        system.start_all(scorers)
        system.send_event(10**6, int(time.time() * 1000) - 3_600_000)
        system.until(lambda: system.books().scored > 0, 60, "did not start")
        load = Load(system, RATE)
        load.start()
        time.sleep(1)
        yield system, load
        load.stop()
        system.check_outcomes()
        books = system.books()
        system.until(lambda: system.learned() == books.joined, 40, "not every example is learned")
        assert check_replay(system) > 0


def restart(system: System, worker: str) -> float:
    """Restart a dead worker after half a second, as the supervisor does; returns seconds until all partitions go on."""
    died = time.monotonic()
    time.sleep(0.5)
    system.start(*worker.split("-"))
    marked = {kind: system.ends(kind) for kind in ("raw", "labels")}
    system.until(lambda: all(system.beyond(kind, ends) for kind, ends in marked.items()), 30, f"{worker} is not back")
    return time.monotonic() - died


def learner_beyond(system: System) -> float:
    """Seconds until the learner has published a version that knows all examples of now."""
    started, learned = time.monotonic(), len(system.read("examples"))
    system.until(lambda: system.learned() >= learned, 40, "the learner is not back")
    return time.monotonic() - started


def test_kill_9_of_scorers_and_learner_loses_and_doubles_nothing(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with running(broker, tmp_path) as (system, _):
        for worker in ("score-0", "learn-0", "score-1"):
            system.kill(worker)
            assert restart(system, worker) < 30


@pytest.mark.parametrize("point", [IN_TRANSACTION[1], IN_PUBLISH[1]])
def test_kill_9_at_a_point_of_transaction_or_publish(broker: EmbeddedBroker, tmp_path: Path, point: str) -> None:
    kill_at_points(broker, tmp_path, [point])


@pytest.mark.faults
def test_kill_9_at_every_point_of_transaction_and_publish(broker: EmbeddedBroker, tmp_path: Path) -> None:
    kill_at_points(broker, tmp_path, [*IN_TRANSACTION, *IN_PUBLISH])


def kill_at_points(broker: EmbeddedBroker, folder: Path, points: list[str]) -> None:
    with running(broker, folder) as (system, _):
        for point in points:
            worker = "score-0" if point in IN_TRANSACTION else "learn-0"
            system.kill(worker)
            role, instance = worker.split("-")
            assert system.start(role, instance, KILL_AT=point).wait(30) == -9, system.log(worker)
            restart(system, worker)


@pytest.mark.faults
def test_ten_kills_in_turn(broker: EmbeddedBroker, tmp_path: Path) -> None:
    scorers, learners = [], []
    with running(broker, tmp_path) as (system, _):
        for turn in range(10):
            time.sleep(1)
            worker = ("score-0", "score-1", "learn-0")[turn % 3]
            system.kill(worker)
            seconds = restart(system, worker)
            if worker == "learn-0":
                learners.append(0.5 + learner_beyond(system))
            else:
                scorers.append(seconds)
    print(f"\nscorers back after {rounded(scorers)} s, learner after {rounded(learners)} s")
    assert max(scorers) < 10
    assert max(learners) < 30


@pytest.mark.faults
def test_killed_twice_within_the_session_time_out(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with running(broker, tmp_path) as (system, _):
        for _ in range(2):
            system.kill("score-0")
            system.start("score", "0")
            time.sleep(1.5)
        system.kill("score-0")
        print(f"\nback after {restart(system, 'score-0'):.1f} s")


def rounded(seconds: list[float]) -> list[float]:
    return sorted(round(one, 1) for one in seconds)
