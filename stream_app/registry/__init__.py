"""The schema registry: Avro schemas by the id that records carry, and by the subject that they belong to."""

from stream_app.registry.base import Registry, UnknownSchemaError, open_registry

__all__ = ["Registry", "UnknownSchemaError", "open_registry"]
