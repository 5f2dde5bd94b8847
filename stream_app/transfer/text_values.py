"""Text of a cell as a value of the type that a schema declares.

The rules are those of the table in `docs/files.md`. Text that does not fit its type stays text, so
that the worker's validation rejects the record and names the field.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from stream_app.core.reading.avro_timestamps import TIMESTAMP_TYPES
from stream_app.core.reading.event_time import to_unix_ms, with_utc

Converter = Callable[[str], Any]
"""Converts text that is not empty to a value; text that does not fit the type stays text."""

_BOOLEANS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1", "1.0"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0", "0.0"), False),
}
# Words for a missing number, boolean or time.
_MISSING = frozenset({"", "nan", "nat", "null", "none", "na", "n/a", "<na>"})
_TEXT = frozenset({"string", "enum", "bytes", "fixed"})
_STRUCTURES = frozenset({"array", "map", "record"})


class TextField(NamedTuple):
    """Reads the text of a field.

    Attributes:
        convert: converter of text that is not empty.
        has_default: True if empty text stands for the field's default; otherwise it is null.
    """

    convert: Converter
    has_default: bool = False


UNDECLARED = TextField(str)
"""A field that the schema does not have: text."""


def text_fields(schema: Mapping[str, Any]) -> dict[str, TextField]:
    """Return how the text of each field of a record schema is read.

    >>> kind = ["null", "int"]
    >>> fields = text_fields({"fields": [{"name": "age", "type": kind, "default": None}]})
    >>> fields["age"].convert("5.0"), fields["age"].convert("NaN"), fields["age"].convert("old")
    (5, None, 'old')
    """
    return {
        field["name"]: TextField(
            converter(field["type"]), "default" in field and "null" not in _types(field["type"])
        )
        for field in schema["fields"]
    }


def converter(avro_type: Any) -> Converter:
    """Return the converter for an Avro type; text stays text if that is a possible type."""
    types = _types(avro_type)
    if types & _TEXT:
        return str
    if logical_types := types & TIMESTAMP_TYPES.keys():
        seconds = any(name.endswith("seconds") for name in logical_types)
        return _or_missing(_number if seconds else _integer)
    if types & {"float", "double"}:
        return _or_missing(_number if types & {"int", "long"} else _float)
    if types & {"int", "long"}:
        return _or_missing(_integer)
    if "boolean" in types:
        return _or_missing(_boolean)
    return _structure if types & _STRUCTURES else str


def is_typed(value: object) -> bool:
    """Return True if a converted cell has the type of its field; a time may be text."""
    return not isinstance(value, str) or to_unix_ms(with_utc(value)) is not None


def _types(avro_type: Any) -> set[str]:
    """Return the names of a field's possible types; timestamps by their logical type."""
    match avro_type:
        case str():
            return {avro_type}
        case list():
            return set().union(*map(_types, avro_type))
        case {"type": "long", "logicalType": str(logical_type)} if logical_type in TIMESTAMP_TYPES:
            return {logical_type}
        case _:
            return _types(avro_type["type"])


def _or_missing(convert: Converter) -> Converter:
    """Return a converter that also reads words for a missing value, which are null."""

    def convert_or_none(text: str) -> Any:
        value = convert(text)
        return None if value is text and text.strip().lower() in _MISSING else value

    return convert_or_none


def _integer(text: str) -> Any:
    """Return an integer, also of `5.0`, as pandas writes a column with missing values."""
    try:
        value = int(text)
    except ValueError:
        whole, point, fraction = text.strip().partition(".")
        if not point or fraction.strip("0") or not fraction:
            return text
        return text if isinstance(value := _integer(whole), str) else value
    return value if "_" not in text and -(2**63) <= value < 2**63 else text


def _float(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return text
    return number if "_" not in text and math.isfinite(number) else text


def _number(text: str) -> Any:
    """Return an integer, or another number."""
    value = _integer(text)
    return value if isinstance(value, int) else _float(text)


def _boolean(text: str) -> Any:
    return _BOOLEANS.get(text.strip().lower(), text)


def _structure(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
