"""Simulation of a pipeline over a file of events, and perhaps one of labels, in memory."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import NamedTuple

from stream_app.clock import now_ms
from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas
from stream_app.core.reading.envelopes import Skipped
from stream_app.core.reading.event_time import is_suspect
from stream_app.core.scoring.event_clock import LABELS_NEEDED
from stream_app.offline.engine import Engine
from stream_app.offline.event_order import EventOrder
from stream_app.offline.log_order import Timed, sorted_ahead
from stream_app.offline.proposed_bounds import RecordSample
from stream_app.offline.record_outcomes import DeadLetterOutcome, EventOutcome, LabelOutcome
from stream_app.offline.stage_timing import SAMPLE_INTERVAL, StageTimer
from stream_app.offline.timeline import (
    InputLine,
    LineKind,
    LineNumber,
    in_order,
    in_time_order,
    read_lines,
    sorted_by_time,
)
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, Record
from stream_app.transfer.input_files import Format, infer_format, is_table
from stream_app.transfer.json_lines import InputLines, open_lines

# Code of lines that `stream-app produce` would not send.
NOT_SENT = "not-sent"
# Code of joined labels that the model could not learn.
NOT_LEARNED = "not-learned"
# Lines that are listed for each cause.
_LISTED = 10


class SimulatedRecord(NamedTuple):
    """Line of an input with its outcome, None if `stream-app produce` would not send it."""

    line: InputLine
    outcome: EventOutcome | LabelOutcome | None


class SampledSources(NamedTuple):
    """Names of the sources whose topics files are samples of; None: in the pipeline's form."""

    events: str | None = None
    labels: str | None = None


_IN_THE_PIPELINES_FORM = SampledSources()


@dataclass(slots=True)
class FailureCause:
    """Cause that several records failed with.

    Attributes:
        kind: "event" or "label".
        code: one of `stream_app.error_codes.ERROR_CODES`, "not-sent" for lines that
            `stream-app produce` leaves out, or "not-learned" for joined labels that the model
            could not learn.
        message: error message of the first record.
        remedy: what to do about it.
        stage: stage that failed.
        where: place where an exception was raised.
        stack: stack trace of the first record, from the pipeline's code on.
        count: number of records.
        lines: line numbers, or coordinates, of the first records.
    """

    kind: LineKind
    code: str
    message: str
    remedy: str
    stage: str = ""
    where: str | None = None
    stack: str = ""
    count: int = 0
    lines: list[LineNumber] = field(default_factory=list)

    def add(self, line: InputLine) -> None:
        """Count one more record."""
        self.count += 1
        if len(self.lines) < _LISTED:
            self.lines.append(line.number)


