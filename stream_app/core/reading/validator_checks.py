"""The checks that a compiled schema is made of: each takes a value and gives the validated value or a `Mismatch`."""

import sys
from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple

from stream_app.core.reading.event_time import Instant, epoch_milliseconds

MISSING = "missing"
NOT_FINITE = "a number that is not finite"
FLOAT_MAX = 3.4028234663852886e38
_NAMES = {
    type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object",
    **dict.fromkeys(Instant.__subclasses__(), "integer"),
}  # fmt: skip


class Mismatch(NamedTuple):
    """Where a value does not fit its type: types only, never the value itself nor the key of a map."""

    expected: str
    actual: str
    path: tuple[str, ...] = ()

    def inside(self, name: str) -> "Mismatch":
        """The same, seen from the container."""
        return self._replace(path=(name, *self.path))


Check = Callable[[Any], Any]
"""Takes a value, gives the validated value or a `Mismatch`."""


def wrong(expected: str, value: Any) -> Mismatch:
    if type(value) is float and not _is_finite(value):
        return Mismatch(expected, NOT_FINITE)
    return Mismatch(expected, _NAMES.get(type(value), type(value).__name__))


def _is_finite(value: float) -> bool:
    return -inf < value < inf


def never(value: Any) -> Any:
    return wrong("a type that is complete", value)


def _null(value: Any) -> Any:
    return None if value is None else wrong("null", value)


def _boolean(value: Any) -> Any:
    return value if type(value) is bool else wrong("boolean", value)


def _string(value: Any) -> Any:
    if type(value) is str:
        return value
    if type(value) is not bytes:
        return wrong("string", value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Mismatch("string", "bytes that are not UTF-8")


def _integer(name: str, limit: int) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not int:
            if not isinstance(value, Instant):
                return wrong(name, value)
            value = int(value)
        return value if -limit <= value < limit else Mismatch(name, "integer out of range")

    return check


def _number(name: str, limit: float) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not float and type(value) is not int and not isinstance(value, Instant):
            return wrong(name, value)
        if -limit <= value <= limit:
            return float(value)
        return Mismatch(name, "number out of range" if _is_finite(value) else NOT_FINITE)

    return check


def timestamp(per_millisecond: int) -> Check:
    def check(value: Any) -> Any:
        if type(value) is int:
            time = epoch_milliseconds(value // per_millisecond)
        elif isinstance(value, Instant):
            time = epoch_milliseconds(value // value.per_millisecond)
        else:
            time = epoch_milliseconds(value)
        return (
            wrong("timestamp (ISO 8601 with offset, or integer)", value) if time is None else time
        )

    return check


def text(name: str, fits: Callable[[str], bool]) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not str:
            return wrong(name, value)
        return value if fits(value) else Mismatch(name, "string that does not fit")

    return check


def enum(name: str, symbols: frozenset[str], default: str | None) -> Check:
    check = text(f"enum {name}", symbols.__contains__)
    if default is None:
        return check
    return lambda value: default if type(value) is str and value not in symbols else check(value)


def binary(name: str, fits: Callable[[int], bool] = lambda _: True) -> Check:
    """Text of code points up to 255, or bytes; `fits` judges how many there are."""
    check = text(name, lambda text: fits(len(text)) and _is_latin_1(text))
    return lambda value: check(value.decode("latin-1") if type(value) is bytes else value)


def _is_latin_1(text: str) -> bool:
    return text.isascii() or max(text) <= "\xff"


def nullable(inner: Check) -> Check:
    return lambda value: None if value is None else inner(value)


def any_of(checks: list[Check], expected: str) -> Check:
    def check(value: Any) -> Any:
        for branch in checks:
            result = branch(value)
            if type(result) is not Mismatch:
                return result
        return wrong(expected, value)

    return check


def array_of(inner: Check) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not list:
            return wrong("array", value)
        items = [inner(item) for item in value]
        return next((item.inside("[]") for item in items if type(item) is Mismatch), items)

    return check


def map_of(inner: Check) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not dict:
            return wrong("map", value)
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
    "double": _number("double", sys.float_info.max),
}
