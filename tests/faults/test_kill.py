"""Workers killed at any point lose and duplicate nothing, and the restarted ones continue."""

import time
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from tests.faults.points import target_of
from tests.faults.run import RESTART_DELAY_SECONDS, Recovery, await_learner, restart, running

WRITER = "stream_app.worker.transaction_writer:TransactionWriter"
IN_TRANSACTION = [
    f"{WRITER}._repeat,before,3,send offsets to a transaction",
    f"{WRITER}._repeat,before,3,commit a transaction",
    f"{WRITER}._repeat,after,3,commit a transaction",
    f"{WRITER}.write,after,4",
]
IN_PUBLISH = [
    "stream_app.model_store.artifacts:ArtifactStore.put,before,2",
    "stream_app.model_store.artifacts:ArtifactStore.put,after,2",
    "stream_app.worker.roles.learn_processor:LearnProcessor.after_commit,before,3",
]


@pytest.mark.parametrize("point", [*IN_TRANSACTION, *IN_PUBLISH])
def test_every_kill_point_exists(point: str) -> None:
    target_of(point)


def test_a_kill_point_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"has no method TransactionWriter\.missing"):
        target_of(f"{WRITER}.missing,before,1")


def test_kill_9_of_scorers_and_learner_loses_and_duplicates_nothing(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with running(broker, tmp_path) as (system, _):
        seconds = []
        for worker in ("score-0", "learn-0", "score-1"):
            system.kill(worker)
            seconds.append(restart(system, worker))
        assert max(seconds) < 2 * seconds[0], seconds


def test_kill_9_at_a_point_of_a_transaction_loses_and_duplicates_nothing(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    kill_at_points(broker, tmp_path, [IN_TRANSACTION[1]])


@pytest.mark.faults
def test_kill_9_at_every_point_of_transaction_and_publish_loses_and_duplicates_nothing(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    kill_at_points(broker, tmp_path, [*IN_TRANSACTION, *IN_PUBLISH])


def kill_at_points(broker: EmbeddedBroker, folder: Path, points: list[str]) -> None:
    with running(broker, folder) as (system, _):
        for point in points:
            worker = "score-0" if point in IN_TRANSACTION else "learn-0"
            system.kill(worker)
            role, instance = worker.split("-")
            assert system.start(role, instance, FAULT_AT=point).wait(30) == -9, system.log(worker)
            restart(system, worker)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_every_one_of_twenty_kills_is_recovered_from_in_time(
    broker: EmbeddedBroker, tmp_path: Path, recovery: Recovery
) -> None:
    scorers, learners = [], []
    with running(broker, tmp_path) as (system, _):
        for round_number in range(20):
            time.sleep(1)
            worker = ("score-0", "score-1", "learn-0")[round_number % 3]
            system.kill(worker)
            seconds = restart(system, worker)
            if worker == "learn-0":
                learners.append(RESTART_DELAY_SECONDS + await_learner(system))
            else:
                scorers.append(seconds)
    print(
        f"\nscorers recovered after {sorted_tenths(scorers)} s, "
        f"learner after {sorted_tenths(learners)} s"
    )
    assert max(scorers) < 2 * recovery.scorer
    assert max(learners) < 2 * recovery.learner


@pytest.mark.faults
def test_a_worker_killed_twice_within_the_session_time_out_recovers(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with running(broker, tmp_path) as (system, _):
        for _ in range(2):
            system.kill("score-0")
            system.start("score", "0")
            time.sleep(1.5)
        system.kill("score-0")
        print(f"\nrecovered after {restart(system, 'score-0'):.1f} s")


def sorted_tenths(seconds: list[float]) -> list[float]:
    return sorted(round(one, 1) for one in seconds)
