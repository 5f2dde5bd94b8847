"""Checks that compiled validators are made of, one for each Avro type."""

from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple

from stream_app.core.reading.avro_decimals import AvroDecimal
from stream_app.core.reading.avro_timestamps import (
    SECONDS,
    AvroTimestamp,
    TimeUnit,
    likely_unit,
)
from stream_app.core.reading.event_time import time_problem, to_unix_ms, with_utc

MISSING = "missing"
NOT_FINITE = "a number that is not finite"
FLOAT_MAX = 3.4028234663852886e38
DOUBLE_MAX = 1.7976931348623157e308
_JSON_NAMES = {
    type(None): "null", bool: "boolean", int: "integer", float: "number",
    str: "string", list: "array", dict: "object",
    **dict.fromkeys(AvroTimestamp.__subclasses__(), "integer"),
}  # fmt: skip


class Mismatch(NamedTuple):
    """Value that does not fit its type.

    Contains names of types and fields only, never a value or a key of a map.
    """

    expected: str
    actual: str
    path: tuple[str, ...] = ()

    def inside(self, name: str) -> "Mismatch":
        """Return the mismatch with its path extended by the enclosing field."""
        return self._replace(path=(name, *self.path))


Check = Callable[[Any], Any]
"""Returns the validated value, or a `Mismatch`."""


def mismatch(expected: str, value: Any) -> Mismatch:
    """Return the mismatch of a value with the expected type."""
    if type(value) is float and not _is_finite(value):
        return Mismatch(expected, NOT_FINITE)
    return Mismatch(expected, _JSON_NAMES.get(type(value), type(value).__name__))


def _is_finite(value: float) -> bool:
    return -inf < value < inf


def incomplete(value: Any) -> Any:
    """Reject every value: placeholder of a type that is being compiled."""
    return mismatch("a type that is complete", value)


def _null(value: Any) -> Any:
    return None if value is None else mismatch("null", value)


def _boolean(value: Any) -> Any:
    return value if type(value) is bool else mismatch("boolean", value)


def _string(value: Any) -> Any:
    if type(value) is str:
        return value
    if isinstance(value, AvroDecimal):
        return str(value)
    if type(value) is not bytes:
        return mismatch("string", value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Mismatch("string", "bytes that are not UTF-8")


def _integer(name: str, limit: int) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not int:
            if isinstance(value, AvroDecimal):
                number = value.integer()
                return (
                    Mismatch(name, "decimal with a fraction") if number is None else check(number)
                )
            if not isinstance(value, AvroTimestamp):
                return mismatch(name, value)
            value = int(value)
        return value if -limit <= value < limit else Mismatch(name, "integer out of range")

    return check


def _number(name: str, limit: float) -> Check:
    def check(value: Any) -> Any:
        kind = type(value)
        if kind is not float and kind is not int and not isinstance(value, AvroTimestamp):
            if not isinstance(value, AvroDecimal):
                return mismatch(name, value)
            value = float(value)
        if -limit <= value <= limit:
            return float(value)
        return Mismatch(name, "number out of range" if _is_finite(value) else NOT_FINITE)

    return check


def timestamp(unit: TimeUnit, *, local: bool = False) -> Check:
    """Return the check of a timestamp.

    Args:
        unit: unit of integers; of seconds, numbers with a fraction are accepted too.
        local: True to read text without an offset as UTC.
    """

    def check(value: Any) -> Any:
        kind = type(value)
        if kind is int:
            time = to_unix_ms(unit.to_ms(value))
        elif isinstance(value, AvroTimestamp):
            time = to_unix_ms(value.unit.to_ms(value))
        elif kind is float and unit is SECONDS and _is_finite(value):
            time = to_unix_ms(round(value * 1000))
        else:
            time = to_unix_ms(with_utc(value) if local and kind is str else value)
        return _time_mismatch(value, getattr(value, "unit", unit)) if time is None else time

    return check


def _time_mismatch(value: Any, unit: TimeUnit) -> Mismatch:
    """Return the mismatch of a value that is no time, with the reason or its probable unit."""
    found = mismatch("timestamp (ISO 8601 with offset, or integer)", value)
    if type(value) is str:
        return found._replace(actual=f"string that {time_problem(value)}")
    if not isinstance(value, int) or type(value) is bool:
        return found
    likely = likely_unit(value) if type(value) is int else None
    if likely is not None and likely is not unit:
        return found._replace(
            actual=f"integer that seems to be in {likely.name}, not in {unit.name}"
        )
    return found._replace(actual=f"integer that {time_problem(unit.to_ms(value))}")


def _text(name: str, fits: Callable[[str], bool]) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not str:
            return mismatch(name, value)
        return value if fits(value) else Mismatch(name, "string that does not fit")

    return check


def enum(name: str, symbols: frozenset[str], default: str | None) -> Check:
    """Return the check of an enum; the default replaces unknown symbols."""
    check = _text(f"enum {name}", symbols.__contains__)
    if default is None:
        return check
    return lambda value: default if type(value) is str and value not in symbols else check(value)


def binary(name: str, fits: Callable[[int], bool] = lambda _: True) -> Check:
    """Return the check of bytes, or of text of code points up to 255, whose length `fits`."""
    check = _text(name, lambda text: fits(len(text)) and _is_latin_1(text))
    return lambda value: check(value.decode("latin-1") if isinstance(value, bytes) else value)


def _is_latin_1(text: str) -> bool:
    return text.isascii() or max(text) <= "\xff"


def nullable(inner: Check) -> Check:
    """Return the check of a union of null and one other type."""
    return lambda value: None if value is None else inner(value)


def any_of(checks: list[Check], expected: str) -> Check:
    """Return the check of a union, with the names of its branches in `expected`."""

    def check(value: Any) -> Any:
        for branch in checks:
            result = branch(value)
            if type(result) is not Mismatch:
                return result
        return mismatch(expected, value)

    return check


def array_of(inner: Check) -> Check:
    """Return the check of an array."""

    def check(value: Any) -> Any:
        if type(value) is not list:
            return mismatch("array", value)
        items = [inner(item) for item in value]
        return next((item.inside("[]") for item in items if type(item) is Mismatch), items)

    return check


def map_of(inner: Check) -> Check:
    """Return the check of a map."""

    def check(value: Any) -> Any:
        if type(value) is not dict:
            return mismatch("map", value)
        items = {key: inner(item) for key, item in value.items()}
        return next((item.inside("[]") for item in items.values() if type(item) is Mismatch), items)

    return check


PRIMITIVES: dict[str, Check] = {
    "null": _null,
    "boolean": _boolean,
    "string": _string,
    "bytes": binary("bytes"),
    "int": _integer("int", 2**31),
    "long": _integer("long", 2**63),
    "float": _number("float", FLOAT_MAX),
    "double": _number("double", DOUBLE_MAX),
}
