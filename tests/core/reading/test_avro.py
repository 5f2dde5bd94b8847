"""Binary Avro: agreement with another library, rejection of invalid bytes, and framing."""

import time
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.reading.avro_reader import compile_reader
from stream_app.core.reading.avro_writer import compile_writer
from stream_app.core.reading.decoding import (
    AvroFrame,
    Schemas,
    add_frame,
    decode,
    find_frame,
    schema_ids,
)
from stream_app.core.reading.validator import compile_validator
from stream_app.headers import VALUE_SCHEMA_ID
from stream_app.records import Failure
from stream_app.schema_registry.registry import bundled_schema
from tests.avro_samples import encode
from tests.small_pipeline import record

GUID = UUID("89791762-2336-4186-9674-299b90a802e2")
EVERYTHING = {
    "type": "record",
    "name": "Everything",
    "namespace": "a.b",
    "fields": [
        {"name": "nothing", "type": "null"},
        {"name": "flag", "type": "boolean"},
        {"name": "small", "type": "int"},
        {"name": "big", "type": "long"},
        {"name": "single", "type": "float"},
        {"name": "number", "type": "double"},
        {"name": "text", "type": "string"},
        {"name": "raw", "type": "bytes"},
        {
            "name": "price",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        },
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 3}},
        {"name": "colour", "type": {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}},
        {"name": "many", "type": {"type": "array", "items": "Colour"}},
        {"name": "named", "type": {"type": "map", "values": ["null", "long", "a.b.Hash"]}},
        {
            "name": "either",
            "type": ["null", "string", "double", {"type": "array", "items": "long"}],
        },
        {"name": "next", "type": ["null", "Everything"]},
    ],
}
LONGS = st.integers(-(2**63), 2**63 - 1)
COLOURS = st.sampled_from(["RED", "BLUE"])
FIELDS = st.fixed_dictionaries(
    {
        "nothing": st.none(),
        "flag": st.booleans(),
        "small": st.integers(-(2**31), 2**31 - 1),
        "big": LONGS,
        "single": st.floats(width=32, allow_nan=False),
        "number": st.floats(allow_nan=False),
        "text": st.text(),
        "raw": st.binary(),
        "price": st.binary(),
        "id": st.uuids().map(str),
        "day": st.integers(-(2**31), 2**31 - 1),
        "hash": st.binary(min_size=3, max_size=3),
        "colour": COLOURS,
        "many": st.lists(COLOURS),
        "named": st.dictionaries(st.text(), st.none() | LONGS | st.binary(min_size=3, max_size=3)),
        "either": st.none() | st.text() | st.floats(allow_nan=False) | st.lists(LONGS),
        "next": st.none(),
    }
)
RECORDS = st.recursive(
    FIELDS, lambda inner: st.builds(lambda a, b: {**a, "next": b}, FIELDS, inner), max_leaves=4
)


def without_logical_types(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            name: without_logical_types(part)
            for name, part in schema.items()
            if name != "logicalType"
        }
    return [without_logical_types(part) for part in schema] if isinstance(schema, list) else schema


def one(kind: Any) -> dict[str, Any]:
    """Return a record schema with one field."""
    return {"type": "record", "name": "One", "fields": [{"name": "f", "type": kind}]}


READ_EVERYTHING = compile_reader(EVERYTHING)
PLAIN = without_logical_types(EVERYTHING)


@given(RECORDS)
def test_records_written_by_another_library_are_read(fields: dict[str, Any]) -> None:
    assert READ_EVERYTHING(encode(PLAIN, fields), 0) == fields


@given(RECORDS, st.integers(0, 300))
def test_a_truncated_record_and_one_with_extra_bytes_fail(
    fields: dict[str, Any], size: int
) -> None:
    whole = encode(PLAIN, fields)
    for value in (whole[: min(size, len(whole) - 1)], whole + b"\0"):
        failure = READ_EVERYTHING(value, 0)
        assert isinstance(failure, Failure)
        assert failure.code == "invalid-avro"


