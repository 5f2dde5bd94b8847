"""Java's start archive: classes loaded and linked in a trial run, so that a broker starts in one second, not three."""

import logging
import time
from pathlib import Path
from shutil import rmtree

from filelock import FileLock
from rich.console import Console

from stream_app.broker.errors import disk_errors
from stream_app.broker.java import Runtime
from stream_app.broker.node import Node
from stream_app.broker.ports import free_port
from stream_app.broker.process import end
from stream_app.broker.readiness import wait_until_ready
from stream_app.errors import BrokerError

_TRIAL = 60.0  # seconds, for the start and for the writing of the archive
_log = logging.getLogger(__name__)


def with_archive(runtime: Runtime, folder: Path) -> Runtime:
    """Return `runtime` with the start archive kept in `folder`, made if missing; without it, if that fails."""
    archive = folder / f"start-{runtime.fingerprint()}.aot"
    try:
        if not archive.exists():
            with disk_errors(folder), FileLock(folder / "archive.lock"):
                if not archive.exists():
                    _make(runtime, archive)
    except BrokerError as error:
        _log.warning("broker starts without start archive: %s", error)
        return runtime
    return Runtime(runtime.java, runtime.jars, (f"-XX:AOTCache={archive}", "-Xlog:aot*=off,cds*=off"))


def _make(runtime: Runtime, archive: Path) -> None:
    """Start a broker in a temporary folder and stop it; Java writes the archive as it ends."""
    folder = archive.parent / "trial"
    rmtree(folder, ignore_errors=True)
    new = folder / archive.name
    node = Node(folder)
    node.make_folders()
    with Console(stderr=True).status("Preparing Apache Kafka to start fast, once for all ..."):
        trial = Runtime(runtime.java, runtime.jars, (f"-XX:AOTCacheOutput={new}", "-Xlog:disable"))
        process = node.launch(trial, free_port(), free_port(), owned=True)
        try:
            wait_until_ready(node, process, time.monotonic() + _TRIAL)
        finally:
            end(process, _TRIAL)
    new.replace(archive)
    rmtree(folder)
