"""How a worker writes what others read: as JSON, or as Avro with the ids that the registry has."""

import json
from collections.abc import Callable
from time import sleep
from typing import Literal

import orjson

from stream_app.errors import RegistryError
from stream_app.kafka.topics import topic_name
from stream_app.records import Fields, Output
from stream_app.schema_registry import SchemaRegistry
from stream_app.schema_registry.bundled_schemas import packaged_schema
from stream_app.schema_registry.schema_cache import SchemaCache
from stream_app.schema_registry.schema_lookup import NotRegisteredError, value_id
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)

RETRY_SECONDS = 1.0

Write = Callable[[Fields], bytes]


class OutputEncoders:
    """Encoders of `<pipeline>.scored` and `<pipeline>.monitoring`: JSON, or after `use_avro` Avro.

    `problem` says why they are not ready yet.
    """

    def __init__(self) -> None:
        self.scored: Write = orjson.dumps
        self.monitoring: Write = orjson.dumps
        self.problem: str | None = None

    def use_avro(self, pipeline: str, registry: SchemaRegistry, schemas: SchemaCache) -> None:
        """Look up the ids, which may take until the registry answers; `schemas` can read what is written then.

        Raises NotRegisteredError.
        """
        while True:
            try:
                self.scored = _avro(pipeline, "scored", registry, schemas)
                self.monitoring = _avro(pipeline, "monitoring", registry, schemas)
            except NotRegisteredError:
                raise
            except RegistryError as error:
                self._note(error)
                sleep(RETRY_SECONDS)
            else:
                self.problem = None
                return

    def _note(self, error: RegistryError) -> None:
        problem = f"waiting for the schema registry: {error.message}"
        if problem != self.problem:
            log.warning("waiting for the schema registry", why=str(error))
        self.problem = problem


def _avro(
    pipeline: str,
    kind: Literal["scored", "monitoring"],
    registry: SchemaRegistry,
    schemas: SchemaCache,
) -> Write:
    from stream_app.core.reading.avro_writer import (
        compile_writer,  # loads fastavro, which JSON does not need
    )

    schema = packaged_schema(kind)
    schema_id = value_id(registry, topic_name(pipeline, kind), schema)
    schemas.add(schema_id, json.dumps(schema))
    return compile_writer(schema, schema_id)


def measurements_written(outputs: list[Output], write: Write) -> list[Output]:
    """The outputs, with the measurements among them, which the core makes as JSON, written anew."""
    if write is orjson.dumps:
        return outputs
    return [
        output._replace(value=write(orjson.loads(output.value or b"")))
        if output.topic == "monitoring"
        else output
        for output in outputs
    ]
