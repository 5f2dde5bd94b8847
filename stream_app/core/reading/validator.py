"""Compiles Avro schemas into validators of decoded records.

Python source is generated that tests common values without a call: each field has a *fast
condition*, true only if the record has the field and its check would return the value unchanged. If
it is false, the check decides. Fast conditions change the running time and nothing else.

A boolean is not a number. `int` and `long` accept integers of 32 and 64 bits. `float` and `double`
accept any finite number in range and give a float. `bytes` and `fixed` are text of code points up
to 255, as in Avro's JSON encoding; actual bytes are converted to it. `timestamp-millis`,
`-micros`, `-nanos` and `-seconds` accept an integer of that unit, an `AvroTimestamp`, or ISO 8601
text with an offset, and give Unix milliseconds; seconds may have a fraction. The same types with
`local-` before them take text without an offset for UTC. An `AvroDecimal` is a number for `float`
and `double`, for `int` and `long` if it is whole, and its digits for `string`. Other logical types
are validated as their underlying type.

A union takes the first branch that fits. An enum takes its default, if it has one, for an unknown
symbol. A missing field is looked up under its aliases, then gets its default. Fields that are not
in the schema are dropped. The others are in its order, because the last digit of a sum over all
fields depends on it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple

from stream_app.core.reading import validator_checks
from stream_app.core.reading.avro_schema import SchemaCompiler
from stream_app.core.reading.avro_timestamps import TIMESTAMP_TYPES
from stream_app.core.reading.event_time import FIRST_MS, LAST_MS
from stream_app.core.reading.validator_checks import (
    DOUBLE_MAX,
    FLOAT_MAX,
    MISSING,
    NOT_FINITE,
    Check,
    Mismatch,
    mismatch,
)
from stream_app.records import Failure, Fields

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
Validator = Callable[[Fields], Fields | Failure]


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
        case {"type": "long", "logicalType": str(other)} if other in TIMESTAMP_TYPES:
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
        "    try:",
        f"        [{', '.join(variables)}] = values_of(record)",
        "    except KeyError:",
        f"        [{', '.join(variables)}] = map(record.get, keys)",
    ]
    for value, field in zip(variables, fields, strict=True):
        names[f"check_{value}"] = _full_check(field)
        source += [
            f"    if not ({field.fast_condition(value)}):",
            f"        {value} = check_{value}(record)",
            f"        if type({value}) is Mismatch:",
            f"            return {value}.inside({field.name!r})",
        ]
    items = [f"{field.name!r}: {value}" for value, field in zip(variables, fields, strict=True)]
    source.append(f"    return {{{', '.join(items)}}}")
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


def compile_validator(
    schema: Mapping[str, Any],
    time_field: str = "",
    *,
    only: Collection[str] | None = None,
    origins: Mapping[str, str] = MappingProxyType({}),
) -> Validator:
    """Compile a record schema into a validator.

    A validator returns the validated record, or a Failure: `missing-field`, `not-finite`,
    `wrong-type`, or `event-time-invalid` for a wrong type of `time_field`.

    Args:
        schema: parsed schema.
        time_field: name of the field with the time.
        only: names of the fields that a record is validated for and has; None for all.
        origins: origins of fields, for messages, by name.

    Raises:
        ValueError: the schema cannot be validated against, or a default does not fit its field.

    >>> fields = [{"name": "x", "type": "double"}]
    >>> validate = compile_validator({"type": "record", "name": "R", "fields": fields})
    >>> validate({"x": 1, "y": 2})
    {'x': 1.0}
    >>> validate({"x": "one"}).message
    'field x: expected double, got string'
    """
    if not isinstance(schema, Mapping) or schema.get("type") != "record":
        raise ValueError("the schema is not a record")
    compiler = _ValidatorCompiler()
    if only is not None:
        compiler.restrict(schema, only)
    check = compiler.compile(schema)

    def validate(fields: Fields) -> Fields | Failure:
        try:
            result: Fields | Mismatch = check(fields)
        except RecursionError:
            return Failure("wrong-type", "the record is nested too deeply")
        if not isinstance(result, Mismatch):
            return result
        failure = _failure(result, time_field)
        origin = origins.get(result.path[0]) if result.path else None
        return (
            failure if origin is None else failure._replace(message=f"{failure.message} {origin}")
        )

    return validate


def _failure(mismatch: Mismatch, time_field: str) -> Failure:
    path = ".".join(mismatch.path).replace(".[]", "[]")
    if mismatch.actual == MISSING:
        return Failure("missing-field", f"field {path} is missing")
    if mismatch.actual == NOT_FINITE:
        return Failure("not-finite", f"field {path} is {NOT_FINITE}")
    code = "event-time-invalid" if mismatch.path == (time_field,) else "wrong-type"
    return Failure(code, f"field {path}: expected {mismatch.expected}, got {mismatch.actual}")


class _ValidatorCompiler(SchemaCompiler[Check]):
    primitives = validator_checks.PRIMITIVES
    incomplete = staticmethod(validator_checks.incomplete)

    def __init__(self) -> None:
        super().__init__()
        self._restricted: tuple[Mapping[str, Any], Collection[str]] | None = None

    def restrict(self, schema: Mapping[str, Any], only: Collection[str]) -> None:
        """Leave out the checks of all fields of a record schema but some."""
        self._restricted = schema, only

    def reference(self, full_name: str) -> Check:
        named = self.named
        if named[full_name] is not validator_checks.incomplete:
            return named[full_name]
        return lambda value: named[full_name](value)

    def timestamp(self, logical_type: str) -> Check | None:
        kind = TIMESTAMP_TYPES.get(logical_type)
        if kind is None:
            return None
        return validator_checks.timestamp(kind.unit, local=logical_type.startswith("local-"))

    def union(self, schema: Sequence[Any], branches: list[Check]) -> Check:
        by_name = dict(zip(map(_branch_name, schema), branches, strict=True))
        others = [check for name, check in by_name.items() if name != "null"]
        if len(others) == 1 and len(by_name) == 2:
            return validator_checks.nullable(others[0])
        return validator_checks.any_of(list(by_name.values()), " | ".join(by_name))

    def array(self, items: Check) -> Check:
        return validator_checks.array_of(items)

    def map(self, values: Check) -> Check:
        return validator_checks.map_of(values)

    def record(self, schema: Mapping[str, Any], types: list[Check]) -> Check:
        if schema["type"] == "error":
            raise ValueError("type error is not known")
        fields = list(zip(schema["fields"], types, strict=True))
        if self._restricted is not None and self._restricted[0] is schema:
            fields = [field for field in fields if field[0]["name"] in self._restricted[1]]
        return record_of([_field_check(*field) for field in fields])

    def enum(self, schema: Mapping[str, Any]) -> Check:
        symbols = frozenset(schema["symbols"])
        return validator_checks.enum(schema["name"], symbols, schema.get("default"))

    def fixed(self, schema: Mapping[str, Any]) -> Check:
        size = schema["size"]
        return validator_checks.binary(f"fixed of {size} bytes", size.__eq__)


def _field_check(field: Mapping[str, Any], check: Check) -> FieldCheck:
    absent = _absent(field, check)
    aliases = field.get("aliases", [])
    if not aliases:
        return FieldCheck(field["name"], check, absent, fast_condition(field))

    def find_alias(record: Fields) -> Any:
        alias = next((alias for alias in aliases if alias in record), None)
        return absent(record) if alias is None else check(record[alias])

    return FieldCheck(field["name"], check, find_alias, fast_condition(field))


def _absent(field: Mapping[str, Any], check: Check) -> Check:
    """Return a check that gives a new copy of the default, or the mismatch that there is none."""
    if "default" not in field:
        return lambda _: Mismatch("", MISSING)
    default = field["default"]
    if isinstance(check(default), Mismatch):
        raise ValueError(f"the default of field {field['name']} does not fit its type")
    return lambda _: check(default)


def _branch_name(schema: Any) -> str:
    return schema if isinstance(schema, str) else str(schema.get("name", schema["type"]))
