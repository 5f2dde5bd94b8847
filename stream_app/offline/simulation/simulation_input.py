"""The records of the tried files, each with its time."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from stream_app.core.reading.record_reader import Event, LabelEvent, LabelReader
from stream_app.offline.timeline import END_OF_TIME, Timed, time_reader
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, Record
from stream_app.transfer.input_files import Format, rows_of
from stream_app.transfer.json_lines import BadLine, InputLines

Kind = Literal["event", "label"]


class Line(NamedTuple):
    """A line of a file as a record, or the problem for which `stream-app produce` would not send it.

    `meaning` is what the record says, if it can be read; of an event without its features.
    """

    kind: Kind
    number: int
    record: Record | None = None
    meaning: Event | LabelEvent | None = None
    problem: str | None = None


def read_lines(
    pipeline: Pipeline, lines: InputLines, file_format: Format, kind: Kind
) -> Iterator[Timed[Line]]:
    """Every event, or label, of the file in its order; record offsets are counted from 0."""
    labels = kind == "label"
    topic = f"{pipeline.name}.{'labels' if labels else 'raw'}"
    reader = LabelReader(pipeline) if labels else time_reader(pipeline)
    offset = 0
    for row in rows_of(lines, file_format, pipeline, labels=labels):
        if isinstance(row, BadLine):
            yield Timed(None, Line(kind, row.number, problem=row.problem))
            continue
        record = Record(topic, 0, offset, 0, row.key, row.value)
        offset += 1
        meaning = reader.read(record, END_OF_TIME)
        if isinstance(meaning, Failure):
            yield Timed(None, Line(kind, row.number, record))
        else:
            yield Timed(_time(meaning), Line(kind, row.number, record, meaning))


def _time(meaning: Event | LabelEvent) -> int:
    return meaning.event_time if isinstance(meaning, Event) else meaning.label_time
