"""Avro object container files: a schema, then blocks of records."""

import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from typing import Any
from uuid import UUID

import fastavro

from stream_app.errors import InputError
from stream_app.transfer.json_lines import BadLine, InputLines, Row, keyed


def avro_rows(lines: InputLines, key: str) -> Iterator[Row | BadLine]:
    """The records of a container file as JSON, numbered from 1; `InputError` if it is none, or is damaged."""
    try:
        for number, fields in enumerate(fastavro.reader(lines.stream), start=1):
            yield _row(number, fields, key)
            _note_position(lines)
        _note_position(lines)
    except Exception as error:  # whatever a damaged file makes of fastavro and the codecs
        problem = f"{lines.name} is not a whole Avro container file: {type(error).__name__}"
        raise InputError(problem, "Write it again, or give its real --format") from None


def _note_position(lines: InputLines) -> None:
    """Tell how far the file was read, which is by blocks; a pipe has no position."""
    if lines.size is not None:
        lines.position = lines.stream.tell()


def _row(number: int, fields: Any, key: str) -> Row | BadLine:
    if not isinstance(fields, dict):
        return BadLine(number, "not an Avro record")
    try:
        return keyed(number, fields, as_json(fields), key)
    except TypeError as error:
        return BadLine(number, str(error))


def as_json(fields: Mapping[str, Any]) -> bytes:
    """A record as a JSON producer writes it: times in ISO 8601, bytes as in Avro's JSON encoding, NaN as it is.

    TypeError for a value that has no JSON.

    >>> as_json({"at": datetime(2025, 3, 3, 9), "raw": b"\\xff"})
    b'{"at": "2025-03-03T09:00:00", "raw": "\\\\u00ff"}'
    """
    return json.dumps(fields, default=_plain).encode()


def _plain(value: object) -> str:
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case bytes():
            return value.decode("latin-1")
        case UUID():
            return str(value)
    raise TypeError(f"a value of type {type(value).__name__} has no JSON")
