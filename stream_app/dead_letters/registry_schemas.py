"""The schemas that Avro records name, fetched from the registry when one is met."""

import json
from collections.abc import Iterator, Mapping

from stream_app.core.reading.avro_reader import AvroReader, compile_reader
from stream_app.core.reading.decoding import SchemaId, Schemas
from stream_app.records import Failure
from stream_app.schema_registry import SchemaRegistry, UnknownSchemaError, open_registry
from stream_app.schema_registry.schema_cache import NO_REGISTRY
from stream_app.settings import Settings


def registry_schemas(settings: Settings) -> Schemas:
    """All schemas of the configured registry; without one, none is known."""
    return RegistrySchemas(open_registry(settings.registry) if settings.registry.url else None)


class RegistrySchemas(Mapping[SchemaId, AvroReader | Failure]):
    """Asks once for each; `RegistryError` if there is no answer. Iterating gives those asked for so far."""

    def __init__(self, registry: SchemaRegistry | None) -> None:
        self._registry = registry
        self._known: dict[SchemaId, AvroReader | Failure] = {}

    def __getitem__(self, schema_id: SchemaId) -> AvroReader | Failure:
        if schema_id not in self._known:
            self._known[schema_id] = self._find(schema_id)
        return self._known[schema_id]

    def __iter__(self) -> Iterator[SchemaId]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def _find(self, schema_id: SchemaId) -> AvroReader | Failure:
        if self._registry is None:
            return NO_REGISTRY
        try:
            return compile_reader(json.loads(self._registry.schema(schema_id)))
        except UnknownSchemaError as error:
            return Failure("unknown-schema", str(error))
        except (ValueError, RecursionError) as error:
            return Failure("invalid-avro", f"schema {schema_id} cannot be used: {error}")
