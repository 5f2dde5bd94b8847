"""Cluster of three brokers on this machine; the first one is also the controller."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import STDOUT, run
from types import MappingProxyType

import psutil

from stream_app.broker import EmbeddedBroker
from stream_app.broker.java_runtime import JavaRuntime
from stream_app.broker.node import HOST, Node, free_port, wait_until_ready
from stream_app.broker.process import java_environment, kill, terminate

SIZE = 3
START_SECONDS = 90.0
STOP_SECONDS = 30.0
_REPLICATED = {
    "offsets.topic.replication.factor": str(SIZE),
    "transaction.state.log.replication.factor": str(SIZE),
    "transaction.state.log.min.isr": "2",
}


class JoiningNode(Node):
    """Data folder of a broker that joins the cluster of another one."""

    def _format(self, runtime: JavaRuntime) -> None:
        options = ("--no-initial-controllers", "--cluster-id", self.properties["cluster.id"])
        config = ("--config", str(self.config_file))
        command = self._command(runtime, "kafka.tools.StorageTool", "format", *options, *config)
        with self.output_file.open("wb") as output:
            run(command, cwd=self.folder, env=java_environment(), stdout=output, stderr=STDOUT)
        (self.folder / "topics.new").rename(self.folder / "topics")


@dataclass
class ClusterBroker:
    """Broker of a cluster."""

    node: Node
    port: int
    controller_port: int
    runtime: JavaRuntime
    process: psutil.Process | None = None

    def start(self) -> None:
        """Starts the broker and waits until it serves clients."""
        self.node.make_folders()
        self.node.output_file.unlink(missing_ok=True)
        self.process = self.node.launch(self.runtime, self.port, self.controller_port, owned=True)
        wait_until_ready(self.node, self.process, time.monotonic() + START_SECONDS)

    def stop(self) -> None:
        """Stops the broker, which moves its leaders and coordinators to others first."""
        assert self.process is not None
        terminate(self.process, STOP_SECONDS)

    def kill(self) -> None:
        """Kills the broker with SIGKILL."""
        if self.process is not None:
            kill(self.process)


@contextmanager
def cluster(folder: Path) -> Iterator[list[ClusterBroker]]:
    """Runs a cluster; the number of a broker is its place in the list, counted from 1."""
    runtime = EmbeddedBroker(folder / "unused")._runtime()
    controller_port = free_port()
    brokers: list[ClusterBroker] = []
    try:
        for number in range(1, SIZE + 1):
            port = free_port()
            if number == 1:
                node = Node(folder / "broker-1", MappingProxyType(_REPLICATED))
            else:
                node = JoiningNode(
                    folder / f"broker-{number}",
                    MappingProxyType(
                        {
                            **_REPLICATED,
                            "process.roles": "broker",
                            "node.id": str(number),
                            "listeners": f"CLIENT://{HOST}:{port}",
                            "cluster.id": _cluster_id(brokers[0].node),
                        }
                    ),
                )
            brokers.append(ClusterBroker(node, port, controller_port, runtime))
            brokers[-1].start()
        yield brokers
    finally:
        for broker in reversed(brokers):
            broker.kill()


def _cluster_id(node: Node) -> str:
    text = (node.folder / "topics" / "meta.properties").read_text()
    return next(
        line.split("=", 1)[1] for line in text.splitlines() if line.startswith("cluster.id")
    )
