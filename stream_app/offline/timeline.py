"""Events and labels of files in the order in which they become known."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Generic, Literal, NamedTuple, TypeVar

from stream_app.core.reading.envelopes import Skipped
from stream_app.core.reading.record_reader import Event, EventReader, LabelEvent, LabelReader
from stream_app.offline.ingesting import OfflineIngest
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, Features, Fields, Record
from stream_app.topic_kinds import topic_name
from stream_app.transfer.input_files import Format, read_rows
from stream_app.transfer.json_lines import BadLine, InputLines
from stream_app.transfer.source_files import source_records

T = TypeVar("T")

LineKind = Literal["event", "label"]

# Unix milliseconds; with this clock no record is in the future.
END_OF_TIME = 2**62


def time_reader(pipeline: Pipeline) -> EventReader:
    """Return a reader of event ids and event times that computes no features."""
    return EventReader(replace(pipeline, features=_no_features))


def _no_features(_: Fields) -> Features:
    return {"none": True}


class Timed(NamedTuple, Generic[T]):
    """Item with its time in Unix milliseconds, None if it has none.

    The time of an event is its event time, that of a label the time at which it became known.
    """

    time: int | None
    item: T


def in_time_order(events: Iterable[Timed[T]], labels: Iterable[Timed[T]]) -> Iterator[Timed[T]]:
    """Yield events in their own order, and each label before the first event of a later time.

    The remaining labels come at the end. Time is the largest event time so far. A label without a
    time comes with the one before it.

    Args:
        events: read one by one.
        labels: read at once, and kept in memory.
    """
    return _merged(events, deque(_sorted(labels)))


def in_order(items: Iterable[Timed[T]]) -> Iterator[Timed[T]]:
    """Yield items in the order of their time; all are kept in memory.

    An item without a time comes with the one before it.
    """
    return (timed for _, timed in _sorted(items))


def _merged(events: Iterable[Timed[T]], waiting: deque[tuple[int, Timed[T]]]) -> Iterator[Timed[T]]:
    now = -END_OF_TIME
    for event in events:
        now = now if event.time is None else max(now, event.time)
        while waiting and waiting[0][0] < now:
            yield waiting.popleft()[1]
        yield event
    yield from (label for _, label in waiting)


def _sorted(labels: Iterable[Timed[T]]) -> list[tuple[int, Timed[T]]]:
    timed = []
    last = -END_OF_TIME
    for label in labels:
        last = last if label.time is None else label.time
        timed.append((last, label))
    return sorted(timed, key=lambda pair: pair[0])


class InputLine(NamedTuple):
    """Line of an input file.

    Attributes:
        kind: "event" or "label".
        number: line number in the file, from 1.
        record: record of the line, None if `stream-app produce` would not send it.
        meaning: the decoded record, an event without its features; None if it cannot be read.
        problem: reason why `stream-app produce` would not send the line.
        result: what `ingest` would do with a record of a source that it does not forward.
    """

    kind: LineKind
    number: int
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
        meaning = (
            None
            if found.record is None or found.result is not None
            else reader.read(found.record, END_OF_TIME)
        )
        if meaning is None or isinstance(meaning, Failure):
            yield Timed(None, found)
        else:
            yield Timed(_time(meaning), found._replace(meaning=meaning))


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
