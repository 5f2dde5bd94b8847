"""Rows of a table that has both the events and their labels, as events or as labels.

A row of a table has the label's field, which the event's schema lacks, and the event's time, which
the label's schema lacks. As an event it loses what only the label has, so that no outcome is sent
with an event. As a label it keeps the fields of the label's schema; a row whose label is empty has
none yet and is left out. Rows of other files are unchanged.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from itertools import islice
from typing import Any

import orjson

from stream_app.core.reading.event_time import to_unix_ms
from stream_app.core.reading.validator import compile_validator
from stream_app.errors import InputError
from stream_app.formatting import iso_time
from stream_app.pipeline import Label, Pipeline, parsed
from stream_app.records import Fields
from stream_app.transfer.json_lines import BadLine, InputLines, Row

# First rows of a file in which the label's field is looked for.
_SEARCHED = 1000


def table_rows(
    rows: Iterator[Row | BadLine], pipeline: Pipeline, lines: InputLines, *, labels: bool
) -> Iterator[Row | BadLine]:
    """Yield the rows of a file as events or as labels.

    Args:
        rows: rows whose values are JSON.
        pipeline: loaded pipeline.
        lines: lines of the file; those without a label are counted in `unlabelled`.
        labels: True for labels.

    Raises:
        InputError: a table has neither a time of the label nor a declared delay.
    """
    events, label = _names(pipeline.schema), pipeline.label
    own = _names(label.schema)
    if labels:
        return rows if pipeline.event_time in own else _labels(rows, pipeline, lines)
    return rows if label.field in events else _events(rows, label.field, own - events)


def has_labels(records: Iterator[Fields], pipeline: Pipeline) -> bool:
    """Return True if records of a file are rows of a table with events and labels."""
    if pipeline.label.field in _names(pipeline.schema):
        return False
    return any(
        {pipeline.event_time, pipeline.label.field} <= fields.keys()
        for fields in islice(records, _SEARCHED)
    )


def _names(schema: Any) -> set[str]:
    return {field["name"] for field in parsed(schema)["fields"]}


def _events(
    rows: Iterator[Row | BadLine], label_field: str, outcome: set[str]
) -> Iterator[Row | BadLine]:
    marker = orjson.dumps(label_field)
    for row in rows:
        # Most rows need not be decoded.
        if isinstance(row, BadLine) or marker not in row.value:
            yield row
            continue
        fields = orjson.loads(row.value)
        if label_field in fields:
            kept = {name: value for name, value in fields.items() if name not in outcome}
            row = row._replace(value=orjson.dumps(kept))
        yield row


def _labels(
    rows: Iterator[Row | BadLine], pipeline: Pipeline, lines: InputLines
) -> Iterator[Row | BadLine]:
    label, event_time = pipeline.label, pipeline.event_time
    marker, own = orjson.dumps(event_time), _names(label.schema)
    label_time = _label_time(pipeline)
    for row in rows:
        fields = orjson.loads(row.value) if isinstance(row, Row) and marker in row.value else {}
        if isinstance(row, BadLine) or event_time not in fields:
            yield row
            continue
        if fields.get(label.field) in (None, ""):
            lines.unlabelled += 1
            continue
        found = {name: value for name, value in fields.items() if name in own}
        if found.get(label.time) is None:
            if label.delay is None and label.time not in fields:
                raise _no_time(lines.name, label)
            found[label.time] = label_time(fields)
        yield row._replace(value=orjson.dumps(found))


def _no_time(name: str, label: Label) -> InputError:
    return InputError(
        f"{name} has events and labels, but no column {label.time} with the time of the label",
        "Add the column, or declare Label(delay=timedelta(...)), the usual time until it is known",
    )


def _label_time(pipeline: Pipeline) -> Callable[[Fields], Any]:
    """Return a function from a row to the time of its label, None if the event's is no time."""
    delay = pipeline.label.delay
    if delay is None:
        return lambda _: None
    milliseconds = delay // timedelta(milliseconds=1)
    schema, name = parsed(pipeline.schema), pipeline.event_time
    fields = [field for field in schema["fields"] if field["name"] == name]
    validate = compile_validator({**schema, "fields": fields})
    as_sent = _sent_as(parsed(pipeline.label.schema), pipeline.label.time)

    def label_time(fields: Fields) -> Any:
        event = validate({name: fields[name]})
        time = to_unix_ms(event[name]) if isinstance(event, dict) else None
        return None if time is None else as_sent(time + milliseconds)

    return label_time


def _sent_as(schema: Mapping[str, Any], name: str) -> Callable[[int], Any]:
    """Return the form in which a field takes a time: an integer if it is a plain `long`."""
    kind = next(field["type"] for field in schema["fields"] if field["name"] == name)
    branches = kind if isinstance(kind, list) else [kind]
    return (lambda time: time) if "long" in branches else iso_time
