"""Avro values for tests, encoded and decoded by fastavro, which the system does not read with."""

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import fastavro


def encode(schema: Any, fields: Mapping[str, Any]) -> bytes:
    """Return the binary encoding of one record."""
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), fields)
    return stream.getvalue()


def framed(schema: Any, fields: Mapping[str, Any], schema_id: int) -> bytes:
    """Return the value of a Kafka record in Confluent's wire format."""
    return b"\0" + schema_id.to_bytes(4, "big") + encode(schema, fields)


def changed(schema: Mapping[str, Any], **types: Any) -> dict[str, Any]:
    """Return a record schema with fields added or changed to another type; None removes one."""
    fields = {field["name"]: field for field in schema["fields"]}
    fields |= {name: {"name": name, "type": kind} for name, kind in types.items()}
    return {
        **schema,
        "fields": [field for name, field in fields.items() if field["type"] is not None],
    }


def decode(value: bytes, schemas: Mapping[int, str]) -> dict[str, Any]:
    """Return the fields of a value in Confluent's wire format."""
    schema = fastavro.parse_schema(json.loads(schemas[int.from_bytes(value[1:5], "big")]))
    fields: Any = fastavro.schemaless_reader(BytesIO(value[5:]), schema, None)
    return dict(fields)
