"""Quarantine of one worker: check of every record, journal, watchdog, candidates, trial process."""

import faulthandler
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from typing import TextIO

from stream_app.model_store.manifest import Manifest
from stream_app.records import Failure, Output, Record
from stream_app.resilience import Limits
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import QUARANTINE_CANDIDATES
from stream_app.worker.quarantine.journal import (
    CODES,
    CandidateFile,
    Journal,
    crash_location,
    unfinished_records,
    worker_file,
)
from stream_app.worker.quarantine.trial_runs import (
    TrialCase,
    TrialKind,
    TrialResults,
    TrialRuns,
    start_bound_process,
)

log = get_logger(__name__)

# A record is poison after this number of crashes, even if the trial process survives it.
MAX_CRASHES = 3

# An example is poison after this number of crashes. It gets no trial run, because that would need
# the model as it was before the example.
MAX_EXAMPLE_CRASHES = 2


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
        lost_journal: True if an earlier worker left no journal, as in a new data folder.
    """

    def __init__(self, spec: str, base: Path, limits: Limits, seconds: float) -> None:
        self.current_manifest: Callable[[], Manifest | None] = lambda: None
        self.candidates = CandidateFile(worker_file(base, "candidates"), seconds)
        self._pid = os.getpid()
        self._watchdog: Popen[bytes] | None = None
        self._trace: TextIO | None = None
        self.lost_journal = not worker_file(base, "journal").exists()
        self._add_unfinished(base)
        self.journal = Journal(worker_file(base, "journal"), limits)
        if self.journal.path is None:
            self.lost_journal = True
            log.warning(
                "cannot write the journal; a record that hangs this worker will not be found, and "
                "one that crashes it will after more restarts",
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

    def resume_claim(self, topic: str, key: tuple[int, int, int], crashes: int | None) -> None:
        """Isolate the records that were claimed by a worker that died.

        Args:
            key: input, partition and offset of the first record.
            crashes: number of workers that died while they processed exactly this record; None if
                it may have been another one behind it.
        """
        log.warning(
            "an earlier worker without a journal ended while it processed records; they are "
            "isolated",
            topic=topic,
            partition=key[1],
            offset=key[2],
            crashes=crashes,
        )
        if crashes is None:
            self.candidates.include_all()
        else:
            self.candidates.add_crashed(key, crashes)

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


class RecordGuard:
    """Guard of one partition of a scorer or of a source; used by the partition's thread.

    Args:
        inputs: full names of the input topics, in the order of the role, and what is in them.
    """

    def __init__(
        self, quarantine: Quarantine, partition: int, inputs: Mapping[str, TrialKind]
    ) -> None:
        self._quarantine = quarantine
        self._partition = partition
        self._kinds = inputs
        self._numbers = {topic: number for number, topic in enumerate(inputs)}
        self._slot = quarantine.journal.slot(partition)
        self._results: dict[tuple[str, int], Failure | None] = {}
        self._running = False

    def journaled(self, topic: str, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records, each written to the journal before it is processed."""
        return self._slot.journaled(self._number_of(topic), records)

    def ready(self, records: Sequence[Record]) -> int:
        """Return the number of records, counted from the first, that need no trial run any more.

        Starts a trial run of the others.
        """
        candidates = self._quarantine.candidates
        if not candidates:
            return len(records)
        everything = candidates.includes_all
        for index, record in enumerate(records):
            is_candidate = everything or candidates.get(
                self._number_of(record.topic), self._partition, record.offset
            )
            if is_candidate and (record.topic, record.offset) not in self._results:
                self._start_trial(records[index:] if everything else [record])
                return index
        return len(records)

    def take_result(self, record: Record) -> Failure | None:
        """Return the failure of a poison record, else None; called once, before processing."""
        if not self._results:
            return None
        return self._results.pop((record.topic, record.offset), None)

    def process(
        self,
        records: Sequence[Record],
        work: Callable[[Sequence[Record]], list[Output]],
        reject: Callable[[Record, Failure], list[Output]],
    ) -> list[Output]:
        """Return the outputs of records in their order; poison records are rejected."""
        if not self.has_results:
            return work(records)
        outputs: list[Output] = []
        harmless: list[Record] = []
        for record in records:
            failure = self.take_result(record)
            if failure is None:
                harmless.append(record)
            else:
                outputs += work(harmless) + reject(record, failure)
                harmless = []
        return outputs + work(harmless)

    @property
    def checks_all(self) -> bool:
        """True if every record gets a trial run, because a poison record was found recently."""
        return self._quarantine.candidates.includes_all

    @property
    def has_results(self) -> bool:
        """True if trial runs have results that nobody has taken."""
        return bool(self._results)

    def suspect_waiting(self, waiting: Iterable[str]) -> None:
        """Give records that wait for a retry a trial run first, if there is no journal of them.

        Args:
            waiting: `topic/offset` of each record.
        """
        if self._quarantine.lost_journal:
            for topic, _, offset in (name.rpartition("/") for name in waiting):
                key = self._number_of(topic), self._partition, int(offset)
                self._quarantine.candidates.add_crashed(key, 0)

    def committed(self, positions: Mapping[str, int], waiting: Iterable[str] = ()) -> None:
        """Remove candidates whose outcome is committed.

        Args:
            positions: next offset by topic.
            waiting: `topic/partition/offset` of records that wait for a retry.
        """
        if self._quarantine.candidates:
            for topic, end in positions.items():
                if topic not in self._numbers:
                    continue
                waits = {
                    int(offset)
                    for one, _, offset in (name.rpartition("/") for name in waiting)
                    if one == topic
                }
                self._quarantine.candidates.remove_before(
                    self._number_of(topic), self._partition, end, waits.__contains__
                )

    def _start_trial(self, records: Sequence[Record]) -> None:
        """Start a trial run unless one is running."""
        if self._running:
            return
        self._running = True
        chosen = list(records)
        topic = chosen[0].topic
        number = self._number_of(topic)

        def done(results: TrialResults) -> None:
            for record, found in zip(chosen, results, strict=True):
                result = self._quarantine.conclude(number, record, found)
                self._results[topic, record.offset] = result
            self._running = False

        self._quarantine.submit(TrialCase(chosen, self._kinds.get(topic, "event"), done))

    def _number_of(self, topic: str) -> int:
        """Return the number of a topic; 0 for one that is no input any more.

        Records of it may wait for a retry. At worst another record gets a trial run as well.
        """
        return self._numbers.get(topic, 0)


class ExampleGuard:
    """Guard of a learner: skips an example that crashed it repeatedly; used by its thread."""

    def __init__(self, quarantine: Quarantine) -> None:
        self._candidates = quarantine.candidates
        self._slot = quarantine.journal.slot(0)

    def journaled(self, examples: Iterable[Record]) -> Iterator[Record]:
        """Yield the examples, each written to the journal before it is learned."""
        return self._slot.journaled(0, examples)

    @property
    def has_candidates(self) -> bool:
        """True if an example may be poison."""
        return bool(self._candidates)

    def poison_code(self, offset: int) -> str | None:
        """Return the error code of a poison example, else None."""
        candidate = self._candidates.get(0, 0, offset)
        if candidate is None or candidate.crashes < MAX_EXAMPLE_CRASHES:
            return None
        code = CODES[candidate.reason]
        log.warning("example quarantined", offset=offset, code=code)
        return code

    def committed(self, end: int) -> None:
        """Remove candidates before an offset: they were learned or skipped."""
        if self._candidates:
            self._candidates.remove_before(0, 0, end)
