"""The checks that a compiled schema is made of: each takes a value and gives the validated value or a `Mismatch`."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from stream_app.core.times import epoch_milliseconds

MISSING = "missing"
_JSON_NAMES = {
    type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object",
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
    return Mismatch(expected, _JSON_NAMES.get(type(value), type(value).__name__))


def never(value: Any) -> Any:
    return wrong("a type that is complete", value)


def _null(value: Any) -> Any:
    return None if value is None else wrong("null", value)


def _boolean(value: Any) -> Any:
    return value if type(value) is bool else wrong("boolean", value)


def _string(value: Any) -> Any:
    return value if type(value) is str else wrong("string", value)


def _integer(name: str, limit: int) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not int:
            return wrong(name, value)
        return value if -limit <= value < limit else Mismatch(name, "integer out of range")

    return check


def _number(name: str, limit: float) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not float and type(value) is not int:
            return wrong(name, value)
        return float(value) if -limit <= value <= limit else Mismatch(name, "number out of range")

    return check


def timestamp(per_millisecond: int) -> Check:
    def check(value: Any) -> Any:
        time = epoch_milliseconds(value // per_millisecond if type(value) is int else value)
        return wrong("timestamp (ISO 8601 with offset, or integer)", value) if time is None else time

    return check


def text(name: str, fits: Callable[[str], bool]) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not str:
            return wrong(name, value)
        return value if fits(value) else Mismatch(name, "string that does not fit")

    return check


def is_latin_1(text: str) -> bool:
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


def record_of(entries: list[tuple[str, Check, Callable[[], Any]]]) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not dict:
            return wrong("record", value)
        result = {}
        for name, inner, default in entries:
            item = inner(value[name]) if name in value else default()
            if type(item) is Mismatch:
                return item.inside(name)
            result[name] = item
        return result

    return check


PRIMITIVES: dict[str, Check] = {
    "null": _null,
    "boolean": _boolean,
    "string": _string,
    "bytes": text("bytes", is_latin_1),
    "int": _integer("int", 2**31),
    "long": _integer("long", 2**63),
    "float": _number("float", 3.4028234663852886e38),
    "double": _number("double", sys.float_info.max),
}
