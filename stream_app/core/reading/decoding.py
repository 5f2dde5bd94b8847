"""Bytes to fields: one JSON object or one Avro record per Kafka record."""

import json
from collections.abc import Mapping
from math import isfinite
from types import MappingProxyType

import orjson

from stream_app.core.reading.avro_frame import SchemaId, find_frame
from stream_app.core.reading.avro_reader import Reader
from stream_app.records import Failure, Fields, Headers

Schemas = Mapping[SchemaId, Reader | Failure]
"""By id what reads records of that schema, or why nothing can."""

NO_SCHEMAS: Schemas = MappingProxyType({})


def decode(
    value: bytes | None, headers: Headers = (), schemas: Schemas = NO_SCHEMAS
) -> Fields | Failure:
    """Decode a value; whatever the bytes are, this never raises.

    A value is Avro if it begins with byte 0 or a header has a schema id, else one JSON object in UTF-8. Failures:
    `empty-value`; of JSON `invalid-json`, `not-an-object`, and `not-finite` where NaN, Infinity or a number that
    overflows a double is all that is wrong with it; of Avro `invalid-avro` and `unknown-schema`.

    >>> decode(b'{"distance": 1400}')
    {'distance': 1400}
    >>> decode(b"[1]").code
    'not-an-object'
    """
    if not value:
        return Failure("empty-value", "the record has no value")
    if headers or value[0] == 0:
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
        return _why_not(value, error)
    if type(fields) is not dict:
        return Failure("not-an-object", "the value is JSON, but not an object")
    return fields


def _why_not(value: bytes, error: orjson.JSONDecodeError) -> Failure:
    if _only_not_finite(value):
        return Failure(
            "not-finite", "the value has a number that is NaN, infinite or overflows a double"
        )
    return Failure("invalid-json", f"{error.msg}, line {error.lineno} column {error.colno}")


def _only_not_finite(value: bytes) -> bool:
    """Whether a lenient parser takes the JSON and finds numbers in it that are not finite."""
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
