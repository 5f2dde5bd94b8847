"""Text of the schemas of a guessed pipeline."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from stream_app.starter.column_profiles import Column
from stream_app.starter.pipeline_guess import PipelineGuess
from stream_app.starter.role_guesses import ColumnRole

_AVRO_TYPES = {"boolean": "boolean", "integer": "long", "number": "double", "text": "string"}
KNOWN_AT = "label_known_at"
"""Name of the label's time if the table has none."""


def event_schema(guess: PipelineGuess, key: ColumnRole | None, read: str) -> str:
    """Return the schema of events.

    Args:
        guess: guessed pipeline.
        key: K if it is not the event id.
        read: kind and name of what is read.
    """
    return _schema_text("Event", read, _event_fields(guess, key))


def label_schema(guess: PipelineGuess, key: ColumnRole | None) -> str:
    """Return the schema of labels; arguments as for `event_schema`."""
    return _schema_text("Outcome", "Label of an event.", _label_fields(guess, key))


def _event_fields(guess: PipelineGuess, key: ColumnRole | None) -> Iterator[dict[str, Any]]:
    yield from _identity(guess, key)
    yield _time_field(guess.event_time.column, guess.event_time.reason)
    for role in (*guess.numbers, *guess.words):
        # Numbers with a fraction may come, even if there are none in the sample.
        kind = "double" if role in guess.numbers else _AVRO_TYPES[role.column.type]
        nullable = guess.is_nullable(role.column)
        yield _field(role, kind, nullable=nullable)


def _identity(guess: PipelineGuess, key: ColumnRole | None) -> Iterator[dict[str, Any]]:
    for role in (guess.event_id, *([key] if key else [])):
        yield _field(role, _AVRO_TYPES[role.column.type])


def _label_fields(guess: PipelineGuess, key: ColumnRole | None) -> Iterator[dict[str, Any]]:
    timing = guess.timing
    yield from _identity(guess, key)
    if timing.time is None:
        kind = {"type": "long", "logicalType": "timestamp-millis"}
        doc = "Time of the event + Label.delay." if timing.delay else "When it became known."
        yield {"name": KNOWN_AT, "type": kind, "doc": doc}
    else:
        yield _time_field(timing.time, timing.reason)
    yield {
        "name": guess.label.column.name,
        "type": _AVRO_TYPES[guess.label.column.type],
        "doc": guess.values.reason,
    }


def _field(role: ColumnRole, kind: str, *, nullable: bool = False) -> dict[str, Any]:
    field: dict[str, Any] = {"name": role.column.name, "type": kind}
    if nullable:
        field |= {"type": ["null", kind], "default": None}
    return {**field, "doc": role.reason}


def _time_field(column: Column, reason: str) -> dict[str, Any]:
    kind = {"type": "long", "logicalType": column.time_type}
    return {"name": column.name, "type": kind, "doc": reason}


def _schema_text(name: str, doc: str, fields: Iterable[dict[str, Any]]) -> str:
    """Return a schema with one line for each field."""
    lines = ",\n".join(f"    {json.dumps(field, ensure_ascii=False)}" for field in fields)
    head = f'  "type": "record",\n  "name": "{name}",\n  "doc": {json.dumps(doc)},\n'
    return f'{{\n{head}  "fields": [\n{lines}\n  ]\n}}\n'
