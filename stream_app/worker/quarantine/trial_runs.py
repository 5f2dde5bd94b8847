"""Trial runs of quarantine candidates: a thread that sends them to the trial process."""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, SimpleQueue
from subprocess import DEVNULL, Popen
from threading import Thread
from time import monotonic, monotonic_ns
from typing import Literal, NamedTuple

from stream_app import parent_death
from stream_app.clock import now_ms
from stream_app.model_store.manifest import Manifest
from stream_app.records import Failure, Record
from stream_app.telemetry.logs import get_logger
from stream_app.worker.quarantine.journal import JournalReader, worker_file
from stream_app.worker.quarantine.watchdog import KILL_SECONDS, TICK_SECONDS

log = get_logger(__name__)

# The trial process may take this long to load the pipeline.
START_SECONDS = 60.0
SUPERVISE_SECONDS = 1.0
# Attempts with a trial process that ends before it starts a record.
MAX_ATTEMPTS = 2

TrialResults = list[Failure | None]
"""For each record the failure of a poison record, or None."""


TrialKind = Literal["event", "label", "source"]
"""Kind of the records of an input; those of a source are only read as far as `ingest` does."""


class TrialCase(NamedTuple):
    """Records of one input that get a trial run.

    Attributes:
        kind: what they are.
        done: called with the results by another thread.
    """

    records: list[Record]
    kind: TrialKind
    done: Callable[[TrialResults], None]


class _NoTrialError(Exception):
    """The trial process ended, and no record is the reason."""


