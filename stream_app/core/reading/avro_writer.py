"""Writing Avro records from fields as JSON has them."""

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_writer
from fastavro.write import LOGICAL_WRITERS

from stream_app.core.reading.avro_frame import framed
from stream_app.records import Fields

Writer = Callable[[Fields], bytes]
"""Takes what the validator of the same schema gives, and makes the value of a Kafka record."""

_TEXT, _MILLISECONDS = "stream-app-text", "stream-app-milliseconds"
_PARTS = ("type", "name", "namespace", "fields", "symbols", "size", "items", "values")


def compile_writer(schema: Any, schema_id: int) -> Writer:
    """Make the writer of a valid record schema that the registry knows by this id."""
    parsed = parse_schema(_with_our_types(schema))

    def write(fields: Fields) -> bytes:
        stream = BytesIO()
        schemaless_writer(stream, parsed, fields)
        return framed(stream.getvalue(), schema_id)

    return write


def _bytes(value: Any, _: Any) -> Any:
    """The bytes that a text stands for; other values are left to other branches of a union."""
    try:
        return value.encode("latin-1")
    except (AttributeError, UnicodeEncodeError):
        return value


def _microseconds(value: Any, _: Any) -> Any:
    return value * 1000 if type(value) is int else value


LOGICAL_WRITERS[f"bytes-{_TEXT}"] = LOGICAL_WRITERS[f"fixed-{_TEXT}"] = _bytes
LOGICAL_WRITERS[f"long-{_MILLISECONDS}"] = _microseconds


def _with_our_types(schema: Any) -> Any:
    """The schema with nothing but what decides about the bytes, and how our values become its types."""
    if isinstance(schema, list):
        return [_with_our_types(branch) for branch in schema]
    if schema == "bytes":
        return {"type": "bytes", "logicalType": _TEXT}
    if not isinstance(schema, Mapping):
        return schema
    kept = {part: schema[part] for part in _PARTS if part in schema}
    kind, logical = schema["type"], schema.get("logicalType")
    match kind:
        case "record":
            kept["fields"] = [
                {"name": f["name"], "type": _with_our_types(f["type"])} for f in schema["fields"]
            ]
        case "array":
            kept["items"] = _with_our_types(schema["items"])
        case "map":
            kept["values"] = _with_our_types(schema["values"])
        case "bytes" | "fixed":
            kept["logicalType"] = _TEXT
        case "long" if logical == "timestamp-micros":
            kept["logicalType"] = _MILLISECONDS
        case Mapping() | list():
            return _with_our_types(kind)
    return kept
