"""Processes: start, end, and recognition of the broker's process by a state file."""

import json
import math
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen
from threading import Thread
from typing import Self

import psutil

from stream_app import parent_death
from stream_app.files import write_atomically
from stream_app.retrying import wait_until

_POLL_SECONDS = 0.02
# A corrected clock may move the creation time of a process by this time.
_CLOCK_TOLERANCE_SECONDS = 5.0
_JAVA_VARIABLES = {
    "CLASSPATH",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "JDK_AOT_VM_OPTIONS",
    "_JAVA_OPTIONS",
}


def spawn(command: Sequence[str], *, folder: Path, output: Path, owned: bool) -> psutil.Process:
    """Start a command in a session of its own and return its process.

    Args:
        folder: working directory.
        output: file for standard output and error.
        owned: True if the kernel kills the command when this process ends (Linux).

    Raises:
        OSError: the command cannot be started.
    """
    if owned:
        script = [sys.executable, "-I", "-S", parent_death.__file__, str(os.getpid())]
        command = [*script, *command]
    started: Future[psutil.Process] = Future()
    Thread(target=_run, args=(command, folder, output, started), name="broker", daemon=True).start()
    return started.result()


def _run(
    command: Sequence[str], folder: Path, output: Path, started: "Future[psutil.Process]"
) -> None:
    """Fork and wait.

    The kernel kills an owned process when the thread that forked it ends, so this thread waits.
    """
    try:
        with output.open("wb") as stream:
            process = Popen(
                command,
                cwd=folder,
                env=java_environment(),
                stdin=DEVNULL,
                stdout=stream,
                stderr=STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        started.set_exception(error)
        return
    # The process exists at least until it is waited for.
    started.set_result(psutil.Process(process.pid))
    process.wait()


def java_environment() -> dict[str, str]:
    """Return this process's environment without the variables that change how Java runs."""
    return {name: value for name, value in os.environ.items() if name not in _JAVA_VARIABLES}


def is_alive(process: psutil.Process) -> bool:
    """Return True if a process runs and is not a zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def terminate(process: psutil.Process, timeout: float) -> None:
    """Send SIGTERM to a process and wait for its end; kill it after `timeout` seconds."""
    with suppress(psutil.NoSuchProcess):
        process.terminate()
    if not _wait(process, timeout):
        kill(process)


def kill(process: psutil.Process) -> None:
    """Send SIGKILL to a process and wait for its end."""
    with suppress(psutil.NoSuchProcess):
        process.kill()
    _wait(process, math.inf)


def _wait(process: psutil.Process, timeout: float) -> bool:
    return wait_until(time.monotonic() + timeout, lambda: not is_alive(process), _POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class BrokerState:
    """Last start of a broker, stored as JSON in its data folder.

    Attributes:
        created: creation time of the process `pid` in Unix seconds.
    """

    pid: int
    created: float
    port: int
    controller_port: int
    version: str

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """Return the stored state, None if it is missing or unreadable."""
        try:
            return cls(**json.loads(file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, file: Path) -> None:
        """Replace the stored state."""
        write_atomically(file, json.dumps(asdict(self)))

    def process(self, argument: str) -> psutil.Process | None:
        """Return the broker's process, None if it does not run.

        Args:
            argument: part of its command line, to recognise it besides its id and creation time.
        """
        try:
            process = psutil.Process(self.pid)
            difference = abs(process.create_time() - self.created)
            is_same = difference < _CLOCK_TOLERANCE_SECONDS and argument in process.cmdline()
        except psutil.Error:
            return None
        return process if is_same and is_alive(process) else None
