"""Under which id the registry has the schema that a topic's values are written with."""

import json
from collections.abc import Mapping
from typing import Any

from stream_app.errors import RegistryError
from stream_app.schema_registry.registry import SchemaRegistry


def value_id(registry: SchemaRegistry, topic: str, schema: Mapping[str, Any]) -> int:
    """The id of exactly this schema; `RegistryError` if it is not registered for the topic."""
    schema_id = registry.id_of(f"{topic}-value", json.dumps(schema))
    if schema_id is None:
        raise NotRegisteredError(
            f"The registry does not have the schema that {topic} is written with",
            "Run `stream-app schemas register PIPELINE`",
        )
    return schema_id


class NotRegisteredError(RegistryError):
    """The registry answers, and does not have the schema."""
