"""Rows of an input file of any format; Avro container files are read here."""

import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Literal
from uuid import UUID

import fastavro

from stream_app.core.reading.identity import FieldNames, key_fields
from stream_app.errors import InputError
from stream_app.pipeline import Pipeline, parsed
from stream_app.records import Fields
from stream_app.transfer.csv_files import csv_records, csv_rows
from stream_app.transfer.json_lines import (
    BadLine,
    InputLines,
    Row,
    json_records,
    json_rows,
    make_row,
    open_lines,
)
from stream_app.transfer.table_rows import has_labels, table_rows

Format = Literal["json", "csv", "avro"]

_FORMATS: dict[str, Format] = {
    ".avro": "avro", ".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json",
}  # fmt: skip

# Files that pandas converts.
_TABLES = frozenset({".parquet", ".feather", ".xlsx"})


def infer_format(path: str) -> Format:
    """Return the format of a file by its suffix; JSON lines for `-`, which is standard input.

    Raises:
        InputError: the suffix is unknown.
    """
    suffix = PurePath(path).suffix.lower()
    if path != "-" and suffix not in _FORMATS:
        raise InputError(
            f"The suffix of {path} is unknown",
            "Convert it, in pandas with read_parquet(...).to_csv(...)"
            if suffix in _TABLES
            else "Add --format json, csv or avro",
        )
    return _FORMATS.get(suffix, "json")


def read_rows(
    lines: InputLines, file_format: Format, pipeline: Pipeline, *, labels: bool
) -> Iterator[Row | BadLine]:
    """Return the events of an input file, or its labels, each with its key.

    Args:
        pipeline: loaded pipeline, which declares key and schemas.
        labels: True for a file of labels.

    Raises:
        InputError: the file is damaged, or its header cannot be used.
    """
    key = key_fields(pipeline)
    match file_format:
        case "json":
            rows = json_rows(lines, key)
        case "csv":
            rows = csv_rows(lines, _columns(pipeline, labels=labels), key)
        case "avro":
            rows = avro_rows(lines, key)
    return table_rows(rows, pipeline, lines, labels=labels)


def _columns(pipeline: Pipeline, *, labels: bool) -> dict[str, Any]:
    """Return a schema with the fields of events and of labels, as a table may have both."""
    own, other = parsed(pipeline.schema), parsed(pipeline.label.schema)
    if labels:
        own, other = other, own
    fields = {field["name"]: field for field in (*other["fields"], *own["fields"])}
    return {**own, "fields": list(fields.values())}


def read_records(lines: InputLines, file_format: Format) -> Iterator[Fields]:
    """Yield the records of an input file without a pipeline; cells of CSV are text or null.

    Lines that are not records are left out.

    Raises:
        InputError: the file is damaged, or its header cannot be used.
    """
    match file_format:
        case "json":
            return json_records(lines)
        case "csv":
            return csv_records(lines)
        case "avro":
            return (fields for _, fields in _container(lines) if isinstance(fields, dict))


def is_table(path: str, file_format: Format | None, pipeline: Pipeline) -> bool:
    """Return True if a file has both the events and their labels; standard input is none.

    Raises:
        InputError: the file cannot be read.
    """
    if path == "-":
        return False
    with open_lines(path) as lines:
        return has_labels(read_records(lines, file_format or infer_format(path)), pipeline)


def avro_rows(lines: InputLines, key: FieldNames) -> Iterator[Row | BadLine]:
    """Yield the records of an Avro container file as JSON, numbered from 1.

    Raises:
        InputError: the file is not an Avro container file, or is damaged.
    """
    return (_avro_row(number, fields, key) for number, fields in _container(lines))


def _container(lines: InputLines) -> Iterator[tuple[int, Any]]:
    """Yield the records of an Avro container file, numbered from 1."""
    try:
        for number, fields in enumerate(fastavro.reader(lines.stream), start=1):
            yield number, fields
            _update_position(lines)
        _update_position(lines)
    # A damaged file makes fastavro and the codecs raise almost anything.
    except Exception as error:
        raise InputError(
            f"{lines.name} is not a whole Avro container file: {type(error).__name__}",
            "Write it again, or give its real --format",
        ) from None


def _update_position(lines: InputLines) -> None:
    """Set the position, which advances by blocks; a pipe has none."""
    if lines.size is not None:
        lines.position = lines.stream.tell()


def _avro_row(number: int, fields: Any, key: FieldNames) -> Row | BadLine:
    if not isinstance(fields, dict):
        return BadLine(number, "not an Avro record")
    try:
        return make_row(number, fields, avro_to_json(fields), key)
    except TypeError as error:
        return BadLine(number, str(error))


def avro_to_json(fields: Mapping[str, Any]) -> bytes:
    """Return a record as JSON: times in ISO 8601, bytes as in Avro's JSON encoding, NaN unchanged.

    Decimals are numbers.

    Raises:
        TypeError: a value has no JSON representation.

    >>> avro_to_json({"at": datetime(2025, 3, 3, 9), "raw": b"\\xff"})
    b'{"at": "2025-03-03T09:00:00", "raw": "\\\\u00ff"}'
    """
    return json.dumps(fields, default=_plain).encode()


def _plain(value: object) -> str | int | float:
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime() | date() | time():
            return value.isoformat()
        case bytes():
            return value.decode("latin-1")
        case UUID():
            return str(value)
    raise TypeError(f"a value of type {type(value).__name__} has no JSON")
