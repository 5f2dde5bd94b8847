"""CSV files as rows: a header with field names, then one record per line, typed by a schema."""

import csv
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import orjson

from stream_app.core.reading.identity import FieldNames
from stream_app.errors import InputError
from stream_app.records import Fields
from stream_app.transfer.csv_records import CsvRecords
from stream_app.transfer.json_lines import BadLine, InputLines, Row, make_row
from stream_app.transfer.text_values import UNDECLARED, TextField, is_typed, text_fields

_REMEDY = "Begin the file with one line of field names, each once"


def csv_rows(
    lines: InputLines, schema: Mapping[str, Any], key: FieldNames
) -> Iterator[Row | BadLine]:
    """Return the rows of a comma-separated file as JSON records, typed by a schema.

    A column whose name is none of Avro, such as "Order ID", is the field Order_ID.

    Args:
        schema: parsed Avro schema, whose fields give the types.
        key: names of the fields of the key.

    Raises:
        InputError: the header has an empty or repeated name, or lacks a field of the key.
    """
    records, fields = _open(lines), text_fields(schema)
    records.header[:] = [
        avro_name(name) if avro_name(name) in fields else name for name in records.header
    ]
    _check_header(records.header, lines.name)
    for one in key:
        if one not in records.header:
            raise InputError(f"The header of {lines.name} lacks the key field {one}", _REMEDY)
    return _rows(records, {name: fields.get(name, UNDECLARED) for name in records.header}, key)


def csv_records(lines: InputLines) -> Iterator[Fields]:
    """Yield the records of a comma-separated file as text by name of Avro; empty cells are null.

    Raises:
        InputError: the header has an empty or repeated name.
    """
    records = _open(lines)
    names = [avro_name(name) for name in records.header]
    _check_header(names, lines.name)
    for cells in records.read(lambda cells: len(cells) == len(names)):
        if not isinstance(cells, BadLine):
            yield {name: cell or None for name, cell in zip(names, cells, strict=True)}


def _open(lines: InputLines) -> CsvRecords:
    try:
        records = CsvRecords(lines)
    except csv.Error as error:
        raise InputError(f"The header of {lines.name} is not CSV: {error}", _REMEDY) from None
    # pandas writes its index as a first column without a name.
    records.header[:1] = [name or "index" for name in records.header[:1]]
    return records


def _rows(
    records: CsvRecords, columns: Mapping[str, TextField], key: FieldNames
) -> Iterator[Row | BadLine]:
    for cells in records.read(partial(_is_record, columns)):
        if isinstance(cells, BadLine):
            yield cells
            continue
        fields = {
            name: convert(cell) if cell else None
            for (name, (convert, has_default)), cell in zip(columns.items(), cells, strict=True)
            if cell or not has_default
        }
        yield make_row(records.number, fields, orjson.dumps(fields), key)


def _is_record(columns: Mapping[str, TextField], cells: list[str]) -> bool:
    """Return True if there is a cell for each column, and each typed cell has its type."""
    if len(cells) != len(columns):
        return False
    typed = [
        column.convert(cell)
        for column, cell in zip(columns.values(), cells, strict=True)
        if cell and column.convert is not str
    ]
    return bool(typed) and all(map(is_typed, typed))


def is_avro_name(name: str) -> bool:
    """Return True if a name can be that of a field."""
    return re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) is not None


def avro_name(column: str) -> str:
    """Return the name of a column as a name of Avro.

    >>> avro_name("Order ID"), avro_name("2nd price"), avro_name("amount")
    ('Order_ID', '_2nd_price', 'amount')
    """
    name = re.sub(r"[^A-Za-z0-9_]", "_", column)
    return f"_{name}" if name[:1].isdigit() else name


def _check_header(header: list[str], name: str) -> None:
    if not all(header) or len(set(header)) != len(header):
        raise InputError(f"The header of {name} has an empty or repeated name", _REMEDY)
