"""Start the broker's process: in a session of its own, and bound to the life of its starter if so wished."""

import math
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen
from threading import Thread

import psutil

_POLL = 0.02  # seconds
_BOUND = Path(__file__).with_name("bound.py")
_JAVA_VARIABLES = {
    "CLASSPATH",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "JDK_AOT_VM_OPTIONS",
    "_JAVA_OPTIONS",
}


def spawn(command: Sequence[str], *, folder: Path, output: Path, owned: bool) -> psutil.Process:
    """Start `command` in `folder`, its output in the file `output`, and return its process.

    With `owned` the kernel kills it when this process ends, however it ends (Linux). Errors: `OSError`.
    """
    if owned:
        command = [sys.executable, "-I", "-S", str(_BOUND), str(os.getpid()), *command]
    started: Future[psutil.Process] = Future()
    Thread(target=_run, args=(command, folder, output, started), name="broker", daemon=True).start()
    return started.result()


def _run(
    command: Sequence[str], folder: Path, output: Path, started: "Future[psutil.Process]"
) -> None:
    """Fork and wait. The kernel ties an owned process to the thread that forked it, so this one stays as long."""
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
    started.set_result(psutil.Process(process.pid))  # which exists at least until it is waited for
    process.wait()


def java_environment() -> dict[str, str]:
    """This process's environment without the variables that change how Java runs."""
    return {name: value for name, value in os.environ.items() if name not in _JAVA_VARIABLES}


def is_alive(process: psutil.Process) -> bool:
    """Whether `process` runs, and is not merely waiting for its parent to notice its end."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(process: psutil.Process, timeout: float) -> None:
    """Ask `process` to end and wait; kill it after `timeout` seconds."""
    with suppress(psutil.NoSuchProcess):
        process.terminate()
    if not _gone(process, timeout):
        kill(process)


def kill(process: psutil.Process) -> None:
    """Kill `process` and wait until it is gone."""
    with suppress(psutil.NoSuchProcess):
        process.kill()
    _gone(process, math.inf)


def _gone(process: psutil.Process, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while is_alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True
