"""The check of a record as generated Python: what nearly every value is, is tested in place, without a call.

A field has a *shortcut*: the source of a condition on its value that holds only where the record has the field and its
check would return the value as it is. Where it does not hold, the check itself decides; so shortcuts change how long a
record takes, and nothing else. A record that has just the fields of the schema, all as they should be, is the result.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from stream_app.core.reading.event_time import FIRST, LAST
from stream_app.core.reading.validator_checks import FLOAT_MAX, Check, Mismatch, wrong
from stream_app.records import Fields

Shortcut = Callable[[str], str]
"""Takes the name of the variable that has the value, or None if the record does not have the field."""

_NEVER = "False"

_PRIMITIVES = {
    "boolean": "type({0}) is bool",
    "string": "type({0}) is str",
    "int": f"type({{0}}) is int and {-(2**31)} <= {{0}} < {2**31}",
    "long": f"type({{0}}) is int and {-(2**63)} <= {{0}} < {2**63}",
    "float": f"type({{0}}) is float and {-FLOAT_MAX!r} <= {{0}} <= {FLOAT_MAX!r}",
    "double": f"type({{0}}) is float and {-sys.float_info.max!r} <= {{0}} <= {sys.float_info.max!r}",
}


class Field(NamedTuple):
    """A field of a record; `absent` takes the whole record when there is no field of that name."""

    name: str
    check: Check
    absent: Check
    shortcut: Shortcut


def shortcut(field: Mapping[str, Any]) -> Shortcut:
    """The condition for a field as the schema declares it."""
    match field["type"]:
        case ["null", other] | [other, "null"]:
            there, name = _condition(other), field["name"]
            return lambda value: f"{there.format(value)} or {value} is None and {name!r} in record"
        case avro_type:
            return _condition(avro_type).format


def _condition(schema: Any) -> str:
    """The condition for values of a type, which is never true of None, to be formatted with the variable."""
    match schema:
        case str():
            return _PRIMITIVES.get(schema, _NEVER)
        case {"type": "long", "logicalType": "timestamp-millis"}:
            return f"type({{0}}) is int and {FIRST} <= {{0}} <= {LAST}"
        case {"type": "long", "logicalType": "timestamp-micros"}:
            return _NEVER
        case {"type": str(primitive)}:
            return _PRIMITIVES.get(primitive, _NEVER)
    return _NEVER


def record_of(fields: list[Field]) -> Check:
    """The check of a record with these fields."""
    keys = [field.name for field in fields]
    variables = [f"value{number}" for number in range(len(fields))]
    names: dict[str, Any] = {
        "Mismatch": Mismatch,
        "wrong": wrong,
        "keys": keys,
        "values_of": _values_of(keys),
    }
    source = [
        "def check(record):",
        "    if type(record) is not dict:",
        "        return wrong('record', record)",
        f"    whole = len(record) == {len(fields)}",
        "    try:",
        f"        [{', '.join(variables)}] = values_of(record)",
        "    except KeyError:",
        f"        [{', '.join(variables)}] = map(record.get, keys)",
    ]
    for value, field in zip(variables, fields, strict=True):
        names[f"check_{value}"] = _fully(field)
        source += [
            f"    if not ({field.shortcut(value)}):",
            "        whole = False",
            f"        {value} = check_{value}(record)",
            f"        if type({value}) is Mismatch:",
            f"            return {value}.inside({field.name!r})",
        ]
    items = [f"{field.name!r}: {value}" for value, field in zip(variables, fields, strict=True)]
    source.append(f"    return record if whole else {{{', '.join(items)}}}")
    exec("\n".join(source), names)
    check: Check = names["check"]
    return check


def _values_of(keys: list[str]) -> Callable[[Fields], Sequence[Any]]:
    """What looks up all fields at once, in two thirds of the time that one by one takes; raises KeyError."""
    return itemgetter(*keys) if len(keys) > 1 else lambda record: [record[key] for key in keys]


def _fully(field: Field) -> Check:
    """Takes the whole record."""
    name, check, absent, _ = field
    return lambda record: check(record[name]) if name in record else absent(record)
