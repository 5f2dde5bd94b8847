"""Compiles Avro schemas into readers of binary records.

The bytes come from outside. Readers are therefore stricter than usual ones: a length is compared
with the remaining bytes before anything is allocated, no bytes may be left over, and nested
records are limited by Python's recursion limit. Time and memory are proportional to the bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812  # an exception class
from typing import Any

from stream_app.core.reading.avro_decimals import MAX_BYTES, decimal_type
from stream_app.core.reading.avro_schema import SchemaCompiler
from stream_app.core.reading.avro_timestamps import TIMESTAMP_TYPES
from stream_app.records import Failure, Fields

AvroReader = Callable[[bytes, int], Fields | Failure]
"""Reads the record that begins at a position of the bytes and ends with them."""

ReadValue = Callable[[bytes, int], tuple[Any, int]]
"""Reads the value at a position; returns it and the position after it.

Raises IndexError, struct.error or ValueError for bytes that are not of the type.
"""


def compile_reader(schema: Any) -> AvroReader:
    """Compile a record schema, given as parsed JSON, into a reader.

    Values have the types of JSON, except that `bytes` and `fixed` give bytes, decimals an
    `AvroDecimal`, and timestamps an `AvroTimestamp`. Other logical types are read as their
    underlying type. The only failure is `invalid-avro`.

    Raises:
        ValueError: the schema is not a valid record schema.

    >>> schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": "int"}]}
    >>> compile_reader(schema)(b"\\x08", 0)
    {'x': 4}
    """
    if not isinstance(schema, Mapping) or schema.get("type") not in ("record", "error"):
        raise ValueError("it is not a record")
    try:
        read = _ReaderCompiler().compile(schema)
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("it is not valid Avro") from None

    def read_record(data: bytes, start: int) -> Fields | Failure:
        fields: Fields
        try:
            fields, end = read(data, start)
        except (IndexError, StructError):
            return Failure("invalid-avro", "the value ends inside the record")
        except UnicodeDecodeError:
            return Failure("invalid-avro", "a string is not UTF-8")
        except ValueError as error:
            return Failure("invalid-avro", str(error))
        except RecursionError:
            return Failure("invalid-avro", "the record is nested too deeply")
        if end != len(data):
            return Failure("invalid-avro", "there are bytes after the record")
        return fields

    return read_record


class _Constant:
    """Reads a type that takes no bytes and therefore has a single value."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, data: bytes, at: int) -> tuple[Any, int]:
        return self.value, at


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


def _number(encoding: str) -> ReadValue:
    number = Struct(encoding)
    unpack, size = number.unpack_from, number.size
    return lambda data, at: (unpack(data, at)[0], at + size)


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Read a length, which does not exceed the remaining bytes."""
    length, at = _long(data, at)
    if not 0 <= length <= len(data) - at:
        raise ValueError("a length is negative or exceeds the value")
    return length, at


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = _length(data, at)
    return data[at : at + length], at + length


def _string(data: bytes, at: int) -> tuple[str, int]:
    length, at = _length(data, at)
    end = at + length
    return data[at:end].decode(), end


def _decimal(read: ReadValue, schema: Mapping[str, Any]) -> ReadValue:
    """Return the reader of a `bytes` or `fixed` that may be a decimal."""
    kind = decimal_type(schema)
    if kind is None:
        return read

    def read_decimal(data: bytes, at: int) -> tuple[bytes, int]:
        value, at = read(data, at)
        return kind(value) if len(value) <= MAX_BYTES else value, at

    return read_decimal


def _block_count(data: bytes, at: int) -> tuple[int, int]:
    """Read the number of items in a block; a negative one is followed by the block's length."""
    count, at = _long(data, at)
    if count < 0:
        _, at = _length(data, at)
    if abs(count) > len(data) - at:
        raise ValueError("a block has more items than there are bytes")
    return abs(count), at


def _incomplete(data: bytes, at: int) -> tuple[Any, int]:
    raise ValueError("the type is not complete")


class _ReaderCompiler(SchemaCompiler[ReadValue]):
    primitives: Mapping[str, ReadValue] = {
        "null": _Constant(None),
        "boolean": _boolean,
        "int": _int,
        "long": _long,
        "float": _number("<f"),
        "double": _number("<d"),
        "bytes": _bytes,
        "string": _string,
    }
    incomplete = staticmethod(_incomplete)

    def compile(self, schema: Any, namespace: str = "") -> ReadValue:
        read = super().compile(schema, namespace)
        is_bytes = isinstance(schema, Mapping) and schema.get("type") == "bytes"
        return _decimal(read, schema) if is_bytes else read

    def reference(self, full_name: str) -> ReadValue:
        named = self.named
        if named[full_name] is not _incomplete:
            return named[full_name]
        return lambda data, at: named[full_name](data, at)

    def timestamp(self, logical_type: str) -> ReadValue | None:
        kind = TIMESTAMP_TYPES.get(logical_type)
        if kind is None:
            return None

        def read(data: bytes, at: int) -> tuple[int, int]:
            number, at = _long(data, at)
            return kind(number), at

        return read

    def union(self, schema: Sequence[Any], branches: list[ReadValue]) -> ReadValue:
        def read(data: bytes, at: int) -> tuple[Any, int]:
            index, at = _long(data, at)
            if not 0 <= index < len(branches):
                raise ValueError("a union has no such branch")
            return branches[index](data, at)

        return read

    def array(self, items: ReadValue) -> ReadValue:
        if isinstance(items, _Constant):
            raise ValueError("the items of an array take no bytes, so their number is unlimited")

        def read(data: bytes, at: int) -> tuple[list[Any], int]:
            values: list[Any] = []
            count, at = _block_count(data, at)
            while count:
                for _ in range(count):
                    value, at = items(data, at)
                    values.append(value)
                count, at = _block_count(data, at)
            return values, at

        return read

    def map(self, values: ReadValue) -> ReadValue:
        def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
            entries: dict[str, Any] = {}
            count, at = _block_count(data, at)
            while count:
                for _ in range(count):
                    key, at = _string(data, at)
                    entries[key], at = values(data, at)
                count, at = _block_count(data, at)
            return entries, at

        return read

    def record(self, schema: Mapping[str, Any], types: list[ReadValue]) -> ReadValue:
        names = [field["name"] for field in schema["fields"]]
        if not all(isinstance(name, str) for name in names):
            raise ValueError("the name of a field is not text")
        fields = list(zip(names, types, strict=True))

        def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
            result = {}
            for name, read_field in fields:
                result[name], at = read_field(data, at)
            return result, at

        if all(isinstance(read_field, _Constant) for read_field in types):
            return _Constant(read(b"", 0)[0])
        return read

    def enum(self, schema: Mapping[str, Any]) -> ReadValue:
        symbols = schema["symbols"]
        if not all(isinstance(symbol, str) for symbol in symbols):
            raise ValueError("a symbol of an enum is not text")

        def read(data: bytes, at: int) -> tuple[str, int]:
            index, at = _long(data, at)
            if not 0 <= index < len(symbols):
                raise ValueError("an enum has no such symbol")
            return symbols[index], at

        return read

    def fixed(self, schema: Mapping[str, Any]) -> ReadValue:
        size = schema["size"]
        if type(size) is not int or size < 0:
            raise ValueError("the size of a fixed is not a number of bytes")

        def read(data: bytes, at: int) -> tuple[bytes, int]:
            end = at + size
            if end > len(data):
                raise IndexError
            return data[at:end], end

        return _decimal(read, schema) if size else _Constant(b"")