@given(RECORDS, st.integers(0, 300), st.binary(min_size=1, max_size=12))
def test_reading_damaged_bytes_never_raises(
    fields: dict[str, Any], place: int, damage: bytes
) -> None:
    whole = encode(PLAIN, fields)
    for value in (
        whole[:place] + damage + whole[place:],
        whole[:place] + damage + whole[place + len(damage) :],
    ):
        assert isinstance(READ_EVERYTHING(value, 0), dict | Failure)


TYPES = st.recursive(
    st.sampled_from(
        ["null", "boolean", "int", "long", "float", "double", "bytes", "string", "One"]
    ),
    lambda inner: (
        st.fixed_dictionaries({"type": st.just("array"), "items": inner})
        | st.fixed_dictionaries({"type": st.just("map"), "values": inner})
        | st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=5,
)


@given(TYPES, st.binary(max_size=64), st.booleans())
def test_reading_any_bytes_with_any_schema_neither_raises_nor_hangs(
    kind: Any, value: bytes, varints: bool
) -> None:
    try:
        read = compile_reader(one(kind))
    except ValueError:
        return
    started = time.process_time()
    assert isinstance(
        read(b"\xfe\xff\xff\xff\x0f" + value if varints else value, 0), dict | Failure
    )
    assert time.process_time() - started < 1.0


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["record", "array", "long", "R"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "name",
                    "fields",
                    "items",
                    "values",
                    "symbols",
                    "size",
                    "namespace",
                    "logicalType",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.lists(JSON, max_size=3), st.binary(max_size=20))
def test_compiling_any_json_gives_a_reader_or_a_value_error(
    kind: Any, more: list[Any], value: bytes
) -> None:
    for schema in (kind, one(kind), {"type": "record", "name": "R", "fields": more}):
        try:
            read = compile_reader(schema)
        except ValueError:
            continue
        assert isinstance(read(value, 0), dict | Failure)


LONG = b"\xfe\xff\xff\xff\x0f"  # 2,147,483,647


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("string", LONG + b"abc", "a length is negative or exceeds the value"),
        ("bytes", b"\x01abc", "a length is negative or exceeds the value"),
        ("string", b"\x04\xc3\x28", "a string is not UTF-8"),
        ("long", b"\xff" * 9, "the value ends inside the record"),
        ("long", b"\xff" * 9 + b"\x02", "an integer has more than 64 bits"),
        ("long", b"\xff" * 1000, "an integer has more than 64 bits"),
        ("int", b"\xfe\xff\xff\xff\x1f", "an int has more than 32 bits"),
        ("boolean", b"\x02", "a boolean is neither 0 nor 1"),
        ("double", b"\0" * 7, "the value ends inside the record"),
        (["null", "string"], b"\x01", "a union has no such branch"),
        (["null", "string"], b"\x04", "a union has no such branch"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, b"\x01", "an enum has no such symbol"),
        ({"type": "fixed", "name": "F", "size": 2**31}, b"abc", "the value ends inside the record"),
        ({"type": "array", "items": "string"}, LONG, "a block has more items than there are bytes"),
        (
            {"type": "array", "items": "long"},
            b"\xff" * 9 + b"\x01\0",
            "a block has more items than there are bytes",
        ),
        (
            {"type": "map", "values": "null"},
            b"\x03\x00\x00",
            "a block has more items than there are bytes",
        ),
        (
            {"type": "array", "items": "int"},
            b"\x01\x01",
            "a length is negative or exceeds the value",
        ),
        (["null", "One"], b"\x02" * 1_000_000, "the record is nested too deeply"),
        ("One", b"", "the record is nested too deeply"),
    ],
)
def test_lengths_that_exceed_the_bytes_are_rejected_immediately(
    kind: Any, value: bytes, message: str
) -> None:
    started = time.process_time()
    assert compile_reader(one(kind))(value, 0) == Failure("invalid-avro", message)
    assert time.process_time() - started < 1.0


def test_blocks_with_a_length_in_bytes_are_read() -> None:
    read = compile_reader(one({"type": "array", "items": "long"}))
    assert read(b"\x03\x04\x02\x04\x02\x06\0", 0) == {"f": [1, 2, 3]}


