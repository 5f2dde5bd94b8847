"""The schema registry: Avro schemas by the id that records carry, and by the subject that they belong to."""

from stream_app.schema_registry.registry import SchemaRegistry, UnknownSchemaError, open_registry

__all__ = ["SchemaRegistry", "UnknownSchemaError", "open_registry"]
