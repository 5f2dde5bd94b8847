"""Bytes to fields: one JSON object per record."""

import json
from math import isfinite

import orjson

from stream_app.core.records import Failure, Fields


def decode(value: bytes | None) -> Fields | Failure:
    """Decode one JSON object in UTF-8; whatever the bytes are, this never raises.

    Failures: `empty-value`, `invalid-json`, `not-an-object`, and `not-finite` where NaN, Infinity or a number that
    overflows a double is all that is wrong with the JSON.

    >>> decode(b'{"distance": 1400}')
    {'distance': 1400}
    >>> decode(b"[1]").code
    'not-an-object'
    """
    if not value:
        return Failure("empty-value", "the record has no value")
    try:
        fields = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return _why_not(value, error)
    if type(fields) is not dict:
        return Failure("not-an-object", "the value is JSON, but not an object")
    return fields


def _why_not(value: bytes, error: orjson.JSONDecodeError) -> Failure:
    if _only_not_finite(value):
        return Failure("not-finite", "the value has a number that is NaN, infinite or overflows a double")
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
