"""Embedded broker: start, stop, status; shared by commands, the last of which stops it."""

import fcntl
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from types import MappingProxyType
from typing import IO

import psutil
from filelock import FileLock, Timeout
from platformdirs import user_cache_path
from rich.console import Console

from stream_app.broker.broker_errors import (
    NotStartedError,
    PortTakenError,
    StartTimeoutError,
    disk_errors,
)
from stream_app.broker.download import sha512_of
from stream_app.broker.java_runtime import (
    MAVEN_CENTRAL,
    JarCache,
    JavaRuntime,
    find_java,
    kafka_version,
    read_lock,
)
from stream_app.broker.node import HOST, Node, free_port, is_free, port_taken, wait_until_ready
from stream_app.broker.process import BrokerState, kill, terminate
from stream_app.errors import BrokerError

# Limit for the start, and for writing the archive, on a busy machine.
_TRIAL_SECONDS = 180.0
_log = logging.getLogger(__name__)
_NONE: Mapping[str, str] = MappingProxyType({})
_STOP_SECONDS = 8.0


def with_archive(runtime: JavaRuntime, folder: Path) -> JavaRuntime:
    """Return the runtime with its archive, or unchanged if that cannot be made.

    Args:
        folder: folder of the archive, which is created if it is missing or damaged.
    """
    archive = folder / f"start-{runtime.fingerprint()}.aot"
    try:
        with disk_errors(folder):
            if not _is_intact(archive):
                with FileLock(folder / "archive.lock"):
                    if not _is_intact(archive):
                        _create(runtime, archive)
    except BrokerError as error:
        _log.warning("broker starts without class data archive: %s", error)
        return runtime
    return JavaRuntime(
        runtime.java, runtime.jars, (f"-XX:AOTCache={archive}", "-Xlog:aot*=off,cds*=off")
    )


def _digest_file(archive: Path) -> Path:
    return archive.with_name(archive.name + ".sha512")


def _is_intact(archive: Path) -> bool:
    """Return True if the archive has its digest: Java does not start with a damaged one."""
    digest = _digest_file(archive)
    return archive.exists() and digest.exists() and digest.read_text() == sha512_of(archive)


def _create(runtime: JavaRuntime, archive: Path) -> None:
    """Start a broker in a temporary folder and stop it; Java writes the archive at its end."""
    folder = archive.parent / "trial"
    rmtree(folder, ignore_errors=True)
    new = folder / archive.name
    node = Node(folder)
    node.make_folders()
    with Console(stderr=True).status("Preparing a fast start of Apache Kafka, once ..."):
        trial = JavaRuntime(
            runtime.java, runtime.jars, (f"-XX:AOTCacheOutput={new}", "-Xlog:disable")
        )
        process = node.launch(trial, free_port(), free_port(), owned=True)
        try:
            wait_until_ready(node, process, time.monotonic() + _TRIAL_SECONDS)
            terminate(process, _TRIAL_SECONDS)
        finally:
            kill(process)
    if not new.exists():
        raise BrokerError("Java wrote no class data archive", f"See {folder / 'logs'}")
    new.replace(archive)
    _digest_file(archive).write_text(sha512_of(archive))
    rmtree(folder)


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


@contextmanager
def use_broker(broker: EmbeddedBroker) -> Iterator[None]:
    """Start the broker unless it runs; stop it after its last use, unless a user started it.

    Every block holds a shared lock on a file in the data folder, which the kernel releases when the
    process ends. A broker left by a killed process is stopped by the next process that uses it.
    """
    folder, marker = broker.status().data_dir, _marker(broker)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "users.lock").open("w")
    with lock:
        if not _lock_exclusively(lock):
            # Waits while another process starts or stops the broker.
            fcntl.flock(lock, fcntl.LOCK_SH)
        elif not broker.status().running:
            marker.touch()
        broker.start()
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield
        finally:
            if _lock_exclusively(lock) and marker.exists():
                broker.stop(timeout=_STOP_SECONDS)
                marker.unlink(missing_ok=True)


def keep_running(broker: EmbeddedBroker) -> None:
    """Keep the broker running after its last use, because a user has started it."""
    _marker(broker).unlink(missing_ok=True)


def _marker(broker: EmbeddedBroker) -> Path:
    """Return the file that exists while the broker runs only for commands that use it."""
    return broker.status().data_dir / "started-for-use"


def _lock_exclusively(lock: IO[str]) -> bool:
    """Return True if no other process uses the broker."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
