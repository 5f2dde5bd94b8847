"""Text of a cell becomes a value of the declared type, or stays text for the worker to reject."""

from io import BytesIO
from typing import Any

import orjson
import pytest

from stream_app.transfer.csv_files import csv_records, csv_rows
from stream_app.transfer.json_lines import BadLine, InputLines, Row
from stream_app.transfer.text_values import converter

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
SECONDS = {"type": "long", "logicalType": "timestamp-seconds"}
LOCAL = {"type": "long", "logicalType": "local-timestamp-millis"}
RECORD = {"type": "record", "name": "R", "fields": []}


@pytest.mark.parametrize(
    ("avro_type", "values"),
    [
        (
            "boolean",
            {"1": True, "TRUE": True, "Yes": True, "y": True, "t": True, "1.0": True, " true": True}
            | {"0": False, "False": False, "no": False, "N": False, "f": False, "0.0": False}
            | {"2": "2", "maybe": "maybe", "NaN": None},
        ),
        (
            "long",
            {"5": 5, "5.0": 5, "-5.00": -5, " 7 ": 7, "0": 0, "NaN": None, "<NA>": None, " ": None}
            | {"5.5": "5.5", "5.": "5.", "1_000": "1_000", "1e3": "1e3", "five": "five"}
            | {str(2**63): str(2**63)},
        ),
        ("double", {"5": 5.0, "5.5": 5.5, "1e3": 1000.0, "nan": None, "inf": "inf", "x": "x"}),
        (["null", "int", "double"], {"5": 5, "5.5": 5.5}),
        ("string", {"5.0": "5.0", "NaN": "NaN", "true": "true", " a ": " a "}),
        (["null", "string", "long"], {"5": "5"}),
        (MILLIS, {"1760000000000": 1760000000000, "1760000000000.0": 1760000000000}),
        (MILLIS, {"2025-03-03T09:00:00Z": "2025-03-03T09:00:00Z", "NaT": None}),
        (["null", SECONDS], {"1760000000": 1760000000, "1760000000.25": 1760000000.25}),
        (LOCAL, {"2025-03-03 09:00:00": "2025-03-03 09:00:00"}),
        ({"type": "array", "items": "int"}, {"[1, 2]": [1, 2], "[1": "[1"}),
        (["null", RECORD], {'{"a": 1}': {"a": 1}}),
        ({"type": "enum", "name": "E", "symbols": ["a"]}, {"a": "a", "1": "1"}),
    ],
)
def test_text_is_converted_by_the_type(avro_type: Any, values: dict[str, Any]) -> None:
    convert = converter(avro_type)
    found = {text: convert(text) for text in values}
    assert found == values
    assert list(map(type, found.values())) == list(map(type, values.values()))


SCHEMA = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "Order_ID", "type": "long"},
        {"name": "paid", "type": "boolean"},
        {"name": "tip", "type": ["null", "double"], "default": None},
        {"name": "shop", "type": "string", "default": "unknown"},
        {"name": "items", "type": "int"},
    ],
}


def rows(text: str) -> list[Any]:
    lines = InputLines("orders.csv", BytesIO(text.encode()), None)
    return [
        row if isinstance(row, BadLine) else (row.key, orjson.loads(row.value))
        for row in csv_rows(lines, SCHEMA, ("Order_ID",))
        if isinstance(row, Row | BadLine)
    ]


def test_an_empty_cell_is_null_or_the_default() -> None:
    found = rows("Order ID,paid,tip,shop,items,note\n7.0,yes,,,3.0,\n8,0,1.5,x,,hi\n")
    first = {"Order_ID": 7, "paid": True, "tip": None, "items": 3, "note": None}
    second = {"Order_ID": 8, "paid": False, "tip": 1.5, "shop": "x", "items": None, "note": "hi"}
    assert found == [(b"7", first), (b"8", second)]


def test_the_index_of_pandas_is_a_column() -> None:
    assert rows(",Order ID,paid\n0,7,1\n") == [(b"7", {"index": "0", "Order_ID": 7, "paid": True})]


def test_records_without_a_schema_are_text() -> None:
    lines = InputLines("orders.csv", BytesIO(b",Order ID,tip\n0,7.0,\nbad\n1,8,x\n"), None)
    assert list(csv_records(lines)) == [
        {"index": "0", "Order_ID": "7.0", "tip": None},
        {"index": "1", "Order_ID": "8", "tip": "x"},
    ]
