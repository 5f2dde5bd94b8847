"""Client of a schema registry: Avro schemas by the id that records carry, and by subject.

Files:
    registry: the interface of registries, the bundled schemas, and that of scored records.
    http_registry: registries with Confluent's HTTP API.
    folder_registry: a folder of files as a registry.
    address: URL and credentials of an HTTP registry.
    schema_cache: compiled readers of schemas, for workers and tools.
    subjects: the subjects of a pipeline; checks and registers them.
    compatibility: backward compatibility of schemas, with reasons and remedies.
"""

from stream_app.errors import RegistryError
from stream_app.schema_registry.registry import SchemaRegistry, UnknownSchemaError
from stream_app.settings import RegistrySettings

__all__ = ["SchemaRegistry", "UnknownSchemaError", "open_registry"]


def open_registry(settings: RegistrySettings) -> SchemaRegistry:
    """Return the configured registry. Sends no request.

    Raises:
        RegistryError: no registry is configured.
        SettingsError: the address or a secret is invalid.
    """
    if not settings.url:
        raise RegistryError(
            "No schema registry is configured, and Avro needs one",
            "Set STREAM_APP_REGISTRY__URL, e.g. to http://registry:8081 or file:///srv/schemas",
        )
    if settings.url.startswith("file:"):
        from stream_app.schema_registry.folder_registry import FolderRegistry, folder_of

        return FolderRegistry(folder_of(settings.url))
    # Importing Confluent's client takes a third of a second.
    from stream_app.schema_registry.http_registry import HttpRegistry

    return HttpRegistry(settings)
