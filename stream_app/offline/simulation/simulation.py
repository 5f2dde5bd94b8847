"""A trial: a pipeline over a file of events and perhaps one of labels, in memory."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import NamedTuple

from stream_app.clock import now_ms
from stream_app.offline.engine import Engine
from stream_app.offline.record_outcomes import DeadLetterOutcome, EventOutcome, LabelOutcome
from stream_app.offline.simulation.simulation_input import Kind, Line, read_lines
from stream_app.offline.simulation.stage_timing import SAMPLE, StageTimer
from stream_app.offline.timeline import Timed, in_time_order
from stream_app.pipeline import Pipeline
from stream_app.records import Record
from stream_app.transfer.input_files import Format, format_of
from stream_app.transfer.json_lines import InputLines, open_lines

NOT_SENT = "not-sent"
_SHOWN = 10  # lines of each cause


class SimulatedRecord(NamedTuple):
    """A line, and what became of it; `outcome` is None for one that `stream-app produce` would not send."""

    line: Line
    outcome: EventOutcome | LabelOutcome | None


@dataclass(slots=True)
class FailureCause:
    """Why records failed, with the first lines of the file that it holds for.

    `code` is one of `stream_app.error_codes.ERROR_CODES`, or "not-sent" for lines that `stream-app produce` leaves out;
    `stack` is where an exception was raised in the first of them, from the pipeline's code on.
    """

    kind: Kind
    code: str
    message: str
    remedy: str
    stage: str = ""
    where: str | None = None
    stack: str = ""
    count: int = 0
    lines: list[int] = field(default_factory=list)

    def add(self, line: Line) -> None:
        """Count one more."""
        self.count += 1
        if len(self.lines) < _SHOWN:
            self.lines.append(line.number)


class Simulation:
    """Reads the labels; iterate it once for the lines in the order of processing, and what became of each.

    Events come in the file's order, each label before the first event of a later time, so that a score is made by what
    was known then. A label that waits for its event in vain comes twice: "waiting", later "dead-lettered". So does an
    event that fails for a reason outside every time that it is tried: "retrying", at the end "dead-lettered". `now`
    (epoch milliseconds) is what the workers' clock shows. Between two lines all counts are right: a trial may be broken
    off.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        events: Iterable[Timed[Line]],
        labels: Iterable[Timed[Line]],
        now: int,
    ):
        self.engine = Engine(pipeline)
        self.timer = StageTimer(pipeline)
        self.read = Counter[Kind]()
        self.unsent = Counter[Kind]()
        self.causes: dict[str, FailureCause] = {}
        self.reading = (
            False  # waiting for the next line: the moment at which the trial may be interrupted
        )
        self._lines = in_time_order(events, labels)
        self._now = now
        self._places: dict[
            tuple[str, int], Line
        ] = {}  # of records that may still become dead letters

    def __iter__(self) -> Iterator[SimulatedRecord]:
        while (timed := self._next()) is not None:
            line = timed.item
            self.read[line.kind] += 1
            if line.record is None:
                self.unsent[line.kind] += 1
                self._leave_out(line)
                yield SimulatedRecord(line, None)
            else:
                yield from self._process(line, line.record)
        yield from self._try_again()

    def _next(self) -> Timed[Line] | None:
        self.reading = True
        try:
            return next(self._lines, None)
        finally:
            self.reading = False

    def _process(self, line: Line, record: Record) -> list[SimulatedRecord]:
        """The line, and labels that its event time has shown to have waited in vain."""
        place = record.topic, record.offset
        self._places[place] = line
        outcome = (
            self._score(record) if line.kind == "event" else self.engine.join(record, self._now)
        )
        late = [
            SimulatedRecord(other, LabelOutcome("dead-lettered", dead_letter=letter))
            for other, letter in self._explained()
        ]
        if outcome.kind not in ("waiting", "retrying"):
            self._places.pop(place, None)
        return [
            SimulatedRecord(line, outcome),
            *(tried for tried in late if tried.line is not line),
        ]

    def _try_again(self) -> Iterator[SimulatedRecord]:
        """Events that failed for a reason outside are tried as often as they would be, without the time between."""
        retry = self.engine.pipeline.retry
        for _ in range(retry.attempts):
            if self.engine.books.retrying:
                self._now += retry.longest_delay // timedelta(milliseconds=1)
                self.engine.try_again(self._now)
                for line, letter in self._explained():
                    yield SimulatedRecord(line, EventOutcome("dead-lettered", dead_letter=letter))

    def _score(self, record: Record) -> EventOutcome:
        if record.offset % SAMPLE == 0:
            self.timer.measure(record, self.engine.model)
        return self.engine.score(record, self._now)

    def _leave_out(self, line: Line) -> None:
        problem = line.problem or ""
        cause = FailureCause(
            line.kind, NOT_SENT, problem, "Correct the line; produce names it and sends the others."
        )
        self.causes.setdefault(re.sub(r"\d+", "#", f"{line.kind} {problem}"), cause).add(line)

    def _explained(self) -> list[tuple[Line, DeadLetterOutcome]]:
        """The new dead letters, counted by their cause."""
        letters = [(self._places.pop(letter.origin), letter) for letter in self.engine.dead_letters]
        self.engine.dead_letters.clear()
        for line, letter in letters:
            cause = FailureCause(
                line.kind,
                letter.code,
                letter.message,
                letter.remedy,
                letter.stage,
                letter.where,
                letter.stack,
            )
            self.causes.setdefault(f"{line.kind} {letter.fingerprint}", cause).add(line)
        return letters


@contextmanager
def open_trial(
    pipeline: Pipeline,
    events: str,
    labels: str | None = None,
    limit: int | None = None,
    file_format: Format | None = None,
) -> Iterator[tuple[Simulation, InputLines]]:
    """A trial of the files as they would be produced now, and the lines of events, which tell how far it is.

    With a `limit` only so many events are tried, and their labels; without `file_format` the names of the files tell
    it. `InputError` for a file that cannot be read.
    """
    now = now_ms()
    with (
        open_lines(events) as event_lines,
        open_lines(labels) if labels else nullcontext() as label_lines,
    ):
        found = read_lines(pipeline, event_lines, file_format or format_of(events), "event")
        truth: Iterator[Timed[Line]] = iter(())
        if label_lines is not None and labels is not None:
            truth = read_lines(pipeline, label_lines, file_format or format_of(labels), "label")
        if limit is not None:
            chosen = list(islice(found, limit))
            yield Simulation(pipeline, chosen, _labels_of(chosen, truth), now), event_lines
        else:
            yield Simulation(pipeline, found, truth, now), event_lines


def _labels_of(
    events: Iterable[Timed[Line]], labels: Iterable[Timed[Line]]
) -> Iterator[Timed[Line]]:
    """The labels of these events."""
    wanted = {line.meaning.event_id for _, line in events if line.meaning is not None}
    return (
        timed
        for timed in labels
        if timed.item.meaning is not None and timed.item.meaning.event_id in wanted
    )
