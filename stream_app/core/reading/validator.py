"""Validation against an Avro schema, compiled once into closures.

Numbers: a boolean is no number; `int` and `long` take integers of 32 and 64 bits; `float` and `double` take any finite
number in range and give a float. `bytes` and `fixed` are text of code points up to 255, as in Avro's JSON encoding, and
stay text; bytes, which only Avro has, become that. `timestamp-millis` and `timestamp-micros` take an integer of that
unit, an `Instant`, or ISO 8601 text with offset, and always give epoch milliseconds. Other logical types are their
underlying type. A union takes its first branch that fits; an enum takes its default, if it has one, for a symbol that
it does not know. A missing field is looked for under its aliases, then gets its default; fields that are not in the
schema are dropped.
"""

from collections.abc import Callable, Mapping
from typing import Any

from stream_app.core.reading import validator_checks
from stream_app.core.reading.validator_checks import Check, Mismatch
from stream_app.core.reading.validator_codegen import Field, record_of, shortcut
from stream_app.records import Failure, Fields

Validator = Callable[[Fields], Fields | Failure]


def compile_validator(schema: Mapping[str, Any], time_field: str = "") -> Validator:
    """Make the validator of a record schema.

    It gives a new record or a Failure: `missing-field`, `not-finite`, `wrong-type`, and `event-time-invalid` for a
    wrong type of `time_field`. Raises ValueError for a schema that it cannot check, or a default that does not fit its
    field.

    >>> validate = compile_validator({"type": "record", "name": "R", "fields": [{"name": "x", "type": "double"}]})
    >>> validate({"x": 1, "y": 2})
    {'x': 1.0}
    >>> validate({"x": "one"}).message
    'field x: expected double, got string'
    """
    if not isinstance(schema, Mapping) or schema.get("type") != "record":
        raise ValueError("the schema is not a record")
    check = _ValidatorCompiler().compile(schema, "")

    def validate(fields: Fields) -> Fields | Failure:
        try:
            result: Fields | Mismatch = check(fields)
        except RecursionError:
            return Failure("wrong-type", "the record is nested too deeply")
        return _failure(result, time_field) if isinstance(result, Mismatch) else result

    return validate


def _failure(mismatch: Mismatch, time_field: str) -> Failure:
    path = ".".join(mismatch.path).replace(".[]", "[]")
    if mismatch.actual == validator_checks.MISSING:
        return Failure("missing-field", f"field {path} is missing")
    if mismatch.actual == validator_checks.NOT_FINITE:
        return Failure("not-finite", f"field {path} is {validator_checks.NOT_FINITE}")
    code = "event-time-invalid" if mismatch.path == (time_field,) else "wrong-type"
    return Failure(code, f"field {path}: expected {mismatch.expected}, got {mismatch.actual}")


class _ValidatorCompiler:
    """Turns a schema into a check; knows the named types met so far, so that a record may contain itself."""

    def __init__(self) -> None:
        self._named: dict[str, Check] = {}

    def compile(self, schema: Any, namespace: str) -> Check:
        if isinstance(schema, str):
            return self._by_name(schema, namespace)
        if isinstance(schema, list):
            return self._union(schema, namespace)
        if not isinstance(schema, Mapping):
            raise ValueError(f"a type cannot be written as {type(schema).__name__}")
        if (
            schema.get("logicalType") in ("timestamp-millis", "timestamp-micros")
            and schema.get("type") == "long"
        ):
            return validator_checks.timestamp(
                1 if schema["logicalType"] == "timestamp-millis" else 1000
            )
        match schema.get("type"):
            case "record" | "enum" | "fixed":
                return self._define(schema, namespace)
            case "array":
                return validator_checks.array_of(self.compile(schema["items"], namespace))
            case "map":
                return validator_checks.map_of(self.compile(schema["values"], namespace))
            case inner:
                return self.compile(inner, namespace)

    def _by_name(self, name: str, namespace: str) -> Check:
        if name in validator_checks.PRIMITIVES:
            return validator_checks.PRIMITIVES[name]
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        if full not in self._named:
            raise ValueError(f"type {name} is not known")
        return lambda value: self._named[full](value)  # looked up late: the type may contain itself

    def _define(self, schema: Mapping[str, Any], outer: str) -> Check:
        name = schema["name"]
        namespace = name.rpartition(".")[0] if "." in name else schema.get("namespace", outer)
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        self._named[full] = validator_checks.never
        match schema["type"]:
            case "record":
                check = record_of([self._field(field, namespace) for field in schema["fields"]])
            case "enum":
                check = validator_checks.enum(
                    name, frozenset(schema["symbols"]), schema.get("default")
                )
            case _:
                check = validator_checks.binary(
                    f"fixed of {schema['size']} bytes", schema["size"].__eq__
                )
        self._named[full] = check
        return check

    def _field(self, field: Mapping[str, Any], namespace: str) -> Field:
        name, check = field["name"], self.compile(field["type"], namespace)
        absent = _absent(name, check, field)
        aliases = field.get("aliases", [])
        if not aliases:
            return Field(name, check, absent, shortcut(field))

        def renamed(record: Fields) -> Any:
            alias = next((alias for alias in aliases if alias in record), None)
            return absent(record) if alias is None else check(record[alias])

        return Field(name, check, renamed, shortcut(field))

    def _union(self, schema: list[Any], namespace: str) -> Check:
        branches = {_name(branch): self.compile(branch, namespace) for branch in schema}
        others = [check for name, check in branches.items() if name != "null"]
        if len(others) == 1 and len(branches) == 2:
            return validator_checks.nullable(others[0])
        return validator_checks.any_of(list(branches.values()), " | ".join(branches))


def _absent(name: str, check: Check, field: Mapping[str, Any]) -> Check:
    """Gives the default, anew each time, or the mismatch that there is none."""
    if "default" not in field:
        return lambda _: Mismatch("", validator_checks.MISSING)
    default = field["default"]
    if isinstance(check(default), Mismatch):
        raise ValueError(f"the default of field {name} does not fit its type")
    return lambda _: check(default)


def _name(schema: Any) -> str:
    return schema if isinstance(schema, str) else str(schema.get("name", schema["type"]))
