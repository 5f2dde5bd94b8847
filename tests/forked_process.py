"""Runs `stream-app` in processes that are forked from a server with all imports done.

The imports are most of the CPU time of a start. The processes are real ones in every other respect:
they have their own environment, signals and exit code. The fault table, whose figures include the
start, sets FRESH_PROCESSES, and gets new interpreters.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir
from multiprocessing.connection import wait
from pathlib import Path
from threading import Lock

ROOT = Path(__file__).resolve().parents[1]

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "stream_app.cli",
        "stream_app.cli.worker",
        "stream_app.worker.worker",
        "stream_app.worker.roles.learn_processor",
        "stream_app.worker.roles.monitor_processor",
        "stream_app.worker.roles.ingest_processor",
        "stream_app.worker.roles.score_processor",
        "tests.small_pipeline",
        "tests.forked_process",
    ]
)


class ForkedProcess:
    """A command in a process of its own, with the methods of `subprocess.Popen` that tests use.

    Args:
        arguments: words after `stream-app`.
        environment: all variables of the process. FAULT_AT is a point of `tests.faults.points`.
        log: file that standard output and error are appended to.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        # Daemonic processes are killed, not awaited, when the test process ends.
        self._process = _CONTEXT.Process(
            target=_run, args=(tuple(arguments), dict(environment), log), daemon=True
        )
        self._lock = Lock()
        log.touch()
        # The server imports the tests from its working directory.
        with chdir(ROOT):
            self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, or the negative number of the signal that ended it; None while it runs."""
        return self.poll()

    def poll(self) -> int | None:
        # Only the first of two threads at once would get the code from the server.
        with self._lock:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code.

        Raises:
            subprocess.TimeoutExpired: the process has not ended after `timeout` seconds.
        """
        wait([self._process.sentinel], timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("stream-app", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def terminate(self) -> None:
        self._process.terminate()


WorkerProcess = ForkedProcess | subprocess.Popen[bytes]


def start_process(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path
) -> WorkerProcess:
    """Start `stream-app` with these arguments, forked unless FRESH_PROCESSES is set."""
    if not os.environ.get("FRESH_PROCESSES"):
        return ForkedProcess(arguments, environment, log)
    program = "tests.faults.points" if "FAULT_AT" in environment else "stream_app"
    command = [sys.executable, "-m", program, *arguments]
    with log.open("ab") as file:
        return subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, env=environment)


def _run(arguments: tuple[str, ...], environment: dict[str, str], log: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["stream-app", *arguments]
    if "FAULT_AT" in environment:
        from tests.faults.points import arm

        arm(environment["FAULT_AT"])
    from stream_app.cli import main

    main()
