"""Node of a broker: data folder, ports, configuration, formatting, start, readiness."""

import random
import socket
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shutil import disk_usage, rmtree
from subprocess import STDOUT, run
from types import MappingProxyType
from uuid import uuid4

import psutil

from stream_app.broker.broker_errors import (
    PortTakenError,
    StartTimeoutError,
    disk_errors,
    disk_full,
    start_failure,
)
from stream_app.broker.java_runtime import JavaRuntime
from stream_app.broker.process import is_alive, java_environment, spawn

HOST = "127.0.0.1"

# Below the range that systems use for outgoing connections: a client that keeps connecting to a
# stopped broker could otherwise be given the broker's own port.
_PORTS = range(20_000, 32_000)
_MIN_FREE_BYTES = 64 * 1024 * 1024
_TOPICS = "topics"
_NEW_TOPICS = "topics.new"
# Kafka writes this once it is registered and has opened its listeners.
_READY = "Kafka Server started"
_POLL_SECONDS = 0.02
# End of the log that is searched for the cause of a failure.
_TAIL_BYTES = 64 * 1024

_ONE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "CLIENT",
    "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # Kafka's default of 50 partitions each would only slow down the start.
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.num.partitions": "8",
    "share.coordinator.state.topic.num.partitions": "8",
    "auto.create.topics.enable": "false",
    # After kill -9 the broker registers only when its old session has ended, by default after 9 s.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


def is_free(port: int) -> bool:
    """Return True if a server can listen on a port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a random free port."""
    while not is_free(port := random.choice(_PORTS)):
        pass
    return port


def port_taken(port: int) -> PortTakenError:
    """Return the error of a taken port, with the process that listens on it if that is known."""
    return PortTakenError(
        f"Port {port} of {HOST} is taken{_listener(port)}",
        "Stop that process, or choose another port with --port or STREAM_APP_BROKER__PORT",
    )


def _listener(port: int) -> str:
    try:
        for one in psutil.net_connections("tcp"):
            is_listener = one.status == psutil.CONN_LISTEN and one.pid
            if is_listener and getattr(one.laddr, "port", None) == port:
                return f" by {psutil.Process(one.pid).name()} (process {one.pid})"
    except psutil.Error:
        pass
    return ""


@dataclass(frozen=True, slots=True)
class Node:
    """Data folder of a broker.

    Attributes:
        properties: settings of the broker that override the defaults.
        heap: size of Java's heap, such as 512m.
    """

    folder: Path
    properties: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    heap: str = "512m"

    @property
    def state_file(self) -> Path:
        """Process and address of the last start."""
        return self.folder / "broker.json"

    @property
    def config_file(self) -> Path:
        """Configuration of the broker, whose path also identifies its process."""
        return self.folder / "server.properties"

    @property
    def log_file(self) -> Path:
        """Kafka's own log."""
        return self.folder / "logs" / "server.log"

    @property
    def output_file(self) -> Path:
        """Standard output and error of the last start."""
        return self.folder / "logs" / "start.log"

    def make_folders(self) -> None:
        """Create the folders.

        Raises:
            DiskError: the disk is nearly full, or the folder cannot be written.
        """
        with disk_errors(self.folder):
            self.log_file.parent.mkdir(parents=True, exist_ok=True)
            if disk_usage(self.folder).free < _MIN_FREE_BYTES:
                raise disk_full(self.folder)

    def launch(
        self, runtime: JavaRuntime, port: int, controller_port: int, *, owned: bool = False
    ) -> psutil.Process:
        """Configure the broker, format its storage if new, and return its started process.

        Args:
            owned: True if the kernel kills the broker when this process ends (Linux).

        Raises:
            BrokerError: formatting fails, or the folder cannot be written.
        """
        with disk_errors(self.folder):
            rmtree(self.folder / "tmp", ignore_errors=True)
            (self.folder / "tmp").mkdir()
            if not (self.folder / _TOPICS / "meta.properties").exists():
                self._configure(port, controller_port, _NEW_TOPICS)
                self._format(runtime)
            self._configure(port, controller_port, _TOPICS)
            command = self._command(runtime, "kafka.Kafka", str(self.config_file))
            return spawn(command, folder=self.folder, output=self.output_file, owned=owned)

    def output(self) -> str:
        """Return standard output and error of the last start."""
        return self.output_file.read_text(errors="replace") if self.output_file.exists() else ""

    def log_tail(self, start: int) -> str:
        """Return the end of the log from an offset on, or of all of it if the log was rotated."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(start if start <= size else 0, size - _TAIL_BYTES))
            return file.read().decode(errors="replace")

    def _configure(self, port: int, controller_port: int, topics: str) -> None:
        text = server_properties(port, controller_port, topics, self.properties)
        self.config_file.write_text(text)

    def _format(self, runtime: JavaRuntime) -> None:
        """Format in a temporary folder and rename it, so that formatting is all or nothing."""
        rmtree(self.folder / _NEW_TOPICS, ignore_errors=True)
        options = ("--standalone", "--cluster-id", _cluster_id(), "--config", str(self.config_file))
        command = self._command(runtime, "kafka.tools.StorageTool", "format", *options)
        with self.output_file.open("wb") as output:
            done = run(
                command,
                cwd=self.folder,
                env=java_environment(),
                stdout=output,
                stderr=STDOUT,
                check=False,
            )
        if done.returncode:
            raise start_failure(self.folder, self.output(), self.output_file)
        (self.folder / _NEW_TOPICS).rename(self.folder / _TOPICS)

    def _command(self, runtime: JavaRuntime, main: str, *arguments: str) -> list[str]:
        options = (f"-Xmx{self.heap}", f"-Djava.io.tmpdir={self.folder / 'tmp'}")
        return runtime.command(main, arguments, log=str(self.log_file), options=options)


def wait_until_ready(
    node: Node, process: psutil.Process, deadline: float, log_start: int = 0
) -> None:
    """Wait until a started broker serves clients.

    Args:
        deadline: monotonic seconds.
        log_start: size of the log before the start.

    Raises:
        StartTimeoutError: the broker is not ready by the deadline.
        BrokerError: the broker has ended; see `start_failure`.
    """
    while _READY not in node.output():
        if not is_alive(process):
            text = node.log_tail(log_start) + node.output()
            raise start_failure(node.folder, text, node.log_file)
        if time.monotonic() > deadline:
            raise StartTimeoutError(
                "The broker was not ready in time", f"Give it longer, or see {node.log_file}"
            )
        time.sleep(_POLL_SECONDS)


def server_properties(
    port: int, controller_port: int, log_dirs: str, overrides: Mapping[str, str]
) -> str:
    """Return the text of `server.properties` of a broker with its controller, on loopback only."""
    addresses = {
        "listeners": f"CLIENT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"CLIENT://{HOST}:{port}",
        "controller.quorum.bootstrap.servers": f"{HOST}:{controller_port}",
        "log.dirs": log_dirs,
    }
    properties = {**_ONE_NODE, **addresses, **overrides}
    return "\n".join(f"{key}={_escape(value)}" for key, value in properties.items()) + "\n"


def _escape(value: str) -> str:
    """Return a value for a Java properties file: printable ASCII, other characters escaped."""
    units = memoryview(value.encode("utf-16-le")).cast("H") if value else ()
    return "".join(
        chr(unit) if 32 <= unit < 127 and unit != 92 else f"\\u{unit:04x}" for unit in units
    )


def _cluster_id() -> str:
    """Return a random id in Kafka's format: 22 characters, the first of which is not a dash."""
    return urlsafe_b64encode(uuid4().bytes).decode().rstrip("=").replace("-", "_")
