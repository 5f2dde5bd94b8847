"""Backward compatibility of Avro schemas: a new schema has to read records of older ones.

The `avro` package decides. Its result does not say which field is the cause or what to do, so
incompatible schemas are searched for their smallest incompatible parts.
"""

import json
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import fastavro
from avro.compatibility import (
    ReaderWriterCompatibilityChecker,
    SchemaCompatibilityType,
    lookup_writer_field,
    schema_name_equals,
)
from avro.errors import AvroException, IgnoredLogicalType
from avro.schema import make_avsc_object
from fastavro.schema import SchemaParseException, UnknownType

_NAMED = ("record", "error", "enum", "fixed")


class Incompatibility(NamedTuple):
    """Reason why a schema cannot read records of an older version.

    Attributes:
        version: number of the older version, from 1.
        field: path such as `address.street` or `items[]`, empty for the whole record.
        reason: difference between the schemas.
        remedy: change that makes the new schema compatible.
    """

    version: int
    field: str
    reason: str
    remedy: str


def incompatibilities(new: str, versions: Sequence[str]) -> list[Incompatibility]:
    """Return every incompatibility of a schema with older versions.

    Args:
        new: schema as JSON.
        versions: older schemas as JSON, oldest first.

    Raises:
        ValueError: a schema is not valid.
    """
    reader = _parse(new, "the new schema", defaults=True)
    return [
        Incompatibility(number, *problem)
        for number, version in enumerate(versions, 1)
        for problem in _search(reader, _parse(version, f"version {number}"))
    ]


def _parse(text: str, name: str, *, defaults: bool = False) -> Any:
    """Parse a schema for the `avro` package, with all names in full.

    Args:
        defaults: True if defaults must fit their types.
    """
    try:
        full = fastavro.parse_schema(
            json.loads(text), _write_hint=False, _ignore_default_error=not defaults
        )
        tree = json.loads(json.dumps(full), object_hook=_in_full)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IgnoredLogicalType)
            return make_avsc_object(tree)
    except (
        SchemaParseException,
        UnknownType,
        AvroException,
        ValueError,
        TypeError,
        KeyError,
    ) as error:
        raise ValueError(f"{name} is not valid Avro: {error}") from None


def _in_full(node: dict[str, Any]) -> dict[str, Any]:
    """Add the namespace to aliases: the `avro` package does not apply it to them."""
    if "aliases" in node and node.get("type") in _NAMED:
        namespace, dot, _ = node["name"].rpartition(".")
        node["aliases"] = [
            alias if "." in alias else namespace + dot + alias for alias in node["aliases"]
        ]
    return node


def _fits(reader: Any, writer: Any) -> bool:
    result = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)
    return bool(result.compatibility is SchemaCompatibilityType.compatible)


Finding = tuple[str, str, str]
"""Field, reason and remedy."""


def _search(reader: Any, writer: Any) -> list[Finding]:
    return list(dict.fromkeys(_Search().between(reader, writer, "")))


class _Search:
    """Descends into two schemas while they are incompatible, into each pair of types once."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def between(self, reader: Any, writer: Any, path: str, was: str = "was") -> Iterator[Finding]:
        pair = (id(reader), id(writer))
        if pair in self._seen or _fits(reader, writer):
            return
        self._seen.add(pair)
        match reader.type, writer.type:
            case _, "union":
                for branch in writer.schemas:
                    yield from self.between(reader, branch, path, "could be")
            case "union", _:
                yield from self._branch(reader, writer, path)
            case ("record" | "error" | "enum" | "fixed", same) if same == reader.type:
                yield from self._named(reader, writer, path)
            case "array", "array":
                yield from self.between(reader.items, writer.items, f"{path}[]")
            case "map", "map":
                yield from self.between(reader.values, writer.values, f"{path}{{}}")
            case _:
                yield (
                    path,
                    f"it {was} {_shown(writer)} and is {_shown(reader)}",
                    _keep(path, writer),
                )

    def _branch(self, reader: Any, writer: Any, path: str) -> Iterator[Finding]:
        """Yield the incompatibilities with the matching branch, else with the whole union."""
        alike = [branch for branch in reader.schemas if branch.type == writer.type]
        meant = [
            branch
            for branch in alike
            if writer.type not in _NAMED or schema_name_equals(branch, writer)
        ]
        if meant:
            yield from self.between(meant[0], writer, path)
        else:
            yield path, f"it could be {_shown(writer)} and is {_shown(reader)}", _keep(path, writer)

    def _named(self, reader: Any, writer: Any, path: str) -> Iterator[Finding]:
        if not schema_name_equals(reader, writer):
            yield (
                path,
                f"{writer.type} {writer.name} is called {reader.name}",
                f"Rename it to {writer.name}",
            )
        elif reader.type == "enum":
            lost = [symbol for symbol in writer.symbols if symbol not in reader.symbols]
            yield path, f"enum {reader.name} lacks {', '.join(lost)}", "Add these symbols again"
        elif reader.type == "fixed":
            yield (
                path,
                f"it had {writer.size} bytes and has {reader.size}",
                f"Keep {writer.size} bytes",
            )
        else:
            yield from self._fields(reader, writer, path)

    def _fields(self, reader: Any, writer: Any, path: str) -> Iterator[Finding]:
        for field in reader.fields:
            name = f"{path}.{field.name}" if path else field.name
            before = lookup_writer_field(writer, field)
            if before is not None:
                yield from self.between(field.type, before.type, name)
            elif not field.has_default:
                yield name, "it is new and has no default", "Give it a default"


def _keep(path: str, writer: Any) -> str:
    field = path.rpartition(".")[2].rstrip("[]{}")
    return (
        f"Also allow {_shown(writer)} for {field or 'it'}, "
        "or add another field with a default instead"
    )


def _shown(schema: Any) -> str:
    match schema.type:
        case "union":
            return " | ".join(map(_shown, schema.schemas))
        case "array":
            return f"array of {_shown(schema.items)}"
        case "map":
            return f"map of {_shown(schema.values)}"
        case "record" | "error" | "enum" | "fixed":
            return f"{schema.type} {schema.name}"
    return str(schema.type)
