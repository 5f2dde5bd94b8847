"""Generates the check of a record as Python source, which tests common values without a call.

Each field has a *fast condition*: source that is true only if the record has the field and its
check would return the value unchanged. If it is false, the check decides. Fast conditions change
the running time and nothing else. A record with exactly the fields of the schema, all unchanged,
is returned as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from stream_app.core.reading.event_time import FIRST_MS, LAST_MS
from stream_app.core.reading.validator_checks import (
    DOUBLE_MAX,
    FLOAT_MAX,
    Check,
    Mismatch,
    mismatch,
)
from stream_app.records import Fields

FastCondition = Callable[[str], str]
"""Returns the condition, given the variable with the value, or None for a missing field."""

_NEVER = "False"

_PRIMITIVES = {
    "boolean": "type({0}) is bool",
    "string": "type({0}) is str",
    "int": f"type({{0}}) is int and {-(2**31)} <= {{0}} < {2**31}",
    "long": f"type({{0}}) is int and {-(2**63)} <= {{0}} < {2**63}",
    "float": f"type({{0}}) is float and {-FLOAT_MAX!r} <= {{0}} <= {FLOAT_MAX!r}",
    "double": f"type({{0}}) is float and {-DOUBLE_MAX!r} <= {{0}} <= {DOUBLE_MAX!r}",
}


class FieldCheck(NamedTuple):
    """Check of a field; `absent` takes the whole record if it has no field of that name."""

    name: str
    check: Check
    absent: Check
    fast_condition: FastCondition


def fast_condition(field: Mapping[str, Any]) -> FastCondition:
    """Return the fast condition of a field of the schema."""
    match field["type"]:
        case ["null", other] | [other, "null"]:
            present, name = _condition(other), field["name"]
            return lambda value: (
                f"{present.format(value)} or {value} is None and {name!r} in record"
            )
        case avro_type:
            return _condition(avro_type).format


def _condition(schema: Any) -> str:
    """Return a template of the condition on values of a type, which is false for None."""
    match schema:
        case str():
            return _PRIMITIVES.get(schema, _NEVER)
        case {"type": "long", "logicalType": "timestamp-millis"}:
            return f"type({{0}}) is int and {FIRST_MS} <= {{0}} <= {LAST_MS}"
        case {"type": "long", "logicalType": "timestamp-micros"}:
            return _NEVER
        case {"type": str(primitive)}:
            return _PRIMITIVES.get(primitive, _NEVER)
    return _NEVER


def record_of(fields: list[FieldCheck]) -> Check:
    """Generate the check of a record with these fields."""
    keys = [field.name for field in fields]
    variables = [f"value{number}" for number in range(len(fields))]
    names: dict[str, Any] = {
        "Mismatch": Mismatch,
        "mismatch": mismatch,
        "keys": keys,
        "values_of": _values_of(keys),
    }
    source = [
        "def check(record):",
        "    if type(record) is not dict:",
        "        return mismatch('record', record)",
        f"    unchanged = len(record) == {len(fields)}",
        "    try:",
        f"        [{', '.join(variables)}] = values_of(record)",
        "    except KeyError:",
        f"        [{', '.join(variables)}] = map(record.get, keys)",
    ]
    for value, field in zip(variables, fields, strict=True):
        names[f"check_{value}"] = _full_check(field)
        source += [
            f"    if not ({field.fast_condition(value)}):",
            "        unchanged = False",
            f"        {value} = check_{value}(record)",
            f"        if type({value}) is Mismatch:",
            f"            return {value}.inside({field.name!r})",
        ]
    items = [f"{field.name!r}: {value}" for value, field in zip(variables, fields, strict=True)]
    source.append(f"    return record if unchanged else {{{', '.join(items)}}}")
    exec("\n".join(source), names)
    check: Check = names["check"]
    return check


def _values_of(keys: list[str]) -> Callable[[Fields], Sequence[Any]]:
    """Return a function that looks up all fields at once, a third faster than one by one."""
    return itemgetter(*keys) if len(keys) > 1 else lambda record: [record[key] for key in keys]


def _full_check(field: FieldCheck) -> Check:
    """Return a check of the field that takes the whole record."""
    name, check, absent, _ = field
    return lambda record: check(record[name]) if name in record else absent(record)