@pytest.mark.parametrize(
    "schema",
    [
        "string",
        [],
        None,
        {"type": "string"},
        {"type": "record"},
        {"type": "record", "name": "R"},
        one("Unknown"),
        one({"type": "array", "items": "null"}),
        one({"type": "fixed", "name": "F", "size": -1}),
        one({"type": "record", "name": "One", "fields": []}),
        {"type": "record", "name": "R", "fields": [{"name": []}]},
        {"type": "record", "name": "R", "fields": [{"name": 1, "type": "int"}]},
    ],
)
def test_an_invalid_record_schema_is_rejected(schema: Any) -> None:
    with pytest.raises(
        ValueError, match=r"it is not|is not known|take no bytes|size of a fixed|twice|is not text"
    ):
        compile_reader(schema)


def test_a_named_type_can_refer_to_itself_and_be_used_again() -> None:
    node = {
        "type": "record",
        "name": "Node",
        "fields": [{"name": "next", "type": ["null", "Node"]}],
    }
    schema = {
        "type": "record",
        "name": "R",
        "namespace": "n",
        "fields": [
            {"name": "a", "type": node},
            {"name": "b", "type": "n.Node"},
            {"name": "c", "type": {"type": "Node"}},
        ],
    }
    assert compile_reader(schema)(b"\x02\x00\x00\x00", 0) == {
        "a": {"next": {"next": None}},
        "b": {"next": None},
        "c": {"next": None},
    }


# --- Schema resolution ---


def resolved(writer: Any, reader: Any, value: Any) -> Any:
    """Return a value written with one type and read with another, or the failure code."""
    fields = compile_reader(one(writer))(
        encode(without_logical_types(one(writer)), {"f": value}), 0
    )
    assert isinstance(fields, dict)
    result = compile_validator(one(reader))(fields)
    return result.code if isinstance(result, Failure) else result["f"]


def timestamp(unit: str) -> dict[str, str]:
    return {"type": "long", "logicalType": f"timestamp-{unit}"}


@pytest.mark.parametrize(
    "writer", [timestamp("millis"), timestamp("micros"), timestamp("nanos"), "long"]
)
def test_a_timestamp_is_the_same_in_all_units_of_writer_and_reader(writer: Any) -> None:
    per_millisecond = {"timestamp-micros": 1000, "timestamp-nanos": 1_000_000}.get(
        writer["logicalType"] if isinstance(writer, dict) else "", 1
    )
    written = 1_700_000_000_123 * per_millisecond
    assert resolved(writer, timestamp("millis"), written) == 1_700_000_000_123
    assert resolved(["null", writer], ["null", timestamp("millis")], written) == 1_700_000_000_123
    if isinstance(writer, dict):
        assert resolved(writer, timestamp("micros"), written) == 1_700_000_000_123
    assert resolved(writer, "long", written) == written
    assert type(resolved(writer, "long", written)) is int
    assert resolved(writer, "double", written) == float(written)
    assert resolved(writer, "string", written) == "wrong-type"


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}
WHOLE = {**DECIMAL, "scale": 0}
FIXED = {**DECIMAL, "type": "fixed", "name": "Money", "size": 9}


def decimal_as(writer: Any, reader: Any, value: Decimal) -> Any:
    """Return a decimal read with another type, or the failure code."""
    fields = compile_reader(one(writer))(encode(one(writer), {"f": value}), 0)
    assert isinstance(fields, dict)
    result = compile_validator(one(reader))(fields)
    return result.code if isinstance(result, Failure) else result["f"]


@pytest.mark.parametrize("writer", [DECIMAL, FIXED, ["null", DECIMAL], ["null", FIXED]])
@pytest.mark.parametrize(
    ("value", "number", "whole", "text"),
    [
        ("-12.50", -12.5, "wrong-type", "-12.50"),
        ("0.05", 0.05, "wrong-type", "0.05"),
        ("0", 0.0, 0, "0.00"),
        ("-7.00", -7.0, -7, "-7.00"),
        ("123456789012345678.91", 123456789012345678.91, "wrong-type", "123456789012345678.91"),
    ],
)
def test_a_decimal_is_a_number_or_its_digits(
    writer: Any, value: str, number: float, whole: Any, text: str
) -> None:
    written = Decimal(value)
    assert decimal_as(writer, "double", written) == number
    assert decimal_as(writer, ["null", "double"], written) == number
    assert decimal_as(writer, "long", written) == whole
    assert decimal_as(writer, "string", written) == text
    assert decimal_as(writer, "boolean", written) == "wrong-type"
    assert decimal_as(writer, timestamp("millis"), written) == "wrong-type"
    for found in (decimal_as(writer, name, written) for name in ("double", "long", "string")):
        assert type(found) in (float, int, str)