class Simulation:
    """Simulates the workers over files; iterate it once for the lines with their outcomes.

    Events come in the order of the file, and each label before the first event of a later time, so
    that a score is made by what was known then. A label without an event comes twice: "waiting",
    later "dead-lettered". So does an event with a transient failure: "retrying" for each attempt,
    at the end "dead-lettered". All counts are exact between two lines, so a simulation may be
    interrupted there.

    Args:
        pipeline: pipeline to simulate.
        events: events in the order of their file.
        labels: labels. None if there are none: then no label is assumed.
        now: time of the workers' clock, in Unix milliseconds.
        schemas: writer schemas that Avro records refer to.
        labels_ahead: number of labels that are kept in memory; None for all.

    Attributes:
        engine: scorer, learner and monitor with all results so far.
        timer: duration of the stages.
        read: lines read, by kind.
        unsent: lines that `stream-app produce` would not send, by kind.
        skipped: records of sources that are filtered or tombstones, by kind.
        causes: causes of failures.
        suspect_times: times that seem to have another unit than the declared one, by kind.
        order: distance of the events from being sorted.
        disordered: events after one whose time is later by more than the allowed lateness.
        sample: sample of the events.
        schemas: the argument.
        reading: True while it waits for the next line, when it can be interrupted at once.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        events: Iterable[Timed[InputLine]],
        labels: Iterable[Timed[InputLine]] | None,
        now: int,
        schemas: Schemas = NO_SCHEMAS,
        labels_ahead: int | None = None,
    ):
        self.engine = Engine(pipeline, knows_labels=labels is not None, schemas=schemas)
        self.timer = StageTimer(pipeline, schemas)
        self.schemas = schemas
        self.read = Counter[LineKind]()
        self.unsent = Counter[LineKind]()
        self.skipped: dict[LineKind, Counter[Skipped]] = {"event": Counter(), "label": Counter()}
        self.causes: dict[str, FailureCause] = {}
        self.suspect_times = Counter[LineKind]()
        self.order = EventOrder()
        self.disordered = 0
        self.sample = RecordSample()
        self.reading = False
        self._unlearnable = 0
        self._latest = 0
        self._lateness = pipeline.label.allowed_lateness // timedelta(milliseconds=1)
        self._lines = in_time_order(
            events,
            sorted_by_time(labels or ())
            if labels_ahead is None
            else sorted_ahead(labels or (), labels_ahead, self._at_end_of_labels),
        )
        self._now = now
        # Lines of records that may still become dead letters, by topic and offset.
        self._open: dict[tuple[str, int], InputLine] = {}

    def __iter__(self) -> Iterator[SimulatedRecord]:
        while (timed := self._next()) is not None:
            line = timed.item
            self.read[line.kind] += 1
            self._check_time(line.kind, timed.time)
            if line.record is None:
                self.unsent[line.kind] += 1
                self._add_unsent(line)
                yield SimulatedRecord(line, None)
            elif line.result is not None:
                yield self._leave_out(line, line.record, line.result)
            else:
                yield from self._process(line, line.record)
        yield from self._retry()

    def _at_end_of_labels(self, left: int) -> None:
        """Assume no further label once fewer are left than move a watermark."""
        if left < LABELS_NEEDED:
            self.engine.end_labels()

    def _check_time(self, kind: LineKind, time: int | None) -> None:
        """Count a time of a wrong unit, or of an event that is out of order."""
        if time is None:
            return
        self.suspect_times[kind] += is_suspect(time)
        if kind == "event":
            self.order.add(time)
            self.disordered += time < self._latest - self._lateness
            self._latest = max(self._latest, time)

    def _next(self) -> Timed[InputLine] | None:
        self.reading = True
        try:
            return next(self._lines, None)
        finally:
            self.reading = False

    def _process(self, line: InputLine, record: Record) -> list[SimulatedRecord]:
        """Return the line, and the waiting labels that expired at its event time."""
        origin = record.topic, record.offset
        self._open[origin] = line
        outcome = (
            self._score(record) if line.kind == "event" else self.engine.join(record, self._now)
        )
        if line.kind == "event":
            self.sample.add(record)
        if self.engine.learner.unlearnable > self._unlearnable:
            self._add_unlearned(line)
        late = [
            SimulatedRecord(other, LabelOutcome("dead-lettered", dead_letter=dead_letter))
            for other, dead_letter in self._take_dead_letters()
        ]
        if outcome.kind not in ("waiting", "retrying"):
            self._open.pop(origin, None)
        return [
            SimulatedRecord(line, outcome),
            *(simulated for simulated in late if simulated.line is not line),
        ]

    def _leave_out(
        self, line: InputLine, record: Record, result: Skipped | Failure
    ) -> SimulatedRecord:
        """Return the outcome of a record that `ingest` does not forward."""
        of_kind = EventOutcome if line.kind == "event" else LabelOutcome
        if not isinstance(result, Failure):
            self.skipped[line.kind][result] += 1
            return SimulatedRecord(line, of_kind(result))
        self._open[record.topic, record.offset] = line
        self.engine.reject(record, result, self._now, label=line.kind == "label")
        ((_, dead_letter),) = self._take_dead_letters()
        return SimulatedRecord(line, of_kind("dead-lettered", dead_letter=dead_letter))

    def _retry(self) -> Iterator[SimulatedRecord]:
        """Retry events with a transient failure as often as workers do, without the delays."""
        retry = self.engine.pipeline.retry
        for _ in range(retry.max_attempts):
            if self.engine.record_counts.retrying:
                self._now += retry.max_delay // timedelta(milliseconds=1)
                self.engine.retry(self._now)
                for line, dead_letter in self._take_dead_letters():
                    outcome = EventOutcome("dead-lettered", dead_letter=dead_letter)
                    yield SimulatedRecord(line, outcome)

    def _score(self, record: Record) -> EventOutcome:
        if record.offset % SAMPLE_INTERVAL == 0:
            self.timer.measure(record, self.engine.model)
        return self.engine.score(record, self._now)

    def _add_unsent(self, line: InputLine) -> None:
        problem = line.problem or ""
        cause = FailureCause(
            line.kind, NOT_SENT, problem, "Correct the line; produce names it and sends the others."
        )
        self.causes.setdefault(re.sub(r"\d+", "#", f"{line.kind} {problem}"), cause).add(line)

    def _add_unlearned(self, line: InputLine) -> None:
        """Count labels that the model could not learn; the first of them is explained."""
        failure = self.engine.learning_failure
        cause = FailureCause(
            line.kind,
            NOT_LEARNED,
            failure.message if failure else "the model failed",
            "The event was scored, and its label joined. Correct the features or the model.",
            "learn",
            failure.where if failure else None,
        )
        self.causes.setdefault(NOT_LEARNED, cause).add(line)
        self._unlearnable = self.engine.learner.unlearnable

    def _take_dead_letters(self) -> list[tuple[InputLine, DeadLetterOutcome]]:
        """Return the new dead letters with their lines, and count them by cause."""
        found = [
            (self._open.pop(dead_letter.origin), dead_letter)
            for dead_letter in self.engine.dead_letters
        ]
        self.engine.dead_letters.clear()
        for line, dead_letter in found:
            cause = FailureCause(
                line.kind,
                dead_letter.code,
                dead_letter.message,
                dead_letter.remedy,
                dead_letter.stage,
                dead_letter.where,
                dead_letter.stack,
            )
            self.causes.setdefault(f"{line.kind} {dead_letter.fingerprint}", cause).add(line)
        return found


@contextmanager
def open_simulation(
    pipeline: Pipeline,
    events: str,
    labels: str | None = None,
    limit: int | None = None,
    file_format: Format | None = None,
    sources: SampledSources = _IN_THE_PIPELINES_FORM,
    *,
    sort: bool = False,
) -> Iterator[tuple[Simulation, InputLines]]:
    """Open a simulation of files as they would be produced now.

    Args:
        pipeline: pipeline to simulate.
        events: path of the events; "-" is standard input.
        labels: path of the labels; None for those of `events` if it is a table that has both.
        limit: number of events, with their labels; None for all.
        file_format: format of the files; None for the format of each file's name.
        sources: names of the sources whose topics the files are samples of.
        sort: True to bring the events into the order of their event time, in memory.

    Returns:
        The simulation, and the lines of events, which show its progress.

    Raises:
        InputError: a file cannot be read, or the pipeline declares no such source.
    """
    now = now_ms()
    if labels is None and is_table(events, file_format, pipeline):
        labels = events
    with (
        open_lines(events) as event_lines,
        open_lines(labels) if labels else nullcontext() as label_lines,
    ):
        event_records = read_lines(
            pipeline, event_lines, file_format or infer_format(events), "event", sources.events
        )
        if sort:
            event_records = in_order(event_records)
        label_records: Iterator[Timed[InputLine]] | None = None
        if label_lines is not None and labels is not None:
            label_records = read_lines(
                pipeline, label_lines, file_format or infer_format(labels), "label", sources.labels
            )
        if limit is not None:
            chosen = list(islice(event_records, limit))
            if label_records is not None:
                label_records = _labels_of(chosen, label_records)
            yield Simulation(pipeline, chosen, label_records, now), event_lines
        else:
            yield Simulation(pipeline, event_records, label_records, now), event_lines


def _labels_of(
    events: Iterable[Timed[InputLine]], labels: Iterable[Timed[InputLine]]
) -> Iterator[Timed[InputLine]]:
    """Yield the labels of these events, and those that cannot be read."""
    identities = {_identity(line) for _, line in events if line.meaning is not None}
    return (
        timed
        for timed in labels
        if timed.item.meaning is None or _identity(timed.item) in identities
    )


def _identity(line: InputLine) -> tuple[bytes | None, str]:
    """Return the key and the event id of a line that has a meaning; its label has the same."""
    key = None if line.record is None else line.record.key
    return key, "" if line.meaning is None else line.meaning.event_id
