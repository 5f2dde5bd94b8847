"""Reading Avro records with the schema that they were written with, which is compiled once.

The bytes are anybody's, and so this is stricter than the usual readers are: a length is held against the bytes that are
left before anything is made of it, nothing may be left over, and records inside records end at Python's own limit.
"""

from collections.abc import Callable, Mapping
from struct import error as StructError  # noqa: N812 -- it is an exception
from typing import Any

from stream_app.core.reading import avro_types as types
from stream_app.core.reading.avro_types import Read
from stream_app.core.reading.event_time import INSTANTS
from stream_app.records import Failure, Fields

Reader = Callable[[bytes, int], Fields | Failure]
"""Takes the bytes and where in them the record begins; they must end with it."""


def compile_reader(schema: Any) -> Reader:
    """Make the reader of a record schema, which is parsed JSON; ValueError says why it cannot be one.

    Values are as JSON has them, but `bytes` and `fixed` give bytes, and a timestamp is an `Instant`. Other logical
    types are their underlying type. The only failure is `invalid-avro`.

    >>> compile_reader({"type": "record", "name": "R", "fields": [{"name": "x", "type": "int"}]})(b"\\x08", 0)
    {'x': 4}
    """
    if not isinstance(schema, Mapping) or schema.get("type") not in ("record", "error"):
        raise ValueError("it is not a record")
    try:
        read = _ReaderCompiler().compile(schema, "")
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("it is not valid Avro") from None

    def read_all(data: bytes, start: int) -> Fields | Failure:
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
        return (
            fields
            if end == len(data)
            else Failure("invalid-avro", "there are bytes behind the record")
        )

    return read_all


class _ReaderCompiler:
    """Turns a schema into a `Read`; knows the named types met so far, so that a record may contain itself."""

    def __init__(self) -> None:
        self._named: dict[str, Read] = {}

    def compile(self, schema: Any, namespace: str) -> Read:
        if isinstance(schema, str):
            return types.PRIMITIVES.get(schema) or self._by_name(schema, namespace)
        if isinstance(schema, list):
            return types.union_of([self.compile(branch, namespace) for branch in schema])
        match schema["type"]:
            case "long" if schema.get("logicalType") in INSTANTS:
                return types.instant(INSTANTS[schema["logicalType"]])
            case "array":
                return types.array_of(self.compile(schema["items"], namespace))
            case "map":
                return types.map_of(self.compile(schema["values"], namespace))
            case "record" | "error" | "enum" | "fixed":
                return self._define(schema, namespace)
            case inner:
                return self.compile(inner, namespace)

    def _by_name(self, name: str, namespace: str) -> Read:
        full = _full(name, namespace)
        if full not in self._named:
            raise ValueError(f"type {name} is not known")
        read = self._named[full]
        if read is not types.incomplete:
            return read
        return lambda data, at: self._named[full](
            data, at
        )  # looked up late: the type contains itself

    def _define(self, schema: Mapping[str, Any], outer: str) -> Read:
        name = schema["name"]
        namespace = name.rpartition(".")[0] if "." in name else schema.get("namespace", outer)
        full = _full(name, namespace)
        if full in self._named:
            raise ValueError(f"type {name} is defined twice")
        self._named[full] = types.incomplete
        match schema["type"]:
            case "enum":
                read = types.enum(schema["symbols"])
            case "fixed":
                read = types.fixed(schema["size"])
            case _:
                fields = schema["fields"]
                read = types.record_of(
                    [(field["name"], self.compile(field["type"], namespace)) for field in fields]
                )
        self._named[full] = read
        return read


def _full(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"
