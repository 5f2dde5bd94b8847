"""Quarantine of one worker: its journal, watchdog, candidates and trial process."""

import faulthandler
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from typing import TextIO

from stream_app.model_store.manifest import Manifest
from stream_app.records import Failure, Record
from stream_app.resilience import Limits
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import QUARANTINE_CANDIDATES
from stream_app.worker.quarantine.candidates import CandidateFile
from stream_app.worker.quarantine.journal import (
    CODES,
    Journal,
    crash_location,
    unfinished_records,
    worker_file,
)
from stream_app.worker.quarantine.trial_runs import TrialCase, TrialRuns, start_bound_process

log = get_logger(__name__)

# A record is poison after this number of crashes, even if the trial process survives it.
MAX_CRASHES = 3


class Quarantine:
    """Quarantine of a worker, created before the worker joins its group.

    A learner uses only journal, watchdog and candidates, without trial runs.

    Args:
        spec: pipeline as on the command line.
        base: path of the worker's files without suffix.
        limits: time and memory that one record may take.
        seconds: time after a poison record during which every record is a candidate.

    Attributes:
        current_manifest: returns the manifest of the served version, which trial runs use.
    """

    def __init__(self, spec: str, base: Path, limits: Limits, seconds: float) -> None:
        self.current_manifest: Callable[[], Manifest | None] = lambda: None
        self.candidates = CandidateFile(worker_file(base, "candidates"), seconds)
        self._pid = os.getpid()
        self._watchdog: Popen[bytes] | None = None
        self._trace: TextIO | None = None
        self._add_unfinished(base)
        self.journal = Journal(worker_file(base, "journal"), limits)
        if self.journal.path is None:
            log.warning(
                "cannot write the journal; a record that crashes this worker will not be found",
                folder=base.parent,
            )
        with suppress(OSError):
            self._trace = worker_file(base, "trace").open("w")
            faulthandler.enable(self._trace)
        trial = base.with_name(f"{base.name}-trial")
        self._trials = TrialRuns(
            spec, trial, limits.seconds, lambda: self.current_manifest(), self._supervise
        )

    def start(self, fatal: Callable[[BaseException], None], *, with_trials: bool) -> None:
        """Start the watchdog, and the trial process if there are candidates.

        Args:
            fatal: called with the error when the quarantine cannot continue.
            with_trials: False to start no trial process.
        """
        self._trials.fatal = fatal
        if with_trials and self.candidates:
            self._trials.warm_up()
        self._trials.start()

    def close(self) -> None:
        """Stop the processes; a worker need not call it, because they end with it."""
        faulthandler.disable()
        if self._trace is not None:
            self._trace.close()
        self._trials.close()
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.wait()

    def submit(self, case: TrialCase) -> None:
        """Queue records for a trial run."""
        self._trials.submit(case)

    def conclude(self, number: int, record: Record, failure: Failure | None) -> Failure | None:
        """Return the failure of a poison record, or None if it is cleared.

        A poison record makes every record a candidate for a while.

        Args:
            number: number of the input topic.
            failure: result of the trial run.
        """
        candidate = self.candidates.get(number, record.partition, record.offset)
        if failure is None and candidate is not None and candidate.crashes >= MAX_CRASHES:
            failure = Failure(
                CODES[candidate.reason],
                f"{candidate.crashes} workers ended while they processed the record",
            )
        if failure is not None:
            self.candidates.include_all()
            log.warning(
                "record quarantined",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                code=failure.code,
                why=failure.message,
            )
            QUARANTINE_CANDIDATES.labels(failure.code).inc()
        elif candidate is not None:
            QUARANTINE_CANDIDATES.labels("cleared").inc()
        return failure

    def _add_unfinished(self, base: Path) -> None:
        """Add the records that the previous worker had not finished."""
        added = self.candidates.add(unfinished_records(worker_file(base, "journal")))
        if added:
            log.warning(
                "the previous worker ended while it processed records; they get a trial run first",
                records=[f"partition {one.partition} offset {one.offset}" for one in added],
                location=crash_location(worker_file(base, "trace")),
            )

    def _supervise(self) -> bool:
        """Restart the watchdog if it ended; returns True if the trial process may be needed."""
        missing = self._watchdog is None or self._watchdog.poll() is not None
        if missing and self.journal.path is not None:
            command = [sys.executable, "-m", "stream_app.worker.quarantine.watchdog"]
            arguments = [str(self._pid), str(self.journal.path)]
            self._watchdog = start_bound_process([*command, *arguments])
        return bool(self.candidates)
