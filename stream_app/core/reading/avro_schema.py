"""Traversal of Avro schemas: named types, recursion and unions, shared by all compilers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SchemaCompiler(ABC, Generic[T]):
    """Turns a schema, given as parsed JSON, into a `T` made from the parts of its types.

    Subclasses define one method for each kind of type; the parts of inner types are arguments.

    Attributes:
        named: compiled named types by full name, `incomplete` while one is being compiled.
    """

    primitives: Mapping[str, T]
    incomplete: T

    def __init__(self) -> None:
        self.named: dict[str, T] = {}

    def compile(self, schema: Any, namespace: str = "") -> T:
        """Compile a schema whose names are relative to a namespace.

        Raises:
            ValueError: the schema is not valid, or the target cannot represent it.
            KeyError, TypeError, AttributeError, RecursionError: the schema is not valid.
        """
        if isinstance(schema, str):
            primitive = self.primitives.get(schema)
            return self._resolve(schema, namespace) if primitive is None else primitive
        if isinstance(schema, list):
            return self.union(schema, [self.compile(branch, namespace) for branch in schema])
        if not isinstance(schema, Mapping):
            raise ValueError(f"a type cannot be written as {type(schema).__name__}")
        match schema.get("type"):
            case "array":
                return self.array(self.compile(schema["items"], namespace))
            case "map":
                return self.map(self.compile(schema["values"], namespace))
            case "record" | "error" | "enum" | "fixed":
                return self._define(schema, namespace)
            case "long" if isinstance(logical_type := schema.get("logicalType"), str):
                timestamp = self.timestamp(logical_type)
                return self.primitives["long"] if timestamp is None else timestamp
            case inner:
                return self.compile(inner, namespace)

    def _resolve(self, name: str, namespace: str) -> T:
        full_name = _full_name(name, namespace)
        if full_name not in self.named:
            raise ValueError(f"type {name} is not known")
        return self.reference(full_name)

    def _define(self, schema: Mapping[str, Any], outer: str) -> T:
        name = schema["name"]
        namespace = name.rpartition(".")[0] if "." in name else schema.get("namespace", outer)
        full_name = _full_name(name, namespace)
        if full_name in self.named:
            raise ValueError(f"type {name} is defined twice")
        self.named[full_name] = self.incomplete
        match schema["type"]:
            case "enum":
                compiled = self.enum(schema)
            case "fixed":
                compiled = self.fixed(schema)
            case _:
                types = [self.compile(field["type"], namespace) for field in schema["fields"]]
                compiled = self.record(schema, types)
        self.named[full_name] = compiled
        return compiled

    @abstractmethod
    def reference(self, full_name: str) -> T:
        """Return the part of a type in `named`, which is `incomplete` if it contains itself."""

    @abstractmethod
    def timestamp(self, logical_type: str) -> T | None:
        """Return the part of a `long` with a logical type, or None to treat it as a `long`."""

    @abstractmethod
    def union(self, schema: Sequence[Any], branches: list[T]) -> T:
        """Return the part of a union."""

    @abstractmethod
    def array(self, items: T) -> T:
        """Return the part of an array."""

    @abstractmethod
    def map(self, values: T) -> T:
        """Return the part of a map."""

    @abstractmethod
    def record(self, schema: Mapping[str, Any], types: list[T]) -> T:
        """Return the part of a record, given those of its fields' types."""

    @abstractmethod
    def enum(self, schema: Mapping[str, Any]) -> T:
        """Return the part of an enum."""

    @abstractmethod
    def fixed(self, schema: Mapping[str, Any]) -> T:
        """Return the part of a `fixed`."""


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"