def test_a_whole_decimal_is_an_id() -> None:
    assert decimal_as(WHOLE, "long", Decimal(2**62)) == 2**62
    assert decimal_as(WHOLE, "string", Decimal(2**62)) == str(2**62)
    assert decimal_as(WHOLE, "int", Decimal(2**31)) == "wrong-type"


def test_a_decimal_is_its_bytes_where_they_are_wanted() -> None:
    assert decimal_as(DECIMAL, "bytes", Decimal("-12.50")) == "\xfb\x1e"
    assert decimal_as(DECIMAL, DECIMAL, Decimal("-12.50")) == "\xfb\x1e"
    assert decimal_as(FIXED, FIXED, Decimal("1.00")) == "\0" * 8 + "d"


@pytest.mark.parametrize("scale", [-1, 301, "2", None, True, 10**9])
def test_a_decimal_with_another_scale_is_bytes(scale: Any) -> None:
    read = compile_reader(one({**DECIMAL, "scale": scale}))
    fields = read(b"\x02\x07", 0)
    assert isinstance(fields, dict)
    assert type(fields["f"]) is bytes
    assert fields == {"f": b"\x07"}


def test_a_huge_decimal_is_bytes() -> None:
    read, validate = compile_reader(one(DECIMAL)), compile_validator(one("double"))
    largest = b"\x7f" + b"\xff" * 127
    fields = read(b"\x80\x02" + largest, 0)
    assert isinstance(fields, dict)
    assert validate(fields) == {"f": (2**1023 - 1) / 100}
    fields = read(b"\x82\x02" + b"\x7f" + largest, 0)
    assert isinstance(fields, dict)
    assert type(fields["f"]) is bytes
    assert isinstance(validate(fields), Failure)


@pytest.mark.parametrize(
    ("writer", "reader", "value", "result"),
    [
        ("int", "double", 3, 3.0),
        ("float", "double", 0.5, 0.5),
        ("long", "int", 2**40, "wrong-type"),
        ("double", "long", 3.0, "wrong-type"),
        ("double", "double", float("nan"), "not-finite"),
        ("double", ["null", "string", "double"], float("inf"), "not-finite"),
        ("float", "double", float("-inf"), "not-finite"),
        ("bytes", "bytes", b"\xe9\x00", "é\0"),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 4},
            "bytes",
            b"\x01\xff",
            "\x01ÿ",
        ),
        (
            {"type": "fixed", "name": "F", "size": 2},
            {"type": "fixed", "name": "G", "size": 2},
            b"ab",
            "ab",
        ),
        (
            {"type": "fixed", "name": "F", "size": 2},
            {"type": "fixed", "name": "G", "size": 3},
            b"ab",
            "wrong-type",
        ),
        ("bytes", "string", "é".encode(), "é"),
        ("bytes", "string", b"\xff", "wrong-type"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, "string", "A", "A"),
        ({"type": "string", "logicalType": "uuid"}, "string", str(GUID), str(GUID)),
        (["null", "string"], "string", None, "wrong-type"),
        ("string", ["null", "string"], "x", "x"),
    ],
)
def test_values_are_converted_to_the_types_of_the_reader(
    writer: Any, reader: Any, value: Any, result: Any
) -> None:
    assert resolved(writer, reader, value) == result


