"""A run with a fault in it: a system under load, how long it takes to go on, and what must be true in the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from stream_app.broker import EmbeddedBroker
from stream_app.topic_kinds import INPUT_KINDS
from tests.faults.replay import check_replay
from tests.faults.worker_keeper import MEMORY, Keeper
from tests.running_system import Load, System

RATE = 400  # events a second, each with its label
# A producer that hangs is aborted after its time-out of 10 s, which the broker checks every 10 s.
ABORTED_SECONDS = 20.0
RESTART_DELAY = 0.5  # seconds from a worker's death to its restart
BACK_SECONDS = 60.0  # after the end of any fault


@contextmanager
def running(
    broker: EmbeddedBroker, folder: Path, scorers: int = 2, **environment: str
) -> Iterator[tuple[System, Load]]:
    """A system that scores under load, its workers with `environment`.

    At the end every record must have exactly one outcome, and one undisturbed learner must come to the same versions
    and predictions.
    """
    with System(broker.bootstrap_servers, folder, f"fault-{uuid4().hex[:8]}") as system:
        system.environment = environment
        system.start_all(scorers)
        system.send_event(10**6, int(time.time() * 1000) - 3_600_000)
        system.until(lambda: system.record_counts().scored > 0, 60, "did not start")
        load = Load(system, RATE)
        load.start()
        time.sleep(1)
        yield system, load
        load.stop()
        system.check_outcomes()
        books = system.record_counts()
        system.until(lambda: system.learned() == books.joined, 40, "not every example is learned")
        assert check_replay(system) > 0


@contextmanager
def kept(
    broker: EmbeddedBroker, folder: Path, scorers: int = 2, **environment: str
) -> Iterator[tuple[System, Load, Keeper]]:
    """The same, with a keeper; no worker may start over more than once, or need more memory than is reasonable."""
    with (
        running(broker, folder, scorers, **environment) as (system, load),
        Keeper(system) as keeper,
    ):
        yield system, load, keeper
    assert max(keeper.restarts.values(), default=0) <= 1, keeper.report()
    assert max(keeper.peak.values()) < MEMORY, keeper.report()


class Recovery(NamedTuple):
    """Seconds until the partitions of a killed scorer, and a killed learner, have caught up."""

    scorer: float
    learner: float


def measure_recovery(broker: EmbeddedBroker, folder: Path) -> Recovery:
    """Return the recovery of one scorer and one learner that are killed while nothing else fails."""
    with running(broker, folder) as (system, _):
        system.kill("score-0")
        scorer = restart(system, "score-0")
        system.kill("learn-0")
        restart(system, "learn-0")
        return Recovery(scorer, RESTART_DELAY + learner_beyond(system))


def restart(system: System, worker: str) -> float:
    """Restart a dead worker after half a second, as the supervisor does; returns seconds until all partitions go on."""
    died = time.monotonic()
    time.sleep(RESTART_DELAY)
    system.start(*worker.split("-"))
    back(system, 30, f"{worker} is not back")
    return time.monotonic() - died


def back(
    system: System, timeout: float = BACK_SECONDS, why: str = "partitions do not go on"
) -> float:
    """Seconds until every partition has processed more than has been sent by now."""
    marked = {kind: system.ends(kind) for kind in INPUT_KINDS}
    return system.until(
        lambda: all(system.has_processed_beyond(kind, ends) for kind, ends in marked.items()), timeout, why
    )


def learner_beyond(system: System, timeout: float = 40.0) -> float:
    """Seconds until the learner has published a version that knows all examples of now."""
    started, learned = time.monotonic(), len(system.read("examples"))
    system.until(lambda: system.learned() >= learned, timeout, "the learner is not back")
    return time.monotonic() - started


def recovered(system: System) -> str:
    """Wait until scorers and learner have caught up; says after how long."""
    scorers = back(system)
    learner = scorers + learner_beyond(system, BACK_SECONDS - scorers)
    return f"scorers back after {scorers:.1f} s, learner after {learner:.1f} s"
