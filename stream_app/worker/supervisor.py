"""Supervisor of a pipeline's workers on one machine: restarts them, and stops them together."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

from stream_app import parent_death
from stream_app.errors import FencedError, KafkaUnavailableError, StoreError, StreamAppError
from stream_app.settings import Settings
from stream_app.telemetry.logs import get_logger
from stream_app.worker.quarantine.journal import unfinished_records, worker_file
from stream_app.worker.run_folder import read_error

log = get_logger(__name__)

# Delay before a restart; doubled each time the worker ends within HEALTHY_SECONDS.
FIRST_DELAY = 0.5
MAX_DELAY = 30.0
HEALTHY_SECONDS = 60.0
STOP_SECONDS = 8.0
POLL_SECONDS = 0.1

RETRIABLE_CODES = {kind.exit_code for kind in (FencedError, KafkaUnavailableError, StoreError)}
"""Exit codes of errors that a restart may resolve."""

PERMANENT_ERRORS = {
    kind.exit_code: kind
    for kind in StreamAppError.__subclasses__()
    if kind.exit_code not in RETRIABLE_CODES
}
"""Errors that only the operator can resolve, by exit code."""


@dataclass(slots=True)
class WorkerProcess:
    """Child process of one worker, and its restarts.

    Attributes:
        started: monotonic seconds of the last start.
        delay: seconds before the next restart.
        due: monotonic seconds of the next restart.
    """

    role: str
    instance: str
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    starts: int = 0
    delay: float = FIRST_DELAY
    due: float = 0.0

    @property
    def name(self) -> str:
        """Role and instance."""
        return f"{self.role}-{self.instance}"


@dataclass(slots=True)
class Supervisor:
    """Supervisor of a pipeline's workers, which the kernel kills when this process ends (Linux).

    Use it in the main thread: child processes are bound to the thread that started them.

    Attributes:
        pipeline: pipeline as on the command line.
        name: name of the pipeline.
        ingest: True to start an ingest worker, which a pipeline with sources needs.
        environment: variables added to the workers' environment; None removes one.
        log_file: file for the workers' output instead of standard error.
        failed: error of a worker that only the operator can resolve, or None.
    """

    pipeline: str
    name: str
    settings: Settings
    scorers: int = 1
    monitor: bool = True
    environment: Mapping[str, str | None] = field(default_factory=dict)
    log_file: Path | None = None
    workers: list[WorkerProcess] = field(default_factory=list)
    failed: StreamAppError | None = None
    ingest: bool = False

    def start(self) -> None:
        """Start all workers."""
        self.workers = [WorkerProcess("score", str(number)) for number in range(self.scorers)]
        self.workers.append(WorkerProcess("learn", "0"))
        if self.monitor:
            self.workers.append(WorkerProcess("monitor", "0"))
        if self.ingest:
            self.workers.append(WorkerProcess("ingest", "0"))
        self.supervise()

    def supervise(self) -> None:
        """Record workers that ended, and start those that are due; call it often."""
        for worker in self.workers:
            code = worker.process.poll() if worker.process else None
            if code is not None:
                self._record_exit(worker, code)
            if worker.process is None and self.failed is None and time.monotonic() >= worker.due:
                self._start(worker)

    def wait_ready(self, timeout: float) -> bool:
        """Supervise until all workers are ready.

        Args:
            timeout: seconds.

        Returns:
            False after the timeout, or if a worker has failed permanently.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.failed is None:
            self.supervise()
            if self.is_ready():
                return True
            time.sleep(POLL_SECONDS)
        return False

    def is_ready(self) -> bool:
        """Return True if all workers answer that they are ready."""
        return all(self.request(worker, "/readyz") for worker in self.workers)

    @property
    def restarts(self) -> int:
        """Number of restarts of all workers."""
        return sum(max(0, worker.starts - 1) for worker in self.workers)

    def stop(self) -> None:
        """Send SIGTERM to all workers, and SIGKILL to those that run after 8 s."""
        running = [
            worker.process
            for worker in self.workers
            if worker.process and worker.process.poll() is None
        ]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.wait()
        log.info("stopped", workers=len(running))

    def request(self, worker: WorkerProcess, path: str) -> str | None:
        """Return the answer of a worker's health server, or None unless its status is 200."""
        with suppress(OSError, ValueError, KeyError):
            run = json.loads(self._file(worker, "json").read_text())
            with urlopen(f"http://{run['host']}:{run['port']}{path}", timeout=1) as answer:
                return str(answer.read().decode())
        return None

    def _start(self, worker: WorkerProcess) -> None:
        bound = [sys.executable, "-I", "-S", parent_death.__file__, str(os.getpid())]
        command = [sys.executable, "-m", "stream_app", "worker", self.pipeline]
        for suffix in ("json", "error"):
            self._file(worker, suffix).unlink(missing_ok=True)
        target = self.log_file.open("ab") if self.log_file else None
        worker.process = subprocess.Popen(
            [*bound, *command, "--role", worker.role, "--instance", worker.instance],
            env={
                name: value
                for name, value in {**os.environ, **self.environment}.items()
                if value is not None
            },
            stdin=subprocess.DEVNULL,
            stdout=target or sys.stderr,
            stderr=target or sys.stderr,
            # Ctrl-C at the terminal is for this process, which stops the workers.
            start_new_session=True,
        )
        if target is not None:
            target.close()
        worker.started = time.monotonic()
        worker.starts += 1
        log.info("worker started", worker=worker.name, pid=worker.process.pid, starts=worker.starts)

    def _record_exit(self, worker: WorkerProcess, code: int) -> None:
        """Schedule the restart of a worker, or record its permanent error."""
        pid = worker.process.pid if worker.process else 0
        worker.process = None
        # A crash by a record is resolved by the quarantine, whatever the exit code is.
        if unfinished_records(self._file(worker, "journal"), pid):
            worker.due = time.monotonic() + FIRST_DELAY
            log.warning(
                "worker crashed on a record",
                worker=worker.name,
                code=code,
                restart_in_seconds=FIRST_DELAY,
            )
            return
        if time.monotonic() - worker.started > HEALTHY_SECONDS:
            worker.delay = FIRST_DELAY
        worker.due = time.monotonic() + worker.delay
        log.warning("worker exited", worker=worker.name, code=code, restart_in_seconds=worker.delay)
        worker.delay = min(worker.delay * 2, MAX_DELAY)
        kind = PERMANENT_ERRORS.get(code)
        if kind is not None and self.failed is None:
            where = self.log_file or "the lines above"
            unknown = (
                f"Worker {worker.name} of {self.name} failed",
                f"Its last log line gives the reason: see {where}",
            )
            self.failed = kind(*(read_error(self._file(worker, "error")) or unknown))

    def _file(self, worker: WorkerProcess, suffix: str) -> Path:
        return worker_file(self.settings.data_dir / "run" / self.name / worker.name, suffix)
