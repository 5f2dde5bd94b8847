"""The check of a record as generated Python: what nearly every value is, is tested in place, without a call.

A field has a *shortcut*: the source of a condition on `value` that holds only where the record has the field and its
check would return the value as it is. Where it does not hold, the check itself decides; so shortcuts change how long a
record takes, and nothing else. A record that has just the fields of the schema, all as they should be, is the result.
"""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from stream_app.core.checks import FLOAT_MAX, Check, Mismatch, wrong
from stream_app.core.times import FIRST, LAST

_NEVER = "False"

_PRIMITIVES = {
    "boolean": "type(value) is bool",
    "string": "type(value) is str",
    "int": f"type(value) is int and {-(2**31)} <= value < {2**31}",
    "long": f"type(value) is int and {-(2**63)} <= value < {2**63}",
    "float": f"type(value) is float and {-FLOAT_MAX!r} <= value <= {FLOAT_MAX!r}",
    "double": f"type(value) is float and {-sys.float_info.max!r} <= value <= {sys.float_info.max!r}",
}


class Field(NamedTuple):
    """A field of a record; `absent` takes the whole record when there is no field of that name."""

    name: str
    check: Check
    absent: Check
    shortcut: str


def shortcut(field: Mapping[str, Any]) -> str:
    """The condition for a field as the schema declares it; `value` is None if the record does not have it."""
    match field["type"]:
        case ["null", other] | [other, "null"]:
            return f"{_condition(other)} or value is None and {field['name']!r} in record"
        case avro_type:
            return _condition(avro_type)


def _condition(schema: Any) -> str:
    """The condition for values of a type; never true of None."""
    match schema:
        case str():
            return _PRIMITIVES.get(schema, _NEVER)
        case {"type": "long", "logicalType": "timestamp-millis"}:
            return f"type(value) is int and {FIRST} <= value <= {LAST}"
        case {"type": "long", "logicalType": "timestamp-micros"}:
            return _NEVER
        case {"type": str(primitive)}:
            return _PRIMITIVES.get(primitive, _NEVER)
    return _NEVER


def record_of(fields: list[Field]) -> Check:
    """The check of a record with these fields."""
    names: dict[str, Any] = {"Mismatch": Mismatch, "wrong": wrong}
    source = [
        "def check(record):",
        "    if type(record) is not dict:",
        "        return wrong('record', record)",
        f"    whole = len(record) == {len(fields)}",
    ]
    for number, field in enumerate(fields):
        names[f"check{number}"] = _fully(field)
        source += [
            f"    value = value{number} = record.get({field.name!r})",
            f"    if not ({field.shortcut}):",
            "        whole = False",
            f"        value{number} = check{number}(record)",
            f"        if type(value{number}) is Mismatch:",
            f"            return value{number}.inside({field.name!r})",
        ]
    items = [f"{field.name!r}: value{number}" for number, field in enumerate(fields)]
    source.append(f"    return record if whole else {{{', '.join(items)}}}")
    exec("\n".join(source), names)
    check: Check = names["check"]
    return check


def _fully(field: Field) -> Check:
    """Takes the whole record."""
    name, check, absent, _ = field
    return lambda record: check(record[name]) if name in record else absent(record)
