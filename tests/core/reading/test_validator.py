"""Validation against Avro schemas: types, defaults, aliases, and failure messages."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.reading import validator as compiler
from stream_app.core.reading.validator import Validator, compile_validator
from stream_app.records import Failure, Fields
from tests.core.reading.test_decoding import JSON

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
COLOUR = {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}
POINT = {"type": "record", "name": "Point", "fields": [{"name": "x", "type": "double"}]}
TREE = {
    "type": "record",
    "name": "Tree",
    "namespace": "forest",
    "fields": [{"name": "children", "type": {"type": "array", "items": "Tree"}, "default": []}],
}


def record(avro_type: Any, **field: Any) -> dict[str, Any]:
    """Return a record schema with the single field `f`."""
    return {"type": "record", "name": "R", "fields": [{"name": "f", "type": avro_type, **field}]}


@pytest.mark.parametrize(
    ("avro_type", "value", "expected"),
    [
        ("null", None, None),
        ("boolean", False, False),
        ("int", 2**31 - 1, 2**31 - 1),
        ("int", -(2**31), -(2**31)),
        ("long", 2**63 - 1, 2**63 - 1),
        ("double", 1, 1.0),
        ("double", -1.5, -1.5),
        ("float", 3.4e38, 3.4e38),
        ("string", "é", "é"),
        ("bytes", "\x00ÿ", "\x00ÿ"),
        ("bytes", "", ""),
        ({"type": "fixed", "name": "Two", "size": 2}, "ab", "ab"),
        (COLOUR, "RED", "RED"),
        ({"type": "array", "items": "double"}, [1, 2.5], [1.0, 2.5]),
        ({"type": "map", "values": "int"}, {"a": 1}, {"a": 1}),
        (POINT, {"x": 1, "y": 2}, {"x": 1.0}),
        (["null", "double"], None, None),
        (["null", "double"], 1, 1.0),
        (["string", "null"], "a", "a"),
        (["null", "string", "long"], 5, 5),
        (["double", "long"], 5, 5.0),
        ({"type": "string", "logicalType": "uuid"}, "not checked", "not checked"),
        ({"type": {"type": "string"}}, "a", "a"),
        (MILLIS, 1357035300000, 1357035300000),
        (MILLIS, "2013-01-01T05:15:00-05:00", 1357035300000),
        (MILLIS, "2013-01-01T10:15Z", 1357035300000),
        (MILLIS, "1969-12-31T23:59:59.9999+00:00", -1),
        (MICROS, 1357035300000999, 1357035300000),
        (MICROS, "2013-01-01T10:15Z", 1357035300000),
        (["null", MILLIS], None, None),
    ],
)
def test_a_valid_value_is_converted_to_the_type_of_the_schema(
    avro_type: Any, value: Any, expected: Any
) -> None:
    result = compile_validator(record(avro_type))({"f": value})
    assert result == {"f": expected}
    assert isinstance(result, dict)
    assert type(result["f"]) is type(expected)


@pytest.mark.parametrize(
    ("avro_type", "value", "message"),
    [
        ("null", 0, "field f: expected null, got integer"),
        ("boolean", 1, "field f: expected boolean, got integer"),
        ("int", True, "field f: expected int, got boolean"),
        ("int", 2**31, "field f: expected int, got integer out of range"),
        ("int", 1.0, "field f: expected int, got number"),
        ("long", -(2**63) - 1, "field f: expected long, got integer out of range"),
        ("double", True, "field f: expected double, got boolean"),
        ("double", "1", "field f: expected double, got string"),
        ("double", 10**400, "field f: expected double, got number out of range"),
        ("float", 1e39, "field f: expected float, got number out of range"),
        ("string", None, "field f: expected string, got null"),
        ("bytes", "€", "field f: expected bytes, got string that does not fit"),
        (
            {"type": "fixed", "name": "Two", "size": 2},
            "a",
            "field f: expected fixed of 2 bytes, got string that does not fit",
        ),
        (COLOUR, "GREEN", "field f: expected enum Colour, got string that does not fit"),
        (COLOUR, 1, "field f: expected enum Colour, got integer"),
        ({"type": "array", "items": "int"}, {}, "field f: expected array, got object"),
        ({"type": "array", "items": "int"}, [1, "2"], "field f[]: expected int, got string"),
        ({"type": "map", "values": "int"}, [], "field f: expected map, got array"),
        (
            {"type": "map", "values": POINT},
            {"Ada": {"x": "1"}},
            "field f[].x: expected double, got string",
        ),
        (POINT, [], "field f: expected record, got array"),
        (POINT, {"x": None}, "field f.x: expected double, got null"),
        (["null", "double"], "a", "field f: expected double, got string"),
        (["null", "string", "long"], 1.5, "field f: expected null | string | long, got number"),
        (["string", POINT], 1, "field f: expected string | Point, got integer"),
        (
            MILLIS,
            "2013-01-01T10:15",
            "field f: expected timestamp (ISO 8601 with offset, or integer), "
            "got string that has no offset from UTC",
        ),
        (
            MILLIS,
            2**62,
            "field f: expected timestamp (ISO 8601 with offset, or integer), "
            "got integer that is after the year 9999 in UTC",
        ),
        (MILLIS, 1.5, "field f: expected timestamp (ISO 8601 with offset, or integer), got number"),
        (
            MILLIS,
            True,
            "field f: expected timestamp (ISO 8601 with offset, or integer), got boolean",
        ),
    ],
)
def test_an_invalid_value_fails_with_its_path_and_types(
    avro_type: Any, value: Any, message: str
) -> None:
    assert compile_validator(record(avro_type))({"f": value}) == Failure("wrong-type", message)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "avro_type", ["double", "float", "long", MILLIS, ["null", "double"], ["null", "int", "string"]]
)
def test_a_number_that_is_not_finite_has_a_separate_code(avro_type: Any, value: float) -> None:
    failure = compile_validator(record(avro_type), time_field="f")({"f": value})
    assert failure == Failure("not-finite", "field f is a number that is not finite")


def test_a_missing_field_is_looked_up_under_its_aliases() -> None:
    field = {"name": "f", "type": "int", "aliases": ["g", "h"]}
    validate = compile_validator({"type": "record", "name": "R", "fields": [field]})
    assert validate({"h": 1}) == {"f": 1}
    assert validate({"h": 1, "g": 2}) == {"f": 2}
    assert validate({"h": 1, "f": 3}) == {"f": 3}
    assert validate({"g": "1"}) == Failure("wrong-type", "field f: expected int, got string")
    assert validate({}) == Failure("missing-field", "field f is missing")
    validate = compile_validator(
        {"type": "record", "name": "R", "fields": [{**field, "default": 4}]}
    )
    assert (validate({}), validate({"g": 1})) == ({"f": 4}, {"f": 1})


def test_an_unknown_symbol_is_replaced_by_the_default_of_the_enum() -> None:
    validate = compile_validator(record({**COLOUR, "default": "BLUE"}))
    assert validate({"f": "GREEN"}) == {"f": "BLUE"}
    assert validate({"f": "RED"}) == {"f": "RED"}
    assert isinstance(validate({"f": 1}), Failure)


def test_a_missing_field_fails_with_its_path() -> None:
    assert compile_validator(record("int"))({}) == Failure("missing-field", "field f is missing")
    assert compile_validator(record(POINT))({"f": {}}) == Failure(
        "missing-field", "field f.x is missing"
    )


def test_a_nullable_field_without_default_is_required() -> None:
    assert compile_validator(record(["null", "int"]))({}) == Failure(
        "missing-field", "field f is missing"
    )


def test_an_invalid_event_time_has_a_separate_code_at_the_top_level_only() -> None:
    validate = compile_validator(record(MILLIS), time_field="f")
    result = validate({"f": "yesterday"})
    assert isinstance(result, Failure)
    assert result.code == "event-time-invalid"
    nested = compile_validator(
        record({"type": "record", "name": "N", "fields": [{"name": "f", "type": MILLIS}]}), "f"
    )
    result = nested({"f": {"f": "yesterday"}})
    assert isinstance(result, Failure)
    assert result.code == "wrong-type"


@pytest.mark.parametrize(
    ("avro_type", "default", "expected"),
    [
        (["null", "int"], None, None),
        ("double", 1, 1.0),
        (POINT, {"x": 2}, {"x": 2.0}),
        (MILLIS, 0, 0),
    ],
)
def test_a_missing_field_gets_its_default(avro_type: Any, default: Any, expected: Any) -> None:
    assert compile_validator(record(avro_type, default=default))({}) == {"f": expected}


def test_a_default_is_copied_for_each_record() -> None:
    validate = compile_validator(record({"type": "array", "items": "int"}, default=[1]))
    first, second = validate({}), validate({})
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    first["f"].append(2)
    assert second == {"f": [1]}


def test_the_input_is_not_modified_and_unknown_fields_are_dropped() -> None:
    fields = {"f": 1, "extra": 2}
    assert compile_validator(record("double"))(fields) == {"f": 1.0}
    assert fields == {"f": 1, "extra": 2}
    assert type(fields["f"]) is int


@given(st.permutations([("f", 1.0), ("g", None), ("h", {"x": 1.0, "y": 2.0}), ("unknown", 0)]))
def test_fields_are_in_the_order_of_the_schema(sent: list[tuple[str, Any]]) -> None:
    inner = [{"name": name, "type": "double"} for name in "yx"]
    schema = record(["null", "int"], default=None)
    schema["fields"] = [
        {"name": "h", "type": {"type": "record", "name": "H", "fields": inner}},
        {"name": "g", "type": ["null", "int"], "default": None},
        {"name": "f", "type": "double"},
    ]
    expected = {"h": {"y": 2.0, "x": 1.0}, "g": None, "f": 1.0}
    for fields in (dict(sent), dict(sent[1:]), {"f": 1.0, "g": None, "h": {"x": 1.0, "y": 2.0}}):
        result = compile_validator(schema)(fields)
        assert isinstance(result, Failure) or repr(result) == repr(expected)
    assert repr(compile_validator(schema)(dict(sent))) == repr(expected)


def test_a_named_type_can_be_referred_to_by_name() -> None:
    schema = record(POINT)
    schema["fields"].append({"name": "g", "type": ["null", "Point"]})
    assert compile_validator(schema)({"f": {"x": 1}, "g": {"x": 2}}) == {
        "f": {"x": 1.0},
        "g": {"x": 2.0},
    }


def test_a_full_name_with_namespace_is_resolved() -> None:
    schema = record({**POINT, "namespace": "a.b"})
    schema["fields"].append({"name": "g", "type": "a.b.Point"})
    assert compile_validator(schema)({"f": {"x": 1}, "g": {"x": 2}}) == {
        "f": {"x": 1.0},
        "g": {"x": 2.0},
    }


def test_a_record_can_contain_itself() -> None:
    validate = compile_validator(TREE)
    assert validate({"children": [{}, {"children": [{}]}]}) == {
        "children": [{"children": []}, {"children": [{"children": []}]}]
    }


def test_a_record_nested_too_deeply_fails() -> None:
    tree: dict[str, Any] = {}
    for _ in range(5000):
        tree = {"children": [tree]}
    assert compile_validator(TREE)(tree) == Failure("wrong-type", "the record is nested too deeply")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        [record("int")],
        record("Unknown"),
        record(5),
        record({"logicalType": "date"}),
        record("int", default="one"),
        record(["null", "int"], default="one"),
    ],
)
def test_an_invalid_schema_is_rejected(schema: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        compile_validator(schema)


EVERYTHING = {
    "type": "record",
    "name": "Everything",
    "fields": [
        {"name": name, "type": avro_type}
        for name, avro_type in {
            "a": ["null", "double"],
            "b": MILLIS,
            "c": {"type": "array", "items": ["string", "int", POINT]},
            "d": {"type": "map", "values": "bytes"},
            "e": ["null", TREE, COLOUR],
        }.items()
    ],
}


@given(st.dictionaries(st.sampled_from("abcdef"), JSON | st.datetimes().map(str)))
def test_arbitrary_json_is_valid_or_a_failure(fields: dict[str, Any]) -> None:
    result = compile_validator(EVERYTHING)(fields)
    assert isinstance(result, dict | Failure)
    if isinstance(result, dict):
        assert set(result) == set("abcde")
        assert compile_validator(EVERYTHING)(result) == result


@given(st.text(min_size=12, alphabet="xyz"))
def test_a_failure_message_never_contains_values(secret: str) -> None:
    result = compile_validator(EVERYTHING)(
        {"a": secret, "b": secret, "c": [secret], "d": {secret: 1}, "e": secret}
    )
    assert isinstance(result, Failure)
    assert secret not in result.message


SIMPLE = [
    "boolean",
    "int",
    "long",
    "float",
    "double",
    "string",
    "bytes",
    MILLIS,
    MICROS,
    COLOUR,
    POINT,
    {"type": "int"},
]
DEFAULTS = {"boolean": True, "double": 1.5, "string": "é", "int": 7}


@st.composite
def field_schemas(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Draw a field of any simple type, with or without null, default and alias."""
    kind = draw(st.sampled_from(SIMPLE))
    avro_type = draw(st.sampled_from([kind, ["null", kind], [kind, "null"]]))
    field: dict[str, Any] = {"name": name, "type": avro_type}
    if isinstance(avro_type, list) and draw(st.booleans()):
        field["default"] = None
    elif isinstance(kind, str) and kind in DEFAULTS and draw(st.booleans()):
        field["default"] = DEFAULTS[kind]
    return field | ({"aliases": ["other"]} if draw(st.booleans()) else {})


