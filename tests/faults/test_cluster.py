"""Workers recover when the broker that coordinates their group or transactions goes away."""

import time
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient

from tests.faults.cluster import SIZE, ClusterBroker, cluster
from tests.faults.run import ROUNDS, await_progress
from tests.running_system import Load, System

RATE = 100
AWAY_SECONDS = 5.0

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def coordinator(servers: str, group: str) -> int:
    """Returns the number of the broker that coordinates a group."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    deadline = time.monotonic() + 30
    while True:
        try:
            found = admin.describe_consumer_groups([group])[group].result(10)
            return int(found.coordinator.id)
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@pytest.mark.parametrize("clean", [True, False], ids=["restarted", "killed"])
def test_workers_recover_when_the_coordinators_broker_goes_away(
    tmp_path: Path, clean: bool
) -> None:
    with cluster(tmp_path) as brokers:
        servers = ",".join(f"127.0.0.1:{broker.port}" for broker in brokers)
        name = f"cluster-{uuid4().hex[:8]}"
        with System(servers, tmp_path, name, replication=SIZE) as system:
            system.start_all(2)
            system.send_event(10**6, int(time.time() * 1000) - 3_600_000)
            system.until(lambda: system.record_counts().scored > 0, 90, "no event is scored")
            load = Load(system, RATE)
            load.start()
            seconds = [disturb(system, brokers, clean) for _ in range(ROUNDS)]
            load.stop()
            system.check_outcomes()
            print(f"\nprogress {seconds} s after the coordinator's broker went away")


def disturb(system: System, brokers: list[ClusterBroker], clean: bool) -> float:
    """Takes a broker away and brings it back; returns the seconds until all partitions make progress.

    The first broker stays: it is the only controller.
    """
    number = max(coordinator(system.servers, f"{system.name}.score"), 2)
    broker = brokers[number - 1]
    time.sleep(2)
    if clean:
        broker.stop()
    else:
        broker.kill()
    seconds = await_progress(system, why="no progress on two brokers")
    time.sleep(max(0.0, AWAY_SECONDS - seconds))
    broker.start()
    await_progress(system)
    assert {worker.poll() for worker in system.workers.values()} == {None}
    return round(seconds, 1)
