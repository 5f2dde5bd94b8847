"""Avro schema of the fields that scored records carry because of `pass_through`."""

from collections.abc import Iterator, Mapping
from typing import Any

from stream_app.declaration.requirements import field_types
from stream_app.errors import PipelineError
from stream_app.pipeline import Pipeline, parsed

# Namespace of types that the event's schema declares in none, or in that of our own schemas.
_NAMESPACE = "stream_app.fields"
_RESERVED = ("", "stream_app")

_NAMED = ("record", "enum", "fixed")


def passed_schema(pipeline: Pipeline) -> dict[str, Any]:
    """Return the Avro record of the passed fields of a loaded pipeline.

    Each field has its type in the event's schema, or is null: so records that were written before
    a field was declared can be read. Named types are defined where they are first used.

    Raises:
        PipelineError: a field contains itself, or two named types would get the same name.
    """
    schema = parsed(pipeline.schema)
    definitions = _Definitions(schema)
    namespace = _inner_namespace(schema, "")
    fields = {field["name"]: field for field in schema["fields"]}
    record = {
        "type": "record",
        "name": "Fields",
        "namespace": "stream_app",
        "doc": "Fields of the event that the pipeline's pass_through names.",
        "fields": [
            _nullable(fields[name], definitions.define(fields[name]["type"], namespace, (), name))
            for name in pipeline.pass_through
        ],
    }
    field_types("the schema of pass_through", record)
    return record


def _nullable(field: Mapping[str, Any], schema: Any) -> dict[str, Any]:
    branches = schema if isinstance(schema, list) else [schema]
    others = [branch for branch in branches if branch not in ("null", {"type": "null"})]
    return {**field, "type": ["null", *others], "default": None}


class _Definitions:
    """Named types of a schema, by full name; each is written out where it is first used."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._all = dict(_named_types(schema, ""))
        self._defined: set[str] = set()

    def define(self, schema: Any, namespace: str, enclosing: tuple[str, ...], field: str) -> Any:
        """Return a type that depends on no definition outside of the passed fields.

        Args:
            schema: type in the event's schema.
            namespace: namespace to which names in it are relative.
            enclosing: full names of the records that contain the type.
            field: passed field, for messages.
        """
        if isinstance(schema, str):
            full_name = _full_name(schema, namespace)
            if full_name not in self._all:
                return schema
            return self._named(full_name, *self._all[full_name], enclosing, field)
        if isinstance(schema, list):
            return [self.define(branch, namespace, enclosing, field) for branch in schema]
        if schema["type"] in _NAMED:
            full_name = _full_name(schema["name"], schema.get("namespace", namespace))
            return self._named(full_name, schema, namespace, enclosing, field)
        for part in ("items", "values"):
            if part in schema:
                return {**schema, part: self.define(schema[part], namespace, enclosing, field)}
        return {**schema, "type": self.define(schema["type"], namespace, enclosing, field)}

    def _named(
        self,
        full_name: str,
        schema: Mapping[str, Any],
        namespace: str,
        enclosing: tuple[str, ...],
        field: str,
    ) -> Any:
        if full_name in enclosing:
            raise PipelineError(
                f"pass_through {field!r} contains itself, so its size has no bound",
                "Pass other fields",
            )
        own, _, name = full_name.rpartition(".")
        own = _NAMESPACE if own in _RESERVED else own
        if full_name in self._defined:
            return f"{own}.{name}"
        self._defined.add(full_name)
        definition = {**schema, "name": name, "namespace": own}
        if schema["type"] == "record":
            inner, outer = _inner_namespace(schema, namespace), (*enclosing, full_name)
            definition["fields"] = [
                {**one, "type": self.define(one["type"], inner, outer, field)}
                for one in schema["fields"]
            ]
        return definition


def _named_types(schema: Any, namespace: str) -> Iterator[tuple[str, tuple[Any, str]]]:
    """Yield each named type of a schema: its full name, the type and the namespace around it."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _named_types(branch, namespace)
    elif isinstance(schema, Mapping):
        inner = namespace
        if schema["type"] in _NAMED:
            yield (
                _full_name(schema["name"], schema.get("namespace", namespace)),
                (schema, namespace),
            )
            inner = _inner_namespace(schema, namespace)
        for part in ("type", "items", "values"):
            yield from _named_types(schema.get(part), inner)
        for field in schema.get("fields", ()):
            yield from _named_types(field["type"], inner)


def _inner_namespace(schema: Mapping[str, Any], namespace: str) -> str:
    """Return the namespace to which names inside a named type are relative."""
    full_name: str = _full_name(schema["name"], schema.get("namespace", namespace))
    return full_name.rpartition(".")[0]


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"
