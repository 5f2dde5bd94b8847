"""Has suspects tried in a child process, one after the other, by a thread that may wait for it."""

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
from typing import NamedTuple

from stream_app.broker import parent_death
from stream_app.clock import now_ms
from stream_app.model_store.manifest import Manifest
from stream_app.records import Failure, Record
from stream_app.telemetry.logs import get_logger
from stream_app.worker.quarantine.journal import Watched, beside
from stream_app.worker.quarantine.watchdog import GRACE, TICK

log = get_logger(__name__)

START_SECONDS = 60.0  # that the child may take to load the pipeline
TRIES = 2  # of a child that ends without having begun with a record

Verdicts = list[Failure | None]
"""For each record why it must not be processed, or None."""


class TrialCase(NamedTuple):
    """Records of one input that are to be tried."""

    records: list[Record]
    is_label: bool
    done: Callable[[Verdicts], None]


class _UnableError(Exception):
    """The child ended, and no record is to blame."""


class TrialRuns(Thread):
    """The worker's child, started when it is first needed; `base` is what its files are called, without a suffix.

    `serving` gives the version to try with. `tend` is called every second or so. If records cannot be tried at all they
    are acquitted: whoever processes them dies if he must.
    """

    def __init__(
        self,
        spec: str,
        base: Path,
        seconds: float,
        serving: Callable[[], Manifest | None],
        tend: Callable[[], bool],
    ) -> None:
        super().__init__(name="trials", daemon=True)
        self.failed: Callable[[BaseException], None] = _say
        self._spec = spec
        self._base = base
        self._nanoseconds = int(seconds * 1e9)
        self._serving = serving
        self._tend = tend
        self._cases: SimpleQueue[TrialCase | None] = SimpleQueue()
        self._process: Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._journal: Watched | None = None

    def submit(self, case: TrialCase) -> None:
        """Try these; `done` is called by another thread."""
        self._cases.put(case)

    def warm(self) -> None:
        """Start the child already."""
        self._cases.put(None)

    def run(self) -> None:
        try:
            self._run()
        except BaseException as error:  # the one place where a failure of this thread is caught
            self.failed(error)

    def _run(self) -> None:
        while True:
            needed = self._tend()
            try:
                case = self._cases.get(timeout=1.0)
            except Empty:
                if not needed:
                    self.close()
                continue
            if case is None:
                with suppress(_UnableError):
                    self._ready()
            else:
                case.done(self._judge(case))

    def close(self) -> None:
        """End the child."""
        if self._process is not None:
            self._process.kill()  # its fork ends with it
            self._process.wait()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = self._journal = None

    def _judge(self, case: TrialCase) -> Verdicts:
        verdicts: Verdicts = [None] * len(case.records)
        start = failures = 0
        while start < len(case.records) and failures < TRIES:
            try:
                reached = self._try(case, start, verdicts)
            except _UnableError:
                reached, failures = start, failures + 1
            if reached > start:
                start, failures = reached, 0
        if start < len(case.records):
            log.error(
                "records could not be tried, they are processed untried",
                records=len(case.records) - start,
            )
        return verdicts

    def _try(self, case: TrialCase, start: int, verdicts: Verdicts) -> int:
        """Try the records from `start` on; returns how far it came, which is beyond the first that was fatal."""
        connection = self._ready()
        manifest = self._serving()
        if manifest is None:
            raise _UnableError
        records = case.records[start:]
        try:
            connection.send((manifest.encode(), case.is_label, now_ms(), records))
            return start + self._listen(connection, records, start, verdicts)
        except (OSError, EOFError):
            self.close()
            raise _UnableError from None

    def _listen(
        self, connection: Connection, records: list[Record], start: int, verdicts: Verdicts
    ) -> int:
        hung: float | None = None
        counted = (0, 0)  # of which record, for how long the child has been working on it
        while True:
            if connection.poll(TICK):
                kind, *rest = connection.recv()
                if kind == "verdict":
                    verdicts[start + rest[0]] = Failure(rest[1], rest[2])
                elif kind == "done":
                    return len(records)
                elif kind == "died":
                    at = self._died_at(records)
                    verdicts[start + at] = self._failure(rest[0], rest[1], hung is not None)
                    return at + 1
                continue
            if hung is not None:
                self._kill(signal.SIGKILL if monotonic() - hung > GRACE else None)
                continue
            counted = self._age(counted)
            if counted[1] > self._nanoseconds:
                hung = monotonic()
                self._kill(signal.SIGABRT)

    def _age(self, counted: tuple[int, int]) -> tuple[int, int]:
        """Ticks are counted, not hours: a machine that stands still is not the record's doing."""
        journal = self._journal
        for working in journal.working() if journal else ():
            if working.started != counted[0]:
                return working.started, 0
            ticked = counted[1] + int(TICK * 1e9)
            return working.started, min(ticked, monotonic_ns() - working.started)
        return 0, 0

    def _died_at(self, records: list[Record]) -> int:
        """The index of the record that the child worked on."""
        working = self._journal.working() if self._journal else []
        self._journal = None  # which the next one makes anew
        for at, record in enumerate(records):
            if working and record.offset == working[0].offset:
                return at
        raise _UnableError

    def _failure(self, status: int, where: str, hung: bool) -> Failure:
        if hung:
            limit = self._nanoseconds / 1e9
            return Failure(
                "record-hangs", f"the record took longer than {limit:g} s {where}".rstrip()
            )
        how = signal.Signals(-status).name if status < 0 else f"exit code {status}"
        return Failure("record-crashes", f"the process ended with {how} {where}".rstrip())

    def _kill(self, number: int | None) -> None:
        if number is not None and self._journal is not None:
            with suppress(ProcessLookupError):
                os.kill(self._journal.pid, number)

    def _ready(self) -> Connection:
        """The connection to a child that waits for work."""
        if self._connection is None or self._process is None or self._process.poll() is not None:
            self.close()
            try:
                self._start()
            except OSError as error:  # no memory, or too many processes
                raise _UnableError from error
        connection = self._connection
        assert connection is not None
        deadline = monotonic() + START_SECONDS
        try:
            while self._journal is None or connection.poll(0):
                if not connection.poll(max(0.0, deadline - monotonic())):
                    raise EOFError
                kind = connection.recv()[0]
                self._journal = Watched(beside(self._base, "journal")) if kind == "ready" else None
        except (OSError, EOFError):
            self.close()
            raise _UnableError from None
        return connection

    def _start(self) -> None:
        """The child dies with this thread, which lives as long as the process."""
        self._connection, theirs = Pipe()
        command = [sys.executable, "-m", "stream_app.worker.quarantine.trial_process", self._spec]
        self._process = start_bound(
            [*command, str(theirs.fileno()), str(self._base)], theirs.fileno()
        )
        theirs.close()


def _say(error: BaseException) -> None:
    log.error("records cannot be tried any more", why=str(error))


def start_bound(command: list[str], *descriptors: int) -> "Popen[bytes]":
    """Start a process that the kernel kills when the calling thread ends; it keeps the descriptors."""
    return Popen(
        [sys.executable, "-I", "-S", parent_death.__file__, str(os.getpid()), *command],
        env={
            **os.environ,
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        },  # so that the child may fork
        pass_fds=descriptors,
        stdin=DEVNULL,
        start_new_session=True,  # Ctrl-C at the terminal is for the worker
    )
