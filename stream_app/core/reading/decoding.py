"""Decodes the value of a Kafka record, one JSON object or one Avro record, into fields.

Avro records are framed in Confluent's wire format: the value, or a header, names the schema.
"""

import json
import re
from collections.abc import Iterable, Mapping, Set
from math import isfinite
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

import orjson

from stream_app.core.reading.avro_reader import AvroReader
from stream_app.headers import VALUE_SCHEMA_ID
from stream_app.records import Failure, Fields, Headers, Record

SchemaId = int | UUID
"""Id of a schema in the registry: a number in the value, or a number or GUID in a header."""

Schemas = Mapping[SchemaId, AvroReader | Failure]
"""Readers by schema id, or the failure of every record with that schema."""

NO_SCHEMAS: Schemas = MappingProxyType({})

_MAGIC = 0
_PREFIX_BYTES = 5  # the magic byte and a 32-bit id
_MAX_ID = 2**31 - 1
# Text without which no number in JSON is NaN, infinite or overflows a double.
_MAYBE_NOT_FINITE = re.compile(rb"NaN|Infinity|[eE]\+?[0-9]{3}|[0-9]{200}")
_MAX_DIGITS = 20  # of an integer of 64 bits, with its sign


def decode(
    value: bytes | None, headers: Headers = (), schemas: Schemas = NO_SCHEMAS
) -> Fields | Failure:
    """Decode a value; never raises, whatever the bytes.

    A value is Avro if it begins with byte 0 or a header has a schema id; all others are one JSON
    object in UTF-8. Failures: `empty-value`; for JSON `invalid-json`, `not-an-object`, and
    `not-finite` if NaN, Infinity or a number that overflows a double is the only defect; for Avro
    `invalid-avro` and `unknown-schema`.

    >>> decode(b'{"distance": 1400}')
    {'distance': 1400}
    >>> decode(b"[1]").code
    'not-an-object'
    """
    if not value:
        return Failure("empty-value", "the record has no value")
    if headers or value[0] == _MAGIC:
        frame = find_frame(value, headers)
        if isinstance(frame, Failure):
            return frame
        if frame is not None:
            read = schemas.get(frame.schema_id)
            if read is None:
                return Failure("unknown-schema", f"schema {frame.schema_id} is not known")
            return read if isinstance(read, Failure) else read(value, frame.start)
    try:
        fields = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return _json_failure(value, error)
    if type(fields) is not dict:
        return Failure("not-an-object", "the value is JSON, but not an object")
    return fields


def _json_failure(value: bytes, error: orjson.JSONDecodeError) -> Failure:
    if _is_only_not_finite(value):
        return Failure(
            "not-finite", "the value has a number that is NaN, infinite or overflows a double"
        )
    return Failure("invalid-json", f"{error.msg}, line {error.lineno} column {error.colno}")


def _is_only_not_finite(value: bytes) -> bool:
    """Return True if a lenient parser accepts the JSON and finds numbers that are not finite."""
    if not _MAYBE_NOT_FINITE.search(value):
        return False
    constants: list[str] = []
    try:
        numbers: list[float] = []
        json.loads(
            value.decode(),
            parse_constant=constants.append,
            parse_float=lambda text: numbers.append(float(text)),
            parse_int=lambda text: numbers.append(float(text)),
        )
    except (ValueError, RecursionError):
        return False
    return bool(constants) or not all(map(isfinite, numbers))


def decode_leniently(
    value: bytes | None, headers: Headers = (), schemas: Schemas = NO_SCHEMAS
) -> Fields | Failure:
    """Decode a value as `decode` does, but leave numbers in JSON that are not finite in the fields.

    So such a number does no harm in a field that nothing reads; the validator rejects it in others.

    >>> decode_leniently(b'{"distance": 1400, "ratio": NaN}')
    {'distance': 1400, 'ratio': nan}
    """
    fields = decode(value, headers, schemas)
    if not isinstance(fields, Failure) or fields.code != "not-finite":
        return fields
    found = json.loads((value or b"").decode(), parse_int=_number)
    try:
        # Lone surrogates, which the lenient parser accepts as well, cannot be encoded.
        orjson.dumps(found)
    except (TypeError, RecursionError):
        return Failure("invalid-json", "a text has a lone surrogate, or the value is nested deeply")
    if type(found) is not dict:
        return Failure("not-an-object", "the value is JSON, but not an object")
    return found


def _number(text: str) -> int | float:
    """Return an integer as the strict parser does: one of more than 64 bits is a float."""
    number = float(text) if len(text) > _MAX_DIGITS else int(text)
    return number if -(2**63) <= number < 2**64 else float(text)


class AvroFrame(NamedTuple):
    """Schema id of a value, and the position at which its Avro record starts."""

    schema_id: SchemaId
    start: int


def add_frame(record: bytes, schema_id: int) -> bytes:
    """Return the value of a Kafka record: magic byte, schema id, Avro record."""
    return _MAGIC.to_bytes(1, "big") + schema_id.to_bytes(4, "big") + record


def find_frame(value: bytes, headers: Headers) -> AvroFrame | Failure | None:
    """Return the frame of an Avro value, or None if it is not Avro. A header takes precedence.

    >>> find_frame(b"\\0\\0\\0\\0\\7\\2\\4", ())
    AvroFrame(schema_id=7, start=5)
    >>> find_frame(b"{}", ()) is None
    True
    """
    for name, content in headers:
        if name == VALUE_SCHEMA_ID:
            schema_id = parse_schema_id(content)
            if schema_id is None:
                return Failure("invalid-avro", f"header {VALUE_SCHEMA_ID} has no schema id")
            return AvroFrame(schema_id, 0)
    if value[:1] != b"\0":
        return None
    schema_id = parse_schema_id(value[:_PREFIX_BYTES])
    if schema_id is None:
        return Failure("invalid-avro", "the value begins with byte 0 and has no schema id")
    return AvroFrame(schema_id, _PREFIX_BYTES)


def parse_schema_id(content: bytes | None) -> SchemaId | None:
    """Return the id in a header or a value's prefix: byte 0 and a number, or byte 1 and a GUID."""
    match len(content or b""), (content or b"")[:1]:
        case 5, b"\0":
            number = int.from_bytes((content or b"")[1:], "big")
            return number if number <= _MAX_ID else None
        case 17, b"\1":
            return UUID(bytes=(content or b"")[1:])
    return None


def schema_text(value: bytes, headers: Headers) -> str | None:
    """Return the id of a value's schema as text, None if the value is not Avro.

    >>> schema_text(b"\\0\\0\\0\\0\\7\\2\\4", ())
    '7'
    """
    frame = find_frame(value, headers)
    return str(frame.schema_id) if isinstance(frame, AvroFrame) else None


def schema_ids(records: Iterable[Record]) -> Set[SchemaId]:
    """Return the ids of all schemas that records refer to, in the order of the records."""
    found: dict[SchemaId, None] = {}
    for _, _, _, _, _, value, headers in records:
        if value and (headers or value[0] == _MAGIC):
            frame = find_frame(value, headers)
            if isinstance(frame, AvroFrame):
                found[frame.schema_id] = None
    return found.keys()
