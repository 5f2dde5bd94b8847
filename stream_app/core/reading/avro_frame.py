"""Avro in Kafka records: how a value says which schema it was written with, in Confluent's wire format."""

from collections.abc import Iterable, Set
from typing import NamedTuple
from uuid import UUID

from stream_app.headers import VALUE_SCHEMA_ID
from stream_app.records import Failure, Headers, Record

SchemaId = int | UUID
"""A schema's id in the registry: a number in the value itself, a number or a GUID in a header."""


_MAGIC = 0
_PREFIX = 5  # bytes: the magic byte and a number
_LARGEST = 2**31 - 1


class AvroFrame(NamedTuple):
    """The id of the schema that a value was written with, and where in the value the Avro record begins."""

    schema_id: SchemaId
    start: int


def framed(record: bytes, schema_id: int) -> bytes:
    """The value of a Kafka record: magic byte, id, Avro record."""
    return _MAGIC.to_bytes(1, "big") + schema_id.to_bytes(4, "big") + record


def find_frame(value: bytes, headers: Headers) -> AvroFrame | Failure | None:
    """Whether a value is Avro, and of which schema; None if it is not. A header takes precedence.

    >>> find_frame(b"\\0\\0\\0\\0\\7\\2\\4", ())
    AvroFrame(schema_id=7, start=5)
    >>> find_frame(b"{}", ()) is None
    True
    """
    for name, content in headers:
        if name == VALUE_SCHEMA_ID:
            schema_id = schema_id_of(content)
            return (
                AvroFrame(schema_id, 0)
                if schema_id is not None
                else _no_id(f"header {VALUE_SCHEMA_ID} has")
            )
    if value[:1] != b"\0":
        return None
    schema_id = schema_id_of(value[:_PREFIX])
    return (
        AvroFrame(schema_id, _PREFIX)
        if schema_id is not None
        else _no_id("the value begins with byte 0 and")
    )


def schema_id_of(content: bytes | None) -> SchemaId | None:
    """The id that a header has, or the first five bytes of a value: byte 0 and a number, or byte 1 and a GUID."""
    match len(content or b""), (content or b"")[:1]:
        case 5, b"\0":
            number = int.from_bytes((content or b"")[1:], "big")
            return number if number <= _LARGEST else None
        case 17, b"\1":
            return UUID(bytes=(content or b"")[1:])
    return None


def schema_ids(records: Iterable[Record]) -> Set[SchemaId]:
    """The ids of all schemas that these records were written with, as they come."""
    frames = (
        find_frame(value, headers)
        for _, _, _, _, _, value, headers in records
        if value and (headers or value[0] == _MAGIC)
    )
    return {frame.schema_id: None for frame in frames if isinstance(frame, AvroFrame)}.keys()


def _no_id(where: str) -> Failure:
    return Failure("invalid-avro", f"{where} no schema id")
