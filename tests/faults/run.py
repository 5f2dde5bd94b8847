"""Running system under load for fault tests: its recovery time, and its outcomes at the end."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from stream_app.broker import EmbeddedBroker
from stream_app.topic_kinds import INPUT_KINDS
from tests.faults.cluster import BrokerCluster
from tests.faults.relearning import check_relearning
from tests.faults.supervision import MAX_MEMORY_BYTES, Supervision
from tests.running_system import Load, System

# Events per second, each with its label.
RATE = 400
# A hung producer is aborted after its time-out of 10 s, which the broker checks every 10 s.
ABORTED_SECONDS = 20.0
# Delay between the crash and the restart of a worker.
RESTART_DELAY_SECONDS = 0.5
# Times that each fault of the broker is repeated.
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "3"))
# Limit of the recovery from any fault.
RECOVERY_SECONDS = 60.0


@contextmanager
def running(
    broker: EmbeddedBroker | BrokerCluster, folder: Path, scorers: int = 2, **environment: str
) -> Iterator[tuple[System, Load]]:
    """Runs a system under load, its workers with `environment`.

    In a cluster every topic has a replica on each broker.

    At the end every record must have exactly one outcome, and an undisturbed relearning run must
    give the same versions and predictions.
    """
    replication = len(broker.brokers) if isinstance(broker, BrokerCluster) else 1
    name = f"fault-{uuid4().hex[:8]}"
    with System(broker.bootstrap_servers, folder, name, replication=replication) as system:
        system.environment = environment
        system.start_all(scorers)
        system.send_event(10**6, int(time.time() * 1000) - 3_600_000)
        system.until(lambda: system.record_counts().scored > 0, 60, "no event is scored")
        load = Load(system, RATE)
        load.start()
        time.sleep(1)
        yield system, load
        load.stop()
        system.check_outcomes()
        counts = system.record_counts()
        system.until(lambda: system.learned() == counts.joined, 40, "some examples are not learned")
        assert check_relearning(system) > 0


@contextmanager
def supervised(
    broker: EmbeddedBroker, folder: Path, scorers: int = 2, **environment: str
) -> Iterator[tuple[System, Load, Supervision]]:
    """Runs a supervised system; each worker may crash once and has bounded memory."""
    with (
        running(broker, folder, scorers, **environment) as (system, load),
        Supervision(system) as supervision,
    ):
        yield system, load, supervision
    assert max(supervision.restarts.values(), default=0) <= 1, supervision.report()
    assert max(supervision.peak.values()) < MAX_MEMORY_BYTES, supervision.report()


class Recovery(NamedTuple):
    """Seconds until the partitions of a killed scorer, and a killed learner, have caught up."""

    scorer: float
    learner: float


def measure_recovery(broker: EmbeddedBroker, folder: Path) -> Recovery:
    """Returns the recovery of one scorer and one learner killed while nothing else fails."""
    with running(broker, folder) as (system, _):
        system.kill("score-0")
        scorer = restart(system, "score-0")
        system.kill("learn-0")
        restart(system, "learn-0")
        return Recovery(scorer, RESTART_DELAY_SECONDS + await_learner(system))


def restart(system: System, worker: str) -> float:
    """Restarts a crashed worker after the supervisor's delay.

    Returns:
        Seconds from the crash until all partitions make progress.
    """
    crashed = time.monotonic()
    time.sleep(RESTART_DELAY_SECONDS)
    system.start(*worker.split("-"))
    await_progress(system, 30, f"{worker} has not recovered")
    return time.monotonic() - crashed


def await_progress(
    system: System, timeout: float = RECOVERY_SECONDS, why: str = "partitions make no progress"
) -> float:
    """Returns the seconds until every partition has processed all records sent before the call."""
    sent = {kind: system.ends(kind) for kind in INPUT_KINDS}
    return system.until(
        lambda: all(system.has_processed_beyond(kind, ends) for kind, ends in sent.items()),
        timeout,
        why,
    )


def await_learner(system: System, timeout: float = 40.0) -> float:
    """Returns the seconds until a published version has learned all present examples."""
    started, learned = time.monotonic(), len(system.read("examples"))
    system.until(lambda: system.learned() >= learned, timeout, "the learner has not recovered")
    return time.monotonic() - started


def await_recovery(system: System) -> str:
    """Waits until scorers and learner have caught up; returns a line with the times."""
    scorers = await_progress(system)
    learner = scorers + await_learner(system, RECOVERY_SECONDS - scorers)
    return f"scorers recovered after {scorers:.1f} s, learner after {learner:.1f} s"
