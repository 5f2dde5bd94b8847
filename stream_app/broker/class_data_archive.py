"""Java's start archive: classes loaded and linked in a trial run, so that a broker starts in one second, not three."""

import logging
import time
from pathlib import Path
from shutil import rmtree

from filelock import FileLock
from rich.console import Console

from stream_app.broker.broker_errors import disk_errors
from stream_app.broker.download import sha512_of
from stream_app.broker.java import JavaRuntime
from stream_app.broker.node import Node
from stream_app.broker.ports import free_port
from stream_app.broker.process import end, kill
from stream_app.broker.readiness import wait_until_ready
from stream_app.errors import BrokerError

_TRIAL = 180.0  # seconds, for the start and for the writing of the archive, on a busy machine too
_log = logging.getLogger(__name__)


def with_archive(runtime: JavaRuntime, folder: Path) -> JavaRuntime:
    """Return `runtime` with the start archive kept in `folder`, made if missing; without it, if that fails."""
    archive = folder / f"start-{runtime.fingerprint()}.aot"
    try:
        with disk_errors(folder):
            if not _is_whole(archive):
                with FileLock(folder / "archive.lock"):
                    if not _is_whole(archive):
                        _make(runtime, archive)
    except BrokerError as error:
        _log.warning("broker starts without start archive: %s", error)
        return runtime
    return JavaRuntime(
        runtime.java, runtime.jars, (f"-XX:AOTCache={archive}", "-Xlog:aot*=off,cds*=off")
    )


def _digest_file(archive: Path) -> Path:
    return archive.with_name(archive.name + ".sha512")


def _is_whole(archive: Path) -> bool:
    """Whether the archive is as it was made: Java does not start with one that is damaged."""
    digest = _digest_file(archive)
    return archive.exists() and digest.exists() and digest.read_text() == sha512_of(archive)


def _make(runtime: JavaRuntime, archive: Path) -> None:
    """Start a broker in a temporary folder and stop it; Java writes the archive as it ends."""
    folder = archive.parent / "trial"
    rmtree(folder, ignore_errors=True)
    new = folder / archive.name
    node = Node(folder)
    node.make_folders()
    with Console(stderr=True).status("Preparing Apache Kafka to start fast, once for all ..."):
        trial = JavaRuntime(
            runtime.java, runtime.jars, (f"-XX:AOTCacheOutput={new}", "-Xlog:disable")
        )
        process = node.launch(trial, free_port(), free_port(), owned=True)
        try:
            wait_until_ready(node, process, time.monotonic() + _TRIAL)
            end(process, _TRIAL)
        finally:
            kill(process)
    if not new.exists():
        raise BrokerError("Java wrote no start archive", f"See {folder / 'logs'}")
    new.replace(archive)
    _digest_file(archive).write_text(sha512_of(archive))
    rmtree(folder)
