"""CSV files as rows: a header with field names, then one record per line, typed by a schema."""

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import orjson

from stream_app.errors import InputError
from stream_app.transfer.csv_records import CsvRecords
from stream_app.transfer.json_lines import BadLine, InputLines, Row, make_row

Converter = Callable[[str], Any]
"""Converts the text of a cell to a value; text that does not fit the type stays text."""

_REMEDY = "Begin the file with one line of field names, each once"


def csv_rows(lines: InputLines, schema: Mapping[str, Any], key: str) -> Iterator[Row | BadLine]:
    """Return the rows of a comma-separated file as JSON records; empty cells are null.

    Args:
        schema: parsed Avro schema, whose fields give the types.
        key: name of the key field.

    Raises:
        InputError: the header has an empty or repeated name, or lacks the key field.
    """
    try:
        records = CsvRecords(lines)
    except csv.Error as error:
        raise InputError(f"The header of {lines.name} is not CSV: {error}", _REMEDY) from None
    _check_header(records.header, lines.name, key)
    converters = _converters(schema)
    return _rows(records, {name: converters.get(name, str) for name in records.header}, key)


def _rows(
    records: CsvRecords, columns: Mapping[str, Converter], key: str
) -> Iterator[Row | BadLine]:
    for cells in records.read(partial(_is_record, columns)):
        if isinstance(cells, BadLine):
            yield cells
            continue
        pairs = zip(columns.items(), cells, strict=True)
        fields = {name: convert(cell) if cell else None for (name, convert), cell in pairs}
        yield make_row(records.number, fields, orjson.dumps(fields), key)


def _is_record(columns: Mapping[str, Converter], cells: list[str]) -> bool:
    """Return True if there is a cell for each column, and each typed cell has its type."""
    if len(cells) != len(columns):
        return False
    typed = [
        convert(cell)
        for convert, cell in zip(columns.values(), cells, strict=True)
        if cell and convert is not str
    ]
    return bool(typed) and not any(isinstance(value, str) for value in typed)


def _check_header(header: list[str], name: str, key: str) -> None:
    if not all(header) or len(set(header)) != len(header):
        raise InputError(f"The header of {name} has an empty or repeated name", _REMEDY)
    if key not in header:
        raise InputError(f"The header of {name} lacks the key field {key}", _REMEDY)


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
