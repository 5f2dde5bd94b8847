"""Embedded broker: start, stop, status."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import psutil
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from stream_app.broker.broker_errors import (
    NotStartedError,
    PortTakenError,
    StartTimeoutError,
    disk_errors,
)
from stream_app.broker.class_data_archive import with_archive
from stream_app.broker.jars import MAVEN_CENTRAL, JarCache, kafka_version, read_lock
from stream_app.broker.java import JavaRuntime, find_java
from stream_app.broker.node import HOST, Node, free_port, is_free, port_taken, wait_until_ready
from stream_app.broker.process import BrokerState, kill, terminate

_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """Status of a broker.

    Attributes:
        pid: process id, None if it does not run.
        bootstrap_servers: address of the last start, None before the first.
        version: version of Kafka.
        since: start time in UTC, None if it does not run.
    """

    running: bool
    pid: int | None
    bootstrap_servers: str | None
    data_dir: Path
    log_file: Path
    version: str
    since: datetime | None


class EmbeddedBroker:
    """Kafka cluster of one node on the loopback interface.

    The broker outlives the process that started it, unless it is owned.

    Args:
        data_dir: folder of the data.
        port: port of the broker; by default that of the last start, or a free one.
        cache_dir: folder of downloads, by default the user's cache.
        repository: Maven repository of the jars.
        properties: settings of the broker that override the defaults.
        heap: size of Java's heap.
        owned: True if the kernel kills the broker when this process ends, even by kill -9 (Linux).
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        cache_dir: Path | None = None,
        repository: str = MAVEN_CENTRAL,
        properties: Mapping[str, str] = _NONE,
        heap: str = "512m",
        owned: bool = False,
    ) -> None:
        self._node = Node(data_dir.resolve(), dict(properties), heap)
        self._cache = (cache_dir or user_cache_path("stream-app")).resolve()
        self._port, self._repository, self._owned = port, repository, owned

    def start(self, timeout: float = 60.0) -> None:
        """Start the broker, unless it runs, and wait until it is ready.

        Args:
            timeout: seconds, not counting the download before the first start.

        Raises:
            BrokerError: the broker cannot be fetched or started, or is not ready in time.
        """
        runtime = None if self._process() else self._runtime()
        self._node.make_folders()
        deadline = time.monotonic() + timeout
        with self._starting(timeout):
            if process := self._process():
                self._require_port()
                wait_until_ready(self._node, process, deadline)
            else:
                self._launch(runtime or self._runtime(), deadline)

    def stop(self, timeout: float = 15.0) -> None:
        """Stop the broker if it runs; kill it after `timeout` seconds."""
        if process := self._process():
            terminate(process, timeout)

    def kill(self) -> None:
        """Kill the broker with SIGKILL if it runs, and wait for its end."""
        if process := self._process():
            kill(process)

    def status(self) -> BrokerStatus:
        """Return the present status, also of a broker that another process started."""
        state, process = self._state(), self._process()
        return BrokerStatus(
            running=process is not None,
            pid=process.pid if process else None,
            bootstrap_servers=f"{HOST}:{state.port}" if state else None,
            data_dir=self._node.folder,
            log_file=self.log_file,
            version=state.version if state else kafka_version(read_lock()),
            since=datetime.fromtimestamp(process.create_time(), UTC) if process else None,
        )

    @property
    def bootstrap_servers(self) -> str:
        """Address for clients.

        Raises:
            NotStartedError: the broker was never started.
        """
        if state := self._state():
            return f"{HOST}:{state.port}"
        raise NotStartedError(
            f"There is no broker in {self._node.folder}", "Start it with: stream-app broker start"
        )

    @property
    def pid(self) -> int | None:
        """Process id of the broker, None if it does not run."""
        process = self._process()
        return process.pid if process else None

    @property
    def log_file(self) -> Path:
        """Kafka's own log."""
        return self._node.log_file

    def _state(self) -> BrokerState | None:
        with disk_errors(self._node.folder):
            return BrokerState.read(self._node.state_file)

    def _process(self) -> psutil.Process | None:
        state = self._state()
        return state.process(str(self._node.config_file)) if state else None

    def _runtime(self) -> JavaRuntime:
        jars = read_lock()
        folder = self._cache / f"kafka-{kafka_version(jars)}"
        paths = JarCache(folder, self._repository, jars).fetch()
        return with_archive(JavaRuntime(find_java(), tuple(paths)), folder)

    @contextmanager
    def _starting(self, timeout: float) -> Iterator[None]:
        """Hold the lock under which one process at a time starts the broker."""
        lock = FileLock(self._node.folder / "start.lock")
        try:
            with disk_errors(self._node.folder):
                lock.acquire(timeout)
        except Timeout as error:
            raise StartTimeoutError(
                f"Another process is still starting {self._node.folder}", "Try again"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _launch(self, runtime: JavaRuntime, deadline: float) -> None:
        try:
            self._launch_once(runtime, deadline)
        except PortTakenError:
            if self._port and not is_free(self._port):
                raise
            # Another process took the free port just before its use.
            self._launch_once(runtime, deadline)

    def _launch_once(self, runtime: JavaRuntime, deadline: float) -> None:
        state = self._state()
        port = self._port or self._reuse_port(state.port if state else None)
        if not is_free(port):
            raise port_taken(port)
        controller_port = self._reuse_port(state.controller_port if state else None)
        log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        process = self._node.launch(runtime, port, controller_port, owned=self._owned)
        try:
            version, created = kafka_version(read_lock()), process.create_time()
            new = BrokerState(process.pid, created, port, controller_port, version)
            new.write(self._node.state_file)
            wait_until_ready(self._node, process, deadline, log_start)
        except BaseException:
            kill(process)
            raise

    def _reuse_port(self, port: int | None) -> int:
        """Return the port of the last start if it is still free, otherwise another."""
        return port if port and is_free(port) else free_port()

    def _require_port(self) -> None:
        state = self._state()
        if state and self._port not in (None, state.port):
            raise PortTakenError(
                f"The broker already runs on port {state.port}", "Stop it first, or omit the port"
            )
