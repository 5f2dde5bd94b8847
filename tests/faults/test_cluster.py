"""Workers survive the loss of any broker of a cluster of three."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.kafka.topic_uses import group_name, member_name
from tests.faults.cluster import BROKERS, GROUP_OFFSETS, TRANSACTION_STATE, BrokerCluster
from tests.faults.run import await_progress, await_recovery, running
from tests.running_system import System

# Controllers notice a killed broker after its session of 3 s, workers rejoin within theirs of 6 s.
# About four times that, because three brokers share the machine with the workers.
FAILOVER_SECONDS = 40.0

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerCluster]:
    cluster = BrokerCluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()


def test_workers_survive_the_loss_of_every_kind_of_broker(
    cluster: BrokerCluster, tmp_path: Path
) -> None:
    """Coordinators are killed, brokers restarted in turn, and one is stopped for good."""
    with running(cluster, tmp_path) as (system, _):
        for role in ("score", "learn"):
            kill_coordinator(cluster, system, GROUP_OFFSETS, group_name(system.name, role))
            kill_coordinator(cluster, system, TRANSACTION_STATE, member_name(system.name, role, 0))
        for number in range(1, BROKERS + 1):
            lose_for_a_while(
                cluster, system, number, EmbeddedBroker.stop, f"broker {number} stopped"
            )
        lost = cluster.coordinator(GROUP_OFFSETS, group_name(system.name, "score"))
        cluster.brokers[lost].stop()
        print(f"\nbroker {lost} stopped for good: {await_recovery(system)}")
        assert {worker.poll() for worker in system.workers.values()} == {None}


def kill_coordinator(cluster: BrokerCluster, system: System, topic: str, name: str) -> None:
    """Kills the coordinator of a name, waits until the workers continue, and restarts it."""
    number = cluster.coordinator(topic, name)
    kind = "group" if topic == GROUP_OFFSETS else "transactions"
    killed = f"broker {number}, coordinator of the {kind} of {name}, killed"
    lose_for_a_while(cluster, system, number, EmbeddedBroker.kill, killed)


def lose_for_a_while(
    cluster: BrokerCluster,
    system: System,
    number: int,
    end: Callable[[EmbeddedBroker], None],
    what: str,
) -> None:
    """Ends a broker and starts it again; each time the workers must continue."""
    broker = cluster.brokers[number]
    times = []
    for change in (end, EmbeddedBroker.start):
        change(broker)
        changed = time.monotonic()
        await_progress(system, why=f"{what}: no progress")
        times.append(time.monotonic() - changed)
    cluster.await_replicas(BROKERS)
    print(f"\n{what}: recovered after {times[0]:.1f} s, {times[1]:.1f} s after its start")
    assert max(times) < FAILOVER_SECONDS
