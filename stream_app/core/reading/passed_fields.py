"""Fields of an event that its scored record carries, as they were before cleaning."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from stream_app.pipeline import Pipeline, parsed
from stream_app.records import Fields

PassFields = Callable[[Fields], Fields]
"""Returns the passed fields of a validated record."""

_SCALARS = frozenset(
    ("null", "boolean", "int", "long", "float", "double", "bytes", "string", "enum", "fixed")
)


def compile_pass_through(pipeline: Pipeline) -> PassFields | None:
    """Return the function that selects the fields named by `pass_through`, None if it names none.

    Arrays, maps and records are copied, because a step might change them in place.
    """
    names = pipeline.pass_through
    if not names:
        return None
    types = {field["name"]: field["type"] for field in parsed(pipeline.schema)["fields"]}
    if all(_is_scalar(types[name]) for name in names):
        return lambda fields: {name: fields[name] for name in names}
    return lambda fields: deepcopy({name: fields[name] for name in names})


def _is_scalar(schema: Any) -> bool:
    """Return True if all values of a type are immutable; False for a reference to a named type."""
    if isinstance(schema, list):
        return all(map(_is_scalar, schema))
    return _is_scalar(schema["type"]) if isinstance(schema, Mapping) else schema in _SCALARS