@given(RECORDS)
def test_validated_records_can_be_written_and_read(fields: dict[str, Any]) -> None:
    validate = compile_validator(EVERYTHING)
    valid = validate(fields)
    if isinstance(valid, Failure):
        assert valid.code == "not-finite"
        return
    value = compile_writer(EVERYTHING, 7)(valid)
    again = READ_EVERYTHING(value, 5)
    assert isinstance(again, dict)
    assert validate(again) == valid


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("bytes", "é\0"),
        (["null", "bytes"], None),
        (["null", "bytes", "string"], "€"),
        (["bytes", "long", "boolean"], True),
        (timestamp("micros"), 1_700_000_000_123),
        (["null", timestamp("micros"), "string"], 1_700_000_000_123),
        (timestamp("millis"), 1_700_000_000_123),
        ({"type": "array", "items": {"type": "map", "values": "bytes"}}, [{"a": "ÿ"}]),
        ({"type": {"type": "fixed", "name": "F", "size": 2}}, "ÿa"),
    ],
)
def test_written_values_are_read_unchanged(kind: Any, value: Any) -> None:
    fields = compile_reader(one(kind))(compile_writer(one(kind), 7)({"f": value}), 5)
    assert isinstance(fields, dict)
    assert compile_validator(one(kind))(fields) == {"f": value}


def test_the_bundled_schemas_can_be_compiled() -> None:
    names: tuple[Literal["scored", "monitoring"], ...] = ("scored", "monitoring")
    for name in names:
        compile_reader(bundled_schema(name))
        compile_writer(bundled_schema(name), 1)


# --- Framing ---


@pytest.mark.parametrize(
    ("value", "headers", "frame"),
    [
        (b"\0\0\0\1\0abc", [], AvroFrame(256, 5)),
        (b"\0\0\0\0\7", [], AvroFrame(7, 5)),
        (b"abc", [(VALUE_SCHEMA_ID, b"\0\0\0\0\7")], AvroFrame(7, 0)),
        (
            b"\0\0\0\0\1",
            [("other", b""), (VALUE_SCHEMA_ID, b"\1" + GUID.bytes)],
            AvroFrame(GUID, 0),
        ),
        (b"{}", [("__key_schema_id", b"\0\0\0\0\7")], None),
        (b"{}", [], None),
        (b"\1" + GUID.bytes, [], None),
    ],
)
def test_the_schema_id_is_found_in_the_value_or_a_header(
    value: bytes, headers: Any, frame: AvroFrame | None
) -> None:
    assert find_frame(value, headers) == frame


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (b"\0", []),
        (b"\0\0\0\7", []),
        (b"\0\xff\xff\xff\xff", []),
        (b"{}", [(VALUE_SCHEMA_ID, b"")]),
        (b"{}", [(VALUE_SCHEMA_ID, None)]),
        (b"{}", [(VALUE_SCHEMA_ID, b"7")]),
        (b"{}", [(VALUE_SCHEMA_ID, b"\1\0\0\0\7")]),
        (b"{}", [(VALUE_SCHEMA_ID, b"\2" + GUID.bytes)]),
    ],
)
def test_an_invalid_schema_id_is_a_failure(value: bytes, headers: Any) -> None:
    failure = find_frame(value, headers)
    assert isinstance(failure, Failure)
    assert failure.code == "invalid-avro"


def test_schema_ids_are_collected_from_mixed_records() -> None:
    values = [b"{}", b"\0\0\0\0\7x", None, b"", b"\0", add_frame(b"x", 9), b"\0\0\0\0\7y"]
    in_header = record(b"x", headers=[(VALUE_SCHEMA_ID, b"\1" + GUID.bytes)])
    assert list(schema_ids([*map(record, values), in_header])) == [7, 9, GUID]


def test_a_value_is_decoded_with_the_schema_of_its_id() -> None:
    schemas: Schemas = {7: compile_reader(one("long")), 8: Failure("unknown-schema", "none")}
    assert decode(b"\0\0\0\0\7\x54", (), schemas) == {"f": 42}
    assert decode(b"\x54", [(VALUE_SCHEMA_ID, b"\0\0\0\0\7")], schemas) == {"f": 42}
    assert decode(b"\0\0\0\0\10\x54", (), schemas) == schemas[8]
    assert decode(b'{"f": 42}', [("traceparent", b"00")], schemas) == {"f": 42}


@given(
    st.binary(),
    st.lists(
        st.tuples(st.sampled_from([VALUE_SCHEMA_ID, "h"]), st.none() | st.binary()), max_size=2
    ),
)
def test_decoding_any_value_with_any_headers_never_raises(value: bytes, headers: Any) -> None:
    schemas: Schemas = dict.fromkeys(range(256), READ_EVERYTHING)
    assert isinstance(decode(value, headers, schemas), dict | Failure)
