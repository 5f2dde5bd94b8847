"""The parts that a compiled Avro reader is made of: each reads one value.

They raise IndexError, struct.error or ValueError for bytes that are not of the type, never anything else, and take time
and memory only in proportion to the bytes.
"""

from collections.abc import Callable
from struct import Struct
from typing import Any

from stream_app.core.reading.event_time import Instant

Read = Callable[[bytes, int], tuple[Any, int]]
"""Takes the bytes and a place, gives the value there and the place behind it."""


class _Constant:
    """Reads a type that takes no bytes, which therefore has one value only."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, data: bytes, at: int) -> tuple[Any, int]:
        return self.value, at


def incomplete(data: bytes, at: int) -> tuple[Any, int]:
    raise ValueError("the type is not complete")


def _boolean(data: bytes, at: int) -> tuple[bool, int]:
    if data[at] > 1:
        raise ValueError("a boolean is neither 0 nor 1")
    return data[at] == 1, at + 1


def _long(data: bytes, at: int) -> tuple[int, int]:
    number = data[at]
    at += 1
    if number > 0x7F:
        number &= 0x7F
        shift = 7
        while (byte := data[at]) > 0x7F and shift < 63:
            number |= (byte & 0x7F) << shift
            shift += 7
            at += 1
        number |= byte << shift
        at += 1
        if number >> 64:
            raise ValueError("an integer has more than 64 bits")
    return (number >> 1) ^ -(number & 1), at


def _int(data: bytes, at: int) -> tuple[int, int]:
    number, at = _long(data, at)
    if not -(2**31) <= number < 2**31:
        raise ValueError("an int has more than 32 bits")
    return number, at


def instant(kind: type[Instant]) -> Read:
    def read(data: bytes, at: int) -> tuple[Instant, int]:
        number, at = _long(data, at)
        return kind(number), at

    return read


def _number(encoding: str) -> Read:
    number = Struct(encoding)
    unpack, size = number.unpack_from, number.size
    return lambda data, at: (unpack(data, at)[0], at + size)


def _size(data: bytes, at: int) -> tuple[int, int]:
    """A length, and the place behind it; the bytes are long enough."""
    size, at = _long(data, at)
    if not 0 <= size <= len(data) - at:
        raise ValueError("a length is negative or exceeds the value")
    return size, at


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _size(data, at)
    return data[at : at + size], at + size


def _string(data: bytes, at: int) -> tuple[str, int]:
    size, at = _size(data, at)
    end = at + size
    return data[at:end].decode(), end


def fixed(size: int) -> Read:
    if type(size) is not int or size < 0:
        raise ValueError("the size of a fixed is not a number of bytes")

    def read(data: bytes, at: int) -> tuple[bytes, int]:
        end = at + size
        if end > len(data):
            raise IndexError
        return data[at:end], end

    return read if size else _Constant(b"")


def enum(symbols: list[str]) -> Read:
    if not all(isinstance(symbol, str) for symbol in symbols):
        raise ValueError("a symbol of an enum is not text")

    def read(data: bytes, at: int) -> tuple[str, int]:
        index, at = _long(data, at)
        if not 0 <= index < len(symbols):
            raise ValueError("an enum has no such symbol")
        return symbols[index], at

    return read


def union_of(branches: list[Read]) -> Read:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        index, at = _long(data, at)
        if not 0 <= index < len(branches):
            raise ValueError("a union has no such branch")
        return branches[index](data, at)

    return read


def record_of(fields: list[tuple[str, Read]]) -> Read:
    if not all(isinstance(name, str) for name, _ in fields):
        raise ValueError("the name of a field is not text")

    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        result = {}
        for name, read_field in fields:
            result[name], at = read_field(data, at)
        return result, at

    if all(isinstance(read_field, _Constant) for _, read_field in fields):
        return _Constant(read(b"", 0)[0])
    return read


def array_of(item: Read) -> Read:
    if isinstance(item, _Constant):
        raise ValueError("the items of an array take no bytes, so that nothing limits their number")

    def read(data: bytes, at: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        count, at = _count(data, at)
        while count:
            for _ in range(count):
                value, at = item(data, at)
                items.append(value)
            count, at = _count(data, at)
        return items, at

    return read


def map_of(value: Read) -> Read:
    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        entries: dict[str, Any] = {}
        count, at = _count(data, at)
        while count:
            for _ in range(count):
                key, at = _string(data, at)
                entries[key], at = value(data, at)
            count, at = _count(data, at)
        return entries, at

    return read


def _count(data: bytes, at: int) -> tuple[int, int]:
    """How many items the block has that begins here; a negative count is followed by the block's length."""
    count, at = _long(data, at)
    if count < 0:
        _, at = _size(data, at)
    if abs(count) > len(data) - at:
        raise ValueError("a block has more items than there are bytes")
    return abs(count), at


PRIMITIVES: dict[str, Read] = {
    "null": _Constant(None),
    "boolean": _boolean,
    "int": _int,
    "long": _long,
    "float": _number("<f"),
    "double": _number("<d"),
    "bytes": _bytes,
    "string": _string,
}
