"""Compiles Avro schemas into writers of binary records, framed for Kafka."""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_writer
from fastavro.write import LOGICAL_WRITERS

from stream_app.core.reading.avro_schema import SchemaCompiler
from stream_app.core.reading.avro_timestamps import MILLISECONDS, TIMESTAMP_TYPES
from stream_app.core.reading.decoding import add_frame
from stream_app.records import Fields

AvroWriter = Callable[[Fields], bytes]
"""Encodes fields, as validated with the same schema, as the value of a Kafka record."""

# Own logical types, by which fastavro converts validated values to the underlying type.
_TEXT, _MILLISECONDS_TO = "stream-app-text", "stream-app-milliseconds-to-"


def compile_writer(schema: Any, schema_id: int) -> AvroWriter:
    """Compile a valid record schema into a writer.

    Args:
        schema: parsed JSON.
        schema_id: id of the schema in the registry, which the written values contain.
    """
    parsed = parse_schema(_WriterSchemaCompiler().compile(schema))

    def write(fields: Fields) -> bytes:
        stream = BytesIO()
        schemaless_writer(stream, parsed, fields)
        return add_frame(stream.getvalue(), schema_id)

    return write


def _to_bytes(value: Any, _: Any) -> Any:
    """Return the bytes of a text with code points up to 255; leave others to other branches."""
    try:
        return value.encode("latin-1")
    except (AttributeError, UnicodeEncodeError):
        return value


def _to_unit(value: Any, schema: Any) -> Any:
    """Return Unix milliseconds in the unit of a timestamp."""
    unit = TIMESTAMP_TYPES[schema["logicalType"].removeprefix(_MILLISECONDS_TO)].unit
    return unit.from_ms(value) if type(value) is int else value


LOGICAL_WRITERS[f"bytes-{_TEXT}"] = LOGICAL_WRITERS[f"fixed-{_TEXT}"] = _to_bytes
for _name in TIMESTAMP_TYPES:
    LOGICAL_WRITERS[f"long-{_MILLISECONDS_TO}{_name}"] = _to_unit


class _WriterSchemaCompiler(SchemaCompiler[Any]):
    """Reduces a schema to what determines the bytes, with the logical types above."""

    primitives: Mapping[str, Any] = {
        **{name: name for name in ("null", "boolean", "int", "long", "float", "double", "string")},
        "bytes": {"type": "bytes", "logicalType": _TEXT},
    }
    incomplete = None

    def reference(self, full_name: str) -> Any:
        return full_name

    def timestamp(self, logical_type: str) -> Any:
        kind = TIMESTAMP_TYPES.get(logical_type)
        if kind is None or kind.unit is MILLISECONDS:
            return None
        return {"type": "long", "logicalType": f"{_MILLISECONDS_TO}{logical_type}"}

    def union(self, schema: Sequence[Any], branches: list[Any]) -> Any:
        return branches

    def array(self, items: Any) -> Any:
        return {"type": "array", "items": items}

    def map(self, values: Any) -> Any:
        return {"type": "map", "values": values}

    def record(self, schema: Mapping[str, Any], types: list[Any]) -> Any:
        fields = [
            {"name": field["name"], "type": kind}
            for field, kind in zip(schema["fields"], types, strict=True)
        ]
        return {**_identity(schema), "fields": fields}

    def enum(self, schema: Mapping[str, Any]) -> Any:
        return {**_identity(schema), "symbols": schema["symbols"]}

    def fixed(self, schema: Mapping[str, Any]) -> Any:
        return {**_identity(schema), "size": schema["size"], "logicalType": _TEXT}


def _identity(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {part: schema[part] for part in ("type", "name", "namespace") if part in schema}
