"""CSV files as rows: a header with field names, then one record per line, typed by a schema.

A quoted cell may contain line breaks, so a stray quote looks like the start of a cell that contains
all lines up to the next quote. Only the line of that quote is lost: reading resumes after it if the
record is not CSV, or if the lines inside it are records themselves.
"""

import csv
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

from stream_app.errors import InputError
from stream_app.transfer.json_lines import BadLine, InputLines, Row, make_row

Converter = Callable[[str], Any]
"""Converts the text of a cell to a value; text that does not fit the type stays text."""

_REMEDY = "Begin the file with one line of field names, each once"
# Largest record in characters; more than a Kafka record may have.
_MAX_RECORD = 1 << 23
# Lines of a quoted cell, all of them records themselves, after which its quote is a stray one.
_MAX_SWALLOWED = 100


def csv_rows(lines: InputLines, schema: Mapping[str, Any], key: str) -> Iterator[Row | BadLine]:
    """Return the rows of a comma-separated file as JSON records; empty cells are null.

    Args:
        schema: parsed Avro schema, whose fields give the types.
        key: name of the key field.

    Raises:
        InputError: the header has an empty or repeated name, or lacks the key field.
    """
    # The usual limit of a cell is 128 KiB.
    csv.field_size_limit(_MAX_RECORD)
    source = _Source(lines)
    reader = csv.reader(source, strict=True)
    header = _read_header(reader, lines.name, key)
    source.accept()
    converters = _converters(schema)
    source.columns = {name: converters.get(name, str) for name in header}
    return _rows(reader, source, key)


class _Source:
    """Lines of the input, grouped by record, so that a record can be given up line by line.

    Attributes:
        number: number of the first line of the current record.
        columns: converter of each column, empty while the header is read.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.number = 1
        self.columns: dict[str, Converter] = {}
        self._lines = iter(lines)
        self._record: list[str] = []
        self._returned: deque[str] = deque()
        self._size = 0

    def __iter__(self) -> "_Source":
        return self

    def __next__(self) -> str:
        if len(self._record) == _MAX_SWALLOWED and self.swallows_records():
            raise csv.Error("a quote is not closed")
        line = self._returned.popleft() if self._returned else next(self._lines).decode()
        self._size += len(line)
        if self._record and self._size > _MAX_RECORD:
            self._returned.appendleft(line)
            raise csv.Error("a quote is not closed, or the record is too large")
        self._record.append(line)
        return line

    def accept(self) -> None:
        """End the current record."""
        self.number += len(self._record)
        self._record.clear()
        self._size = 0

    def give_up_line(self) -> None:
        """End the current record with its first line; its other lines are read again."""
        self._returned.extendleft(reversed(self._record[1:]))
        del self._record[1:]
        self.accept()

    def swallows_records(self) -> bool:
        """Return True if the record has more than one line, and all but the first are records."""
        return len(self._record) > 1 and all(map(self._is_record, self._record[1:]))

    def _is_record(self, line: str) -> bool:
        """Return True if a line has a cell for each column, and each typed cell has its type."""
        cells = next(csv.reader([line]), [])
        if len(cells) != len(self.columns):
            return False
        typed = [
            convert(cell)
            for convert, cell in zip(self.columns.values(), cells, strict=True)
            if cell and convert is not str
        ]
        return bool(typed) and not any(isinstance(value, str) for value in typed)


def _rows(reader: Iterator[list[str]], source: _Source, key: str) -> Iterator[Row | BadLine]:
    columns = source.columns
    while True:
        number = source.number
        try:
            cells = next(reader, None)
            if source.swallows_records():
                raise csv.Error("a quote is not closed")
        except csv.Error as error:
            source.give_up_line()
            yield BadLine(number, f"not CSV: {error}")
            continue
        source.accept()
        if cells is None:
            return
        if len(cells) == len(columns):
            pairs = zip(columns.items(), cells, strict=True)
            fields = {name: convert(cell) if cell else None for (name, convert), cell in pairs}
            yield make_row(number, fields, orjson.dumps(fields), key)
        elif cells:
            yield BadLine(number, f"{len(cells)} cells, and the header has {len(columns)}")


def _read_header(reader: Iterator[list[str]], name: str, key: str) -> list[str]:
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise InputError(f"The header of {name} is not CSV: {error}", _REMEDY) from None
    if not all(header) or len(set(header)) != len(header):
        raise InputError(f"The header of {name} has an empty or repeated name", _REMEDY)
    if key not in header:
        raise InputError(f"The header of {name} lacks the key field {key}", _REMEDY)
    return header


def _converters(schema: Mapping[str, Any]) -> dict[str, Converter]:
    return {field["name"]: _converter(_types(field["type"])) for field in schema["fields"]}


def _types(avro: Any) -> set[str]:
    """Return the names of a field's possible types."""
    match avro:
        case str():
            return {avro}
        case list():
            return set().union(*map(_types, avro))
        case _:
            return _types(avro["type"])


def _converter(types: set[str]) -> Converter:
    """Return the converter for a field; text stays text if that is a possible type."""
    if "string" in types:
        return str
    if types & {"int", "long"}:
        return _number if types & {"float", "double"} else _integer
    if types & {"float", "double"}:
        return _number
    return _boolean if "boolean" in types else str


def _integer(text: str) -> int | str:
    try:
        value = int(text)
    except ValueError:
        return text
    return value if "_" not in text and -(2**63) <= value < 2**63 else text


def _number(text: str) -> int | float | str:
    value = _integer(text)
    if isinstance(value, int):
        return value
    try:
        number = float(text)
    except ValueError:
        return text
    return number if "_" not in text and math.isfinite(number) else text


def _boolean(text: str) -> bool | str:
    return {"true": True, "false": False}.get(text.lower(), text)
