"""Cluster of three brokers on this machine, each of which is also a controller."""

import time
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import run
from typing import NamedTuple
from uuid import uuid4

from confluent_kafka.admin import AdminClient
from platformdirs import user_cache_path

from stream_app.broker import EmbeddedBroker
from stream_app.broker.java_runtime import (
    JarCache,
    JavaRuntime,
    find_java,
    kafka_version,
    read_lock,
)
from stream_app.broker.node import HOST, free_port, server_properties
from stream_app.broker.process import java_environment
from stream_app.retrying import wait_until

BROKERS = 3
HEAP = "192m"
GROUP_OFFSETS = "__consumer_offsets"
TRANSACTION_STATE = "__transaction_state"
_START_SECONDS = 120.0
_POLL_SECONDS = 0.2
_REPLICATED = {
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    # By default the cleaner of logs takes 128 MB of the heap.
    "log.cleaner.dedupe.buffer.size": str(16 << 20),
    # A leader that was killed gets its partitions back soon after its restart.
    "leader.imbalance.check.interval.seconds": "5",
}


class Member(NamedTuple):
    """Ports of one node, and the id of its data folder in the quorum of controllers."""

    port: int
    controller_port: int
    directory_id: str


class BrokerCluster:
    """Three brokers on the loopback interface, which replicate every topic three times.

    Writes need two of them. Node ids are the numbers of the brokers, from 1 on.

    Args:
        folder: folder of the data of all brokers.
    """

    def __init__(self, folder: Path) -> None:
        members = {
            number: Member(free_port(), free_port(), _random_id())
            for number in range(1, BROKERS + 1)
        }
        self.bootstrap_servers = ",".join(f"{HOST}:{one.port}" for one in members.values())
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        cluster_id, runtime = _random_id(), _installed()
        self.brokers: dict[int, EmbeddedBroker] = {}
        for number, member in members.items():
            data = folder / f"broker-{number}"
            _format(runtime, data, cluster_id, members, number)
            self.brokers[number] = EmbeddedBroker(
                data,
                port=member.port,
                properties=_properties(number, members),
                heap=HEAP,
                owned=True,
            )

    def start(self) -> None:
        """Start all brokers at once: one alone has no quorum, and would not become ready."""
        with ThreadPoolExecutor(BROKERS) as threads:
            list(threads.map(lambda one: one.start(_START_SECONDS), self.brokers.values()))

    def kill(self) -> None:
        """Kill all brokers."""
        for broker in self.brokers.values():
            broker.kill()

    def coordinator(self, topic: str, name: str) -> int:
        """Return the node id of the coordinator of a group or of a transactional id.

        Args:
            topic: `GROUP_OFFSETS` or `TRANSACTION_STATE`; the leader of the partition to which
                Kafka maps the name is the coordinator.
        """
        partitions = self._admin.list_topics(topic, timeout=10).topics[topic].partitions
        leader: int = partitions[_java_hash(name) % len(partitions)].leader
        return leader

    def await_replicas(self, replicas: int, timeout: float = 60.0) -> None:
        """Wait until every partition has a leader and this number of replicas in sync."""
        deadline = time.monotonic() + timeout
        assert wait_until(deadline, lambda: self._is_replicated(replicas), _POLL_SECONDS), (
            f"some partitions have fewer than {replicas} replicas in sync after {timeout:.0f} s"
        )

    def _is_replicated(self, replicas: int) -> bool:
        topics = self._admin.list_topics(timeout=10).topics.values()
        partitions = [one for topic in topics for one in topic.partitions.values()]
        return all(one.leader > 0 and len(one.isrs) >= replicas for one in partitions)


def _properties(number: int, members: dict[int, Member]) -> dict[str, str]:
    own = members[number]
    addresses = {
        "node.id": str(number),
        "listeners": f"CLIENT://{HOST}:{own.port},CONTROLLER://{HOST}:{own.controller_port}",
        "controller.quorum.bootstrap.servers": ",".join(
            f"{HOST}:{one.controller_port}" for one in members.values()
        ),
    }
    return _REPLICATED | addresses


def _installed() -> JavaRuntime:
    """Return Java with the jars of the embedded broker, which are fetched if they are missing."""
    jars = read_lock()
    folder = user_cache_path("stream-app") / f"kafka-{kafka_version(jars)}"
    return JavaRuntime(find_java(), tuple(JarCache(folder.resolve(), jars=jars).fetch()))


def _format(
    runtime: JavaRuntime, folder: Path, cluster_id: str, members: dict[int, Member], number: int
) -> None:
    """Format the data folder of a broker, which the embedded broker would do for one node only."""
    own = members[number]
    (folder / "logs").mkdir(parents=True)
    config = folder / "format.properties"
    config.write_text(
        server_properties(own.port, own.controller_port, "topics", _properties(number, members))
    )
    controllers = ",".join(
        f"{node}@{HOST}:{one.controller_port}:{one.directory_id}" for node, one in members.items()
    )
    arguments = ["format", "--cluster-id", cluster_id, "--config", str(config)]
    command = runtime.command(
        "kafka.tools.StorageTool",
        [*arguments, "--initial-controllers", controllers],
        log=str(folder / "logs" / "format.log"),
        options=["-Xmx64m"],
    )
    run(command, cwd=folder, env=java_environment(), check=True, capture_output=True)


def _random_id() -> str:
    """Return a random id in Kafka's format: 22 characters, the first of which is not a dash."""
    return urlsafe_b64encode(uuid4().bytes).decode().rstrip("=").replace("-", "_")


def _java_hash(text: str) -> int:
    """Return Java's hash of a text of ASCII characters, without its sign."""
    value = 0
    for character in text.encode():
        value = (31 * value + character) & 0xFFFFFFFF
    return value & 0x7FFFFFFF
