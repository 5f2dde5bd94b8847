"""Schema of the scored records of one pipeline."""

from typing import Any

from stream_app.declaration.passed_schema import passed_schema
from stream_app.pipeline import Pipeline
from stream_app.schema_registry.registry import bundled_schema


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
