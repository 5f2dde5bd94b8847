"""What a registry does, whichever it is, and which one the settings name."""

from typing import Protocol

from stream_app.core.reading.avro_frame import SchemaId as SchemaId
from stream_app.errors import RegistryError
from stream_app.schema_registry.address import folder_of
from stream_app.settings import RegistrySettings


class UnknownSchemaError(LookupError):
    """The registry answers, and has no Avro schema of that id; the text says so or of which kind it is."""


class SchemaRegistry(Protocol):
    """Schemas by id and by subject. Every method may block, and raises `RegistryError` if there is no answer."""

    def schema(self, schema_id: SchemaId) -> str:
        """The schema, as JSON; `UnknownSchemaError` if there is none of that id."""

    def versions(self, subject: str) -> list[str]:
        """All schemas of a subject, as JSON, oldest first; none if the subject is unknown."""

    def id_of(self, subject: str, schema: str) -> int | None:
        """The id under which exactly this schema is registered for the subject."""

    def register(self, subject: str, schema: str) -> int:
        """Register the schema as the subject's newest, unless it is there already; returns its id."""


def open_registry(settings: RegistrySettings) -> SchemaRegistry:
    """The registry that the settings name; nothing is asked of it yet.

    Raises `RegistryError` if they name none, and `SettingsError` for an address or a secret that cannot be.
    """
    if not settings.url:
        raise RegistryError(
            "No schema registry is configured, and Avro needs one",
            "Set STREAM_APP_REGISTRY__URL, e.g. to http://registry:8081 or file:///srv/schemas",
        )
    if settings.url.startswith("file:"):
        from stream_app.schema_registry.folder_registry import FolderRegistry

        return FolderRegistry(folder_of(settings.url))
    from stream_app.schema_registry.http_registry import (
        HttpRegistry,  # its imports take a third of a second
    )

    return HttpRegistry(settings)
