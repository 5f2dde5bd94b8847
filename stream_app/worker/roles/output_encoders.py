"""Encoders of a worker's public outputs: JSON, or Avro with the ids of the schema registry."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from stream_app.errors import RegistryError
from stream_app.pipeline import Pipeline
from stream_app.records import Fields, Output
from stream_app.retrying import NEVER, retry_until
from stream_app.schema_registry import SchemaRegistry
from stream_app.schema_registry.registry import (
    NotRegisteredError,
    bundled_schema,
    scored_schema,
    value_schema_id,
)
from stream_app.schema_registry.schema_cache import SchemaCache
from stream_app.telemetry.logs import get_logger
from stream_app.topic_kinds import topic_name

log = get_logger(__name__)

RETRY_SECONDS = 1.0

Encode = Callable[[Fields], bytes]


class OutputEncoders:
    """Encoders of `<p>.scored` and `<p>.monitoring`: JSON, or Avro after `use_avro`.

    Attributes:
        scored: encoder of scored records.
        monitoring: encoder of measurements.
        problem: reason why they are not ready yet, or None.
    """

    def __init__(self) -> None:
        self.scored: Encode = orjson.dumps
        self.monitoring: Encode = orjson.dumps
        self.problem: str | None = None

    def use_avro(self, pipeline: Pipeline, registry: SchemaRegistry, schemas: SchemaCache) -> None:
        """Look up the schema ids. Blocks until the registry answers.

        Args:
            pipeline: loaded pipeline.
            registry: schema registry that has the schemas.
            schemas: receives the schemas, so that the worker can read its own records.

        Raises:
            NotRegisteredError: a schema is not registered.
        """

        scored = topic_name(pipeline.name, "scored")
        monitoring = topic_name(pipeline.name, "monitoring")

        def look_up() -> tuple[Encode, Encode]:
            return (
                _avro_encoder(scored, scored_schema(pipeline), registry, schemas),
                _avro_encoder(monitoring, bundled_schema("monitoring"), registry, schemas),
            )

        self.scored, self.monitoring = retry_until(
            NEVER, look_up, RegistryError, self._is_retriable, RETRY_SECONDS
        )
        self.problem = None

    def _is_retriable(self, error: RegistryError) -> bool:
        if isinstance(error, NotRegisteredError):
            return False
        problem = f"waiting for the schema registry: {error.message}"
        if problem != self.problem:
            log.warning("waiting for the schema registry", why=str(error))
        self.problem = problem
        return True


def encode_measurements(outputs: list[Output], encode: Encode) -> list[Output]:
    """Return the outputs with their measurements encoded; the core makes them as JSON."""
    if encode is orjson.dumps:
        return outputs
    return [
        output._replace(value=encode(orjson.loads(output.value or b"")))
        if output.topic == "monitoring"
        else output
        for output in outputs
    ]


def _avro_encoder(
    topic: str, schema: Mapping[str, Any], registry: SchemaRegistry, schemas: SchemaCache
) -> Encode:
    # Imports fastavro, which JSON does not need.
    from stream_app.core.reading.avro_writer import compile_writer

    schema_id = value_schema_id(registry, topic, schema)
    schemas.add(schema_id, json.dumps(schema))
    return compile_writer(schema, schema_id)
