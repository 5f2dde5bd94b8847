"""Events and labels of files in the order in which they become known."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal, NamedTuple, TypeVar

from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas
from stream_app.core.reading.envelopes import Skipped
from stream_app.core.reading.record_reader import Event, EventReader, LabelEvent, LabelReader
from stream_app.offline.ingesting import OfflineIngest
from stream_app.offline.log_order import END_OF_TIME, Timed
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, Features, Fields, Record
from stream_app.topic_kinds import topic_name
from stream_app.transfer.input_files import Format, read_rows
from stream_app.transfer.json_lines import BadLine, InputLines
from stream_app.transfer.source_files import source_records

T = TypeVar("T")

LineKind = Literal["event", "label"]
LineNumber = int | str


def time_reader(pipeline: Pipeline) -> EventReader:
    """Return a reader of event ids and event times that computes no features."""
    return EventReader(replace(pipeline, features=_no_features))


def _no_features(_: Fields) -> Features:
    return {"none": True}


def in_time_order(
    events: Iterable[Timed[T]], labels: Iterable[tuple[int, Timed[T]]]
) -> Iterator[Timed[T]]:
    """Yield events in their own order, and each label before the first event of a later time.

    The remaining labels come at the end. Time is the largest event time so far.

    Args:
        events: read one by one.
        labels: labels with their times, as of `sorted_by_time`; read one by one.
    """
    now = -END_OF_TIME
    waiting = iter(labels)
    label = next(waiting, None)
    for event in events:
        now = now if event.time is None else max(now, event.time)
        while label is not None and label[0] < now:
            yield label[1]
            label = next(waiting, None)
        yield event
    while label is not None:
        yield label[1]
        label = next(waiting, None)


def in_order(items: Iterable[Timed[T]]) -> Iterator[Timed[T]]:
    """Yield items in the order of their time; all are kept in memory."""
    return (timed for _, timed in sorted_by_time(items))


def sorted_by_time(items: Iterable[Timed[T]]) -> list[tuple[int, Timed[T]]]:
    """Return items in the order of their time, with that time.

    An item without a time comes with the one before it.
    """
    timed = []
    last = -END_OF_TIME
    for item in items:
        last = last if item.time is None else item.time
        timed.append((last, item))
    return sorted(timed, key=lambda pair: pair[0])


class InputLine(NamedTuple):
    """Line of an input file, or record of a topic.

    Attributes:
        kind: "event" or "label".
        number: line number in the file, from 1; of a topic, the record's coordinates.
        record: record of the line, None if `stream-app produce` would not send it.
        meaning: the decoded record, an event without its features; None if it cannot be read.
        problem: reason why `stream-app produce` would not send the line.
        result: what `ingest` would do with a record of a source that it does not forward.
    """

    kind: LineKind
    number: LineNumber
    record: Record | None = None
    meaning: Event | LabelEvent | None = None
    problem: str | None = None
    result: Skipped | Failure | None = None


def read_lines(
    pipeline: Pipeline,
    lines: InputLines,
    file_format: Format,
    kind: LineKind,
    source: str | None = None,
) -> Iterator[Timed[InputLine]]:
    """Yield every event, or every label, of a file in its order; record offsets count from 0.

    Args:
        pipeline: loaded pipeline.
        lines: lines of the file.
        file_format: format of the file.
        kind: "event" or "label".
        source: name of the source whose topic the records are from; None for records in the
            pipeline's form.

    Raises:
        InputError: the file is damaged, or the pipeline declares no such source.
    """
    labels = kind == "label"
    reader = LabelReader(pipeline) if labels else time_reader(pipeline)
    for found in (
        _own_lines(pipeline, lines, file_format, kind)
        if source is None
        else _source_lines(OfflineIngest(pipeline, source, labels=labels), lines, file_format, kind)
    ):
        yield timed_line(reader, found)


def timed_line(
    reader: EventReader | LabelReader, line: InputLine, schemas: Schemas = NO_SCHEMAS
) -> Timed[InputLine]:
    """Return a line with its meaning and its time, if it can be read."""
    if line.record is None or line.result is not None:
        return Timed(None, line)
    meaning = reader.read(line.record, END_OF_TIME, schemas)
    if isinstance(meaning, Failure):
        return Timed(None, line)
    return Timed(_time(meaning), line._replace(meaning=meaning))


def _own_lines(
    pipeline: Pipeline, lines: InputLines, file_format: Format, kind: LineKind
) -> Iterator[InputLine]:
    labels = kind == "label"
    topic = topic_name(pipeline.name, "labels" if labels else "raw")
    offset = 0
    for row in read_rows(lines, file_format, pipeline, labels=labels):
        if isinstance(row, BadLine):
            yield InputLine(kind, row.number, problem=row.problem)
            continue
        yield InputLine(kind, row.number, Record(topic, 0, offset, 0, row.key, row.value))
        offset += 1


def _source_lines(
    ingest: OfflineIngest, lines: InputLines, file_format: Format, kind: LineKind
) -> Iterator[InputLine]:
    records = source_records(lines, file_format, ingest.source)
    for offset, found in enumerate(records):
        if isinstance(found, BadLine):
            yield InputLine(kind, found.number, problem=found.problem)
            continue
        number, record = found
        forwarded, result = ingest.ingest(record, offset)
        yield InputLine(kind, number, forwarded, result=result)


def _time(meaning: Event | LabelEvent) -> int:
    return meaning.event_time if isinstance(meaning, Event) else meaning.label_time