class TrialRuns(Thread):
    """Thread that runs one trial after another; starts the trial process when it is needed.

    Records that cannot get a trial run are cleared: they may crash the worker.

    Args:
        spec: pipeline as on the command line.
        base: path of the trial process's files without suffix.
        seconds: time that one record may take.
        current_manifest: returns the version to score with.
        supervise: called about every second; returns True to keep the trial process.

    Attributes:
        fatal: called with the error when the thread cannot continue.
    """

    def __init__(
        self,
        spec: str,
        base: Path,
        seconds: float,
        current_manifest: Callable[[], Manifest | None],
        supervise: Callable[[], bool],
    ) -> None:
        super().__init__(name="trials", daemon=True)
        self.fatal: Callable[[BaseException], None] = _log_error
        self._spec = spec
        self._base = base
        self._limit_nanoseconds = int(seconds * 1e9)
        self._current_manifest = current_manifest
        self._supervise = supervise
        self._cases: SimpleQueue[TrialCase | None] = SimpleQueue()
        self._process: Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._journal: JournalReader | None = None

    def submit(self, case: TrialCase) -> None:
        """Queue records for a trial run."""
        self._cases.put(case)

    def warm_up(self) -> None:
        """Start the trial process before there are records."""
        self._cases.put(None)

    def run(self) -> None:
        try:
            self._run()
        # The only place that catches a failure of this thread.
        except BaseException as error:
            self.fatal(error)

    def _run(self) -> None:
        while True:
            needed = self._supervise()
            try:
                case = self._cases.get(timeout=SUPERVISE_SECONDS)
            except Empty:
                if not needed:
                    self.close()
                continue
            if case is None:
                with suppress(_NoTrialError):
                    self._connect()
            else:
                case.done(self._run_case(case))

    def close(self) -> None:
        """Kill the trial process; its fork ends with it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = self._journal = None

    def _run_case(self, case: TrialCase) -> TrialResults:
        results: TrialResults = [None] * len(case.records)
        start = failures = 0
        while start < len(case.records) and failures < MAX_ATTEMPTS:
            try:
                reached = self._run_from(case, start, results)
            except _NoTrialError:
                reached, failures = start, failures + 1
            if reached > start:
                start, failures = reached, 0
        if start < len(case.records):
            log.error(
                "trial run failed, records are processed without it",
                records=len(case.records) - start,
            )
        return results

    def _run_from(self, case: TrialCase, start: int, results: TrialResults) -> int:
        """Run the records from `start` on; returns the index after the first fatal one."""
        connection = self._connect()
        manifest = None if case.kind == "source" else self._current_manifest()
        if manifest is None and case.kind != "source":
            raise _NoTrialError
        records = case.records[start:]
        try:
            encoded = None if manifest is None else manifest.encode()
            connection.send((encoded, case.kind, now_ms(), records))
            return start + self._receive(connection, records, start, results)
        except (OSError, EOFError):
            self.close()
            raise _NoTrialError from None

    def _receive(
        self, connection: Connection, records: list[Record], start: int, results: TrialResults
    ) -> int:
        aborted: float | None = None
        age = (0, 0)
        while True:
            if connection.poll(TICK_SECONDS):
                kind, *rest = connection.recv()
                if kind == "result":
                    results[start + rest[0]] = Failure(rest[1], rest[2])
                elif kind == "done":
                    return len(records)
                elif kind == "crashed":
                    index = self._crashed_index(records)
                    results[start + index] = self._failure(rest[0], rest[1], aborted is not None)
                    return index + 1
                continue
            if aborted is not None:
                self._signal(signal.SIGKILL if monotonic() - aborted > KILL_SECONDS else None)
                continue
            age = self._next_age(age)
            if age[1] > self._limit_nanoseconds:
                aborted = monotonic()
                self._signal(signal.SIGABRT)

    def _next_age(self, age: tuple[int, int]) -> tuple[int, int]:
        """Return start and age of the current record in nanoseconds, one tick later.

        Ticks count instead of wall-clock time: a suspended machine is not the record's fault.
        """
        journal = self._journal
        for working in journal.working() if journal else ():
            if working.started != age[0]:
                return working.started, 0
            ticked = age[1] + int(TICK_SECONDS * 1e9)
            return working.started, min(ticked, monotonic_ns() - working.started)
        return 0, 0

    def _crashed_index(self, records: list[Record]) -> int:
        """Return the index of the record that the crashed fork was processing."""
        working = self._journal.working() if self._journal else []
        # The next fork creates another journal.
        self._journal = None
        for index, record in enumerate(records):
            if working and record.offset == working[0].offset:
                return index
        raise _NoTrialError

    def _failure(self, status: int, location: str, hung: bool) -> Failure:
        if hung:
            limit = self._limit_nanoseconds / 1e9
            return Failure(
                "record-hangs", f"the record took longer than {limit:g} s {location}".rstrip()
            )
        how = signal.Signals(-status).name if status < 0 else f"exit code {status}"
        return Failure("record-crashes", f"the process ended with {how} {location}".rstrip())

    def _signal(self, number: int | None) -> None:
        if number is not None and self._journal is not None:
            with suppress(ProcessLookupError):
                os.kill(self._journal.pid, number)

    def _connect(self) -> Connection:
        """Return the connection to a trial process that is ready for records."""
        if self._connection is None or self._process is None or self._process.poll() is not None:
            self.close()
            try:
                self._start()
            # No memory, or too many processes.
            except OSError as error:
                raise _NoTrialError from error
        connection = self._connection
        assert connection is not None
        deadline = monotonic() + START_SECONDS
        try:
            while self._journal is None or connection.poll(0):
                if not connection.poll(max(0.0, deadline - monotonic())):
                    raise EOFError
                is_ready = connection.recv()[0] == "ready"
                file = worker_file(self._base, "journal")
                self._journal = JournalReader(file) if is_ready else None
        except (OSError, EOFError):
            self.close()
            raise _NoTrialError from None
        return connection

    def _start(self) -> None:
        """Start a process that ends with this thread, which lives as long as the worker."""
        self._connection, child_end = Pipe()
        command = [sys.executable, "-m", "stream_app.worker.quarantine.trial_process", self._spec]
        self._process = start_bound_process(
            [*command, str(child_end.fileno()), str(self._base)], child_end.fileno()
        )
        child_end.close()


def _log_error(error: BaseException) -> None:
    log.error("no more trial runs", why=str(error))


def start_bound_process(command: list[str], *descriptors: int) -> "Popen[bytes]":
    """Start a process that the kernel kills when the calling thread ends.

    Args:
        descriptors: file descriptors that the process inherits.
    """
    return Popen(
        [sys.executable, "-I", "-S", parent_death.__file__, str(os.getpid()), *command],
        # With one thread only, the process may fork.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        pass_fds=descriptors,
        stdin=DEVNULL,
        # Ctrl-C at the terminal is for the worker.
        start_new_session=True,
    )
