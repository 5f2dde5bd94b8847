"""CSV files as rows: a header with field names, then one record per line, typed by a schema."""

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from stream_app.errors import InputError
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
    reader = csv.reader((line.decode() for line in lines), strict=True)
    header = _read_header(reader, lines.name, key)
    converters = _converters(schema)
    return _rows(reader, {name: converters.get(name, str) for name in header}, key)


def _rows(reader: Any, columns: Mapping[str, Converter], key: str) -> Iterator[Row | BadLine]:
    # The type of `csv.reader` has no public name.
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield BadLine(number, f"not CSV: {error}")
            continue
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
