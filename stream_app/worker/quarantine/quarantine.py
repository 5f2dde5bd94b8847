"""The isolation of one worker: its journal, its watch, what it suspects, and its child."""

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
from stream_app.telemetry.metrics import SUSPECTS
from stream_app.worker.quarantine.candidates import CandidateFile
from stream_app.worker.quarantine.crash_location import died_at
from stream_app.worker.quarantine.journal import CRASHED, GREW, HUNG, Journal, beside, last_words
from stream_app.worker.quarantine.trial_runs import TrialCase, TrialRuns, start_bound

log = get_logger(__name__)

FATAL_DEATHS = (
    3  # of workers on one record, after which it is convicted although the child survives it
)

CODES = {CRASHED: "record-crashes", HUNG: "record-hangs", GREW: "record-exhausts-memory"}
"""Of dead letters, by why the process ended."""


class Quarantine:
    """Made once, before the worker joins its group; `base` is what its files are called, without a suffix.

    `spec` is the pipeline as on the command line; suspicion lasts `seconds`. Where nothing is tried, as by the learner,
    there is only journal, watch and suspicion.
    """

    def __init__(self, spec: str, base: Path, limits: Limits, seconds: float) -> None:
        self.serving: Callable[[], Manifest | None] = lambda: None
        self.suspicion = CandidateFile(beside(base, "suspects"), seconds)
        self._pid = os.getpid()
        self._watch: Popen[bytes] | None = None
        self._trace: TextIO | None = None
        self._look_back(base)
        self.journal = Journal(beside(base, "journal"), limits)
        if self.journal.path is None:
            log.warning(
                "cannot write a journal, so a record that ends this worker will not be known",
                folder=base.parent,
            )
        with suppress(OSError):
            self._trace = beside(base, "trace").open("w")
            faulthandler.enable(self._trace)
        trial = base.with_name(f"{base.name}-trial")
        self._trials = TrialRuns(spec, trial, limits.seconds, lambda: self.serving(), self._tend)

    def start(self, failed: Callable[[BaseException], None], *, tries: bool) -> None:
        """Watch this process; with `tries` the child is started if there is anything to try.

        `failed` is called when that cannot go on.
        """
        self._trials.failed = failed
        if tries and self.suspicion:
            self._trials.warm()
        self._trials.start()

    def close(self) -> None:
        """End what was started; a worker need not, for all of it ends with the process."""
        faulthandler.disable()
        if self._trace is not None:
            self._trace.close()
        self._trials.close()
        if self._watch is not None:
            self._watch.kill()
            self._watch.wait()

    def try_records(self, case: TrialCase) -> None:
        """Have records tried."""
        self._trials.submit(case)

    def decide(self, number: int, record: Record, found: Failure | None) -> Failure | None:
        """What becomes of a record that was tried: a conviction makes every record suspect for a while."""
        suspect = self.suspicion.of(number, record.partition, record.offset)
        if found is None and suspect is not None and suspect.deaths >= FATAL_DEATHS:
            found = Failure(
                CODES[suspect.reason],
                f"{suspect.deaths} workers ended while they worked on the record",
            )
        if found is not None:
            self.suspicion.rise()
            log.warning(
                "a record is isolated",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                code=found.code,
                why=found.message,
            )
            SUSPECTS.labels(found.code).inc()
        elif suspect is not None:
            SUSPECTS.labels("acquitted").inc()
        return found

    def _look_back(self, base: Path) -> None:
        """Suspect what the worker before this one left unfinished."""
        suspects = self.suspicion.take(last_words(beside(base, "journal")))
        if suspects:
            log.warning(
                "the worker before this one ended while it worked on records; they are tried first",
                records=[f"partition {one.partition} offset {one.offset}" for one in suspects],
                where=died_at(beside(base, "trace")),
            )

    def _tend(self) -> bool:
        """Keep the watch awake; whether the child may be needed."""
        unwatched = self._watch is None or self._watch.poll() is not None
        if unwatched and self.journal.path is not None:
            command = [sys.executable, "-m", "stream_app.worker.quarantine.watchdog"]
            self._watch = start_bound([*command, str(self._pid), str(self.journal.path)])
        return bool(self.suspicion)
