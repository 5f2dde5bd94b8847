"""Interface of schema registries, the bundled schemas, and the schema of a pipeline's records."""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Literal, Protocol

from stream_app.core.reading.decoding import SchemaId
from stream_app.declaration.passed_schema import passed_schema
from stream_app.errors import RegistryError
from stream_app.pipeline import Pipeline

BundledSchemaName = Literal["scored", "monitoring", "example", "manifest", "label_outcome"]


class UnknownSchemaError(LookupError):
    """The registry has no Avro schema of the requested id."""


class ForeignSchemaError(UnknownSchemaError):
    """The registry has a schema of the requested id, and it is of another kind than Avro."""


class NotRegisteredError(RegistryError):
    """The registry answers, and the schema is not registered."""


class SchemaRegistry(Protocol):
    """Schemas by id and by subject.

    Every method may block, and raises `RegistryError` if the registry does not answer.
    """

    def schema(self, schema_id: SchemaId) -> str:
        """Return a schema as JSON.

        Raises:
            UnknownSchemaError: the registry has no Avro schema of this id.
        """

    def versions(self, subject: str) -> list[str]:
        """Return all schemas of a subject as JSON, oldest first; none for an unknown subject."""

    def lookup_id(self, subject: str, schema: str) -> int | None:
        """Return the id of exactly this schema, or None if it is not registered for the subject."""

    def register(self, subject: str, schema: str) -> int:
        """Register a schema as the newest version, unless it exists already; return its id."""


def value_schema_id(registry: SchemaRegistry, topic: str, schema: Mapping[str, Any]) -> int:
    """Return the id of the schema that the values of a topic are written with.

    Raises:
        NotRegisteredError: exactly this schema is not registered for the topic.
    """
    schema_id = registry.lookup_id(f"{topic}-value", json.dumps(schema))
    if schema_id is None:
        raise NotRegisteredError(
            f"The schema registry does not have the schema of {topic}",
            "Run `stream-app schemas register PIPELINE`",
        )
    return schema_id


def bundled_schema(name: BundledSchemaName) -> dict[str, Any]:
    """Return the Avro schema of `<pipeline>.scored`, `.monitoring`, `.examples` or `.models`.

    >>> bundled_schema("scored")["name"]
    'Scored'
    """
    schema: dict[str, Any] = json.loads(
        (files("stream_app") / "schemas" / f"{name}.avsc").read_text(encoding="utf-8")
    )
    return schema


def scored_schema(pipeline: Pipeline) -> dict[str, Any]:
    """Return the Avro schema of `<p>.scored`: the bundled one, and the typed passed fields.

    Without `pass_through` it is the bundled schema, which reads the other ones too.
    """
    schema = bundled_schema("scored")
    if not pipeline.pass_through:
        return schema
    field = {
        "name": "fields",
        "type": ["null", passed_schema(pipeline)],
        "default": None,
        "doc": "Fields that pass_through names, before cleaning.",
    }
    return {**schema, "fields": [*schema["fields"], field]}
