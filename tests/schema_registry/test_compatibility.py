"""Backward compatibility: allowed and rejected changes, compared with two Avro libraries."""

import json
from io import BytesIO
from typing import Any

import avro.schema
import fastavro
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from fastavro.utils import generate_many
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_app.core.reading.avro_reader import compile_reader
from stream_app.core.reading.validator import compile_validator
from stream_app.schema_registry.compatibility import Incompatibility, incompatibilities
from tests.schema_registry.schemas import ID, record, schema_text

COLOUR = {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}
LESS = {**COLOUR, "symbols": ["RED"]}


def found(new: dict[str, Any], *versions: dict[str, Any]) -> list[Incompatibility]:
    return list(incompatibilities(json.dumps(new), list(map(json.dumps, versions))))


def one_field(kind: Any, **more: Any) -> dict[str, Any]:
    return record(("x", kind, more))


def inner(*fields: tuple[Any, ...]) -> dict[str, Any]:
    return record(*fields, name="Inner")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (record(), one_field("int", default=0)),
        (one_field("int"), record()),
        *[
            (one_field(old), one_field(new))
            for old, new in [("int", "long"), ("int", "double"), ("long", "float")]
        ],
        *[
            (one_field(old), one_field(new))
            for old, new in [("string", "bytes"), ("bytes", "string")]
        ],
        (one_field("int"), one_field(["null", "int"])),
        (one_field(["null", "int"]), one_field(["string", "null", "long"])),
        (one_field("int"), record(("y", "int", {"aliases": ["x"]}))),
        (record(ID), record(ID, name="Sale", aliases=["Payment"])),
        (
            record(ID, namespace="shop"),
            record(ID, name="Sale", namespace="shop", aliases=["Payment"]),
        ),
        (record(ID), record(ID, namespace="shop")),
        (one_field(LESS), one_field(COLOUR)),
        (one_field(COLOUR), one_field({**LESS, "default": "RED"})),
        (one_field({"type": "long", "logicalType": "unheard-of"}), one_field("long")),
        (one_field("int", default="not an int"), one_field("int")),
    ],
)
def test_compatible_changes_are_accepted(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert found(new, old) == []


@pytest.mark.parametrize(
    ("old", "new", "field", "reason", "remedy"),
    [
        (record(), one_field("int"), "x", "it is new and has no default", "Give it a default"),
        (
            record(),
            one_field({**COLOUR, "default": "RED"}),
            "x",
            "it is new and has no default",
            "Give it a default",
        ),
        (
            one_field("double"),
            one_field("int"),
            "x",
            "it was double and is int",
            "Also allow double for x, or add",
        ),
        (
            one_field(["null", "int"]),
            one_field("int"),
            "x",
            "it could be null and is int",
            "Also allow null for x",
        ),
        (
            one_field(["null", "int"]),
            one_field(["null", "string"]),
            "x",
            "it could be int and is null | string",
            "",
        ),
        (
            one_field(COLOUR),
            one_field(LESS),
            "x",
            "enum Colour lacks BLUE",
            "Add these symbols again",
        ),
        (
            one_field(COLOUR),
            one_field({**COLOUR, "name": "Tint"}),
            "x",
            "enum Colour is called Tint",
            "Rename it to Colour",
        ),
        (
            one_field({"type": "fixed", "name": "F", "size": 2}),
            one_field({"type": "fixed", "name": "F", "size": 3}),
            "x",
            "it had 2 bytes and has 3",
            "Keep 2 bytes",
        ),
        (
            record(ID),
            record(ID, name="Sale"),
            "",
            "record Payment is called Sale",
            "Rename it to Payment",
        ),
        (
            one_field("int"),
            record(("y", "int", {"aliases": ["z"]})),
            "y",
            "it is new and has no default",
            "",
        ),
        (
            one_field({"type": "array", "items": "string"}),
            one_field({"type": "array", "items": "int"}),
            "x[]",
            "it was string and is int",
            "Also allow string for x",
        ),
        (
            one_field({"type": "map", "values": ["null", inner()]}),
            one_field({"type": "map", "values": ["null", inner(("y", "int"))]}),
            "x{}.y",
            "it is new and has no default",
            "Give it a default",
        ),
        (
            one_field(inner()),
            one_field({"type": "map", "values": "int"}),
            "x",
            "it was record Inner and is map of int",
            "",
        ),
        (
            one_field(["null", inner()]),
            one_field(["null", inner(ID)]),
            "x.id",
            "it is new and has no default",
            "",
        ),
        (
            one_field(["null", COLOUR]),
            one_field(["null", LESS]),
            "x",
            "enum Colour lacks BLUE",
            "",
        ),
        (
            record(("children", {"type": "array", "items": "Payment"})),
            record(("children", {"type": "array", "items": "Payment"}), ID),
            "id",
            "it is new and has no default",
            "",
        ),
    ],
)
def test_an_incompatible_change_is_reported_with_field_reason_and_remedy(
    old: dict[str, Any], new: dict[str, Any], field: str, reason: str, remedy: str
) -> None:
    ((version, where, why, what),) = found(new, old)
    assert (version, where, why) == (1, field, reason)
    assert what.startswith(remedy)


def test_compatibility_is_checked_with_all_older_versions() -> None:
    # Field `x` is added with a default, which is removed later: version 1 becomes unreadable.
    versions = [record(ID), record(ID, ("x", "int", {"default": 0})), record(ID, ("x", "int"))]
    assert found(versions[2], versions[1]) == []
    assert [problem[:2] for problem in found(versions[2], *versions)] == [(1, "x")]


def test_all_incompatibilities_are_reported() -> None:
    old, new = (
        record(("a", "int"), ("b", "string")),
        record(("a", "string"), ("b", "string"), ("c", "int")),
    )
    assert [problem[1] for problem in found(new, old, new, old)] == ["a", "c", "a", "c"]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ("{", "the new schema is not valid Avro"),
        (schema_text(("x", "nothing")), "the new schema is not valid Avro: nothing"),
        (schema_text(("x", "int"), ("x", "int")), "Field name x already in use"),
        (schema_text(("x", "int", {"default": "a"})), "must match schema type: int"),
        ("5", "the new schema is not valid Avro"),
        ('{"type": "record", "fields": []}', "the new schema is not valid Avro"),
    ],
)
def test_an_invalid_schema_is_rejected(schema: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        incompatibilities(schema, [schema_text(ID)])


DEFAULTS = {
    "null": None,
    "boolean": False,
    "int": 0,
    "long": 0,
    "float": 0.0,
    "double": 0.0,
    "string": "",
}
SCALARS = list(DEFAULTS)  # without bytes: not all of them are a string


@st.composite
def types(draw: st.DrawFn, path: str, depth: int) -> Any:
    """Draw a type; named types are named after their path, so that two schemas share names."""
    more = ["array", "map", "record", "union"] if depth else []
    match draw(st.sampled_from(["scalar", "scalar", "enum", "fixed", *more])):
        case "enum":
            symbols = draw(st.lists(st.sampled_from("ABC"), min_size=1, unique=True))
            default = {"default": symbols[0]} if draw(st.booleans()) else {}
            return {"type": "enum", "name": f"E{path}", "symbols": symbols, **default}
        case "fixed":
            return {"type": "fixed", "name": f"F{path}", "size": draw(st.integers(1, 2))}
        case "array":
            return {
                "type": "array",
                "items": draw(types(path, 0).filter(lambda kind: kind != "null")),
            }
        case "map":
            return {"type": "map", "values": draw(types(path, depth - 1))}
        case "record":
            return draw(records(path, depth - 1))
        case "union":
            scalars = draw(st.lists(st.sampled_from(SCALARS), min_size=1, max_size=3, unique=True))
            return [*scalars, *draw(st.lists(records(path, depth - 1), max_size=1))]
    return draw(st.sampled_from(SCALARS))


@st.composite
def records(draw: st.DrawFn, path: str = "", depth: int = 2) -> dict[str, Any]:
    fields = []
    for name in draw(st.lists(st.sampled_from("xyz"), max_size=2, unique=True)):
        kind = draw(types(path + name, depth))
        default = (
            {"default": DEFAULTS[kind]} if isinstance(kind, str) and draw(st.booleans()) else {}
        )
        aliases = {"aliases": ["w" + name]} if draw(st.booleans()) else {}
        fields.append((draw(st.sampled_from([name, "w" + name])), kind, {**default, **aliases}))
    return record(*fields, name=f"R{path}")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(records(), records())
def test_the_result_agrees_with_avro_and_compatible_records_can_be_read(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    reader, writer = avro.schema.parse(json.dumps(new)), avro.schema.parse(json.dumps(old))
    expected = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer).compatibility
    problems = found(new, old)
    assert bool(problems) == (expected is SchemaCompatibilityType.incompatible)
    if not problems:
        for datum in generate_many(old, 5):
            data = BytesIO()
            fastavro.schemaless_writer(data, old, datum)
            fastavro.schemaless_reader(BytesIO(data.getvalue()), old, new)
            fields = compile_reader(old)(data.getvalue(), 0)  # as workers read
            assert isinstance(fields, dict)
            assert isinstance(compile_validator(new)(fields), dict)
