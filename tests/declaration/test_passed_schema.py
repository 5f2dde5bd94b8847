"""Schema of passed fields: the event's types, with every named type defined where it is used."""

import io
import json
from typing import Any

import avro.schema
import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.reading.avro_writer import compile_writer
from stream_app.core.reading.record_reader import compile_pass_through
from stream_app.core.reading.validator import compile_validator
from stream_app.declaration.passed_schema import passed_schema
from stream_app.errors import PipelineError
from stream_app.pipeline import Pipeline
from stream_app.records import Failure
from stream_app.schema_registry.compatibility import incompatibilities
from stream_app.schema_registry.registry import bundled_schema, scored_schema
from tests.core.reading.test_decoding import JSON
from tests.small_pipeline import EVENT_SCHEMA, small_pipeline

CURRENCY = {"type": "enum", "name": "Currency", "symbols": ["EUR", "USD"], "default": "EUR"}
LINE = {
    "type": "record",
    "name": "Line",
    "fields": [{"name": "price", "type": "float"}, {"name": "currency", "type": "Currency"}],
}
TYPES: dict[str, Any] = {
    "paid_in": CURRENCY,
    "refunded_in": "Currency",
    "lines": {"type": "array", "items": LINE},
    "first": ["Line", "null"],
    "digest": {"type": "fixed", "name": "crypto.Digest", "size": 2},
    "raw": ["bytes", "null"],
    "seen": {"type": "long", "logicalType": "timestamp-micros"},
    "counts": {"type": "map", "values": ["long", "string"]},
    "nothing": "null",
    "customer": ["string", "long", "null"],
    # These names are those of the scored record's own types.
    "source": {"type": "enum", "name": "stream_app.Source", "symbols": ["web", "shop"]},
    "kind": {"type": "enum", "name": "Fields", "symbols": ["a"]},
}


def declared(*names: str, **changes: Any) -> Pipeline:
    """Return a pipeline that passes fields of all types."""
    fields = [{"name": name, "type": kind} for name, kind in TYPES.items()]
    schema = {**EVENT_SCHEMA, "fields": [*EVENT_SCHEMA["fields"], *fields], **changes}
    return small_pipeline(schema=schema, pass_through=names, format="avro")


SENT = {
    "id": "e1",
    "at": 1,
    "amount": 2.0,
    "paid_in": "GBP",
    "refunded_in": "USD",
    "lines": [{"price": 1, "currency": "USD"}],
    "first": {"price": 2.5, "currency": "EUR"},
    "digest": "\xff\x01",
    "raw": "\xfe",
    "seen": "2023-11-14T10:00:00.123Z",
    "counts": {"-type": 1, "b": "two"},
    "nothing": None,
    "customer": 7,
    "source": "web",
    "kind": "a",
}


@pytest.mark.parametrize("namespace", [{}, {"namespace": "shop"}, {"namespace": "stream_app"}])
@pytest.mark.parametrize("names", [tuple(TYPES), ("first", "refunded_in"), ("seen",), ("source",)])
def test_passed_values_are_read_by_other_libraries(
    namespace: dict[str, str], names: tuple[str, ...]
) -> None:
    pipeline = declared(*names, **namespace)
    schema = passed_schema(pipeline)
    passed = fields_of(pipeline, SENT)
    written = compile_writer(schema, 1)(passed)[5:]
    read: Any = fastavro.schemaless_reader(io.BytesIO(written), schema, None)
    expected = {
        "paid_in": "EUR",
        "refunded_in": "USD",
        "lines": [{"price": 1.0, "currency": "USD"}],
        "first": {"price": 2.5, "currency": "EUR"},
        "digest": b"\xff\x01",
        "raw": b"\xfe",
        "counts": {"-type": 1, "b": "two"},
        "nothing": None,
        "customer": 7,
        "source": "web",
        "kind": "a",
    }
    assert {name: read[name] for name in names if name != "seen"} == {
        name: expected[name] for name in names if name != "seen"
    }
    if "seen" in names:
        assert read["seen"].isoformat() == "2023-11-14T10:00:00.123000+00:00"
    avro.schema.parse(json.dumps(scored_schema(pipeline)))
    fastavro.parse_schema(scored_schema(pipeline))


def fields_of(pipeline: Pipeline, sent: dict[str, Any]) -> dict[str, Any]:
    """Return the passed fields of an event."""
    validated = compile_validator(pipeline.schema)(sent)  # type: ignore[arg-type]  # a dict
    passed = compile_pass_through(pipeline)
    assert not isinstance(validated, Failure)
    assert passed is not None
    return passed(validated)


@given(st.sampled_from(list(TYPES)), JSON)
def test_every_valid_value_can_be_written(name: str, value: Any) -> None:
    pipeline = declared(name)
    validated = compile_validator(pipeline.schema)({**SENT, name: value})  # type: ignore[arg-type]  # a dict
    if not isinstance(validated, Failure):
        compile_writer(passed_schema(pipeline), 1)({name: validated[name]})


def test_names_keep_their_namespace_unless_it_is_ours() -> None:
    text = json.dumps(passed_schema(declared("digest", "source", "paid_in")))
    assert '"name": "Digest", "size": 2, "namespace": "crypto"' in text
    assert '"name": "Source", "symbols": ["web", "shop"], "namespace": "stream_app.fields"' in text
    assert json.loads(text)["fields"][2]["type"][1]["namespace"] == "stream_app.fields"


def test_without_passed_fields_the_schema_is_the_bundled_one() -> None:
    assert scored_schema(declared()) == bundled_schema("scored")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), ("customer", "lines")),
        (("customer",), ("lines", "customer", "refunded_in", "paid_in")),
        (("refunded_in", "paid_in"), ("paid_in",)),
        (tuple(TYPES), ()),
        (tuple(TYPES), tuple(reversed(TYPES))),
    ],
)
def test_fields_can_be_added_reordered_and_removed(
    before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    old, new = scored_schema(declared(*before)), scored_schema(declared(*after))
    assert incompatibilities(json.dumps(new), [json.dumps(old)]) == []


def test_a_field_that_contains_itself_is_rejected() -> None:
    node = {"type": "record", "name": "Node", "fields": [{"name": "up", "type": ["null", "Node"]}]}
    schema = {
        **EVENT_SCHEMA,
        "fields": [*EVENT_SCHEMA["fields"], {"name": "node", "type": ["null", node]}],
    }
    with pytest.raises(PipelineError, match="pass_through 'node' contains itself"):
        passed_schema(small_pipeline(schema=schema, pass_through=("node",)))


def test_two_types_that_would_get_the_same_name_are_rejected() -> None:
    kinds = [
        {"type": "enum", "name": name, "symbols": ["a"]} for name in ("Kind", "stream_app.Kind")
    ]
    fields = [{"name": f"kind_{number}", "type": kind} for number, kind in enumerate(kinds)]
    schema = {**EVENT_SCHEMA, "fields": [*EVENT_SCHEMA["fields"], *fields]}
    with pytest.raises(
        PipelineError, match=r"the schema of pass_through is not .*is already in use"
    ):
        passed_schema(small_pipeline(schema=schema, pass_through=("kind_0", "kind_1")))