class Whole(int):
    """Subclass of int, which JSON never gives."""


EDGES = [
    0,
    1.0,
    2**31,
    -(2**31),
    2**63,
    3.5e38,
    1.8e308,
    -1e300,
    10**400,
    Whole(3),
    b"\xff",
    "RED",
    {"x": 1},
    {"x": "1"},
]
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(EDGES)
)


def without_fast_conditions(schema: dict[str, Any]) -> Validator:
    """Return the same validator, in which every value goes through its full check."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "fast_condition", lambda field: lambda value: "False")
        return compile_validator(schema, "a")


@given(
    st.tuples(*(field_schemas(name) for name in "abc")),
    st.dictionaries(st.sampled_from(["a", "b", "c", "other"]), VALUES),
)
def test_fast_conditions_do_not_change_the_result(
    fields: tuple[dict[str, Any], ...], record: Fields
) -> None:
    named = {
        "type": "record",
        "name": "Names",
        "fields": [{"name": "n", "type": ["null", COLOUR, POINT], "default": None}],
    }
    by_name = [{**field, "type": _by_name(field["type"])} for field in fields]
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "first", "type": named, "default": {}}, *by_name],
    }
    fast = compile_validator(schema, "a")(record)
    full = without_fast_conditions(schema)(record)
    # Types and the order of the fields are compared, too.
    assert repr(fast) == repr(full)


def _by_name(avro_type: Any) -> Any:
    """Return the type with references to named types, which may be defined only once."""
    if isinstance(avro_type, list):
        return [_by_name(branch) for branch in avro_type]
    return avro_type["name"] if isinstance(avro_type, dict) and "name" in avro_type else avro_type


def test_a_field_can_have_any_name() -> None:
    name = 'it\'s "quoted" {x}\n'
    schema = {"type": "record", "name": "R", "fields": [{"name": name, "type": "int"}]}
    assert compile_validator(schema)({name: 1}) == {name: 1}
    assert compile_validator(schema)({}) == Failure("missing-field", f"field {name} is missing")
