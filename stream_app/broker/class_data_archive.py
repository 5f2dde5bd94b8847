"""Java's archive of loaded classes, with which a broker starts in one second instead of three."""

import logging
import time
from pathlib import Path
from shutil import rmtree

from filelock import FileLock
from rich.console import Console

from stream_app.broker.broker_errors import disk_errors
from stream_app.broker.download import sha512_of
from stream_app.broker.java import JavaRuntime
from stream_app.broker.node import Node, free_port, wait_until_ready
from stream_app.broker.process import kill, terminate
from stream_app.errors import BrokerError

# Limit for the start, and for writing the archive, on a busy machine.
_TRIAL_SECONDS = 180.0
_log = logging.getLogger(__name__)


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
