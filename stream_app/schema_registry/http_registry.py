"""A registry with Confluent's HTTP API: Confluent's own, Apicurio, Karapace, Redpanda."""

import importlib
import json
import warnings
import weakref
from contextlib import suppress
from typing import Any
from uuid import UUID

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from stream_app.errors import RegistryError
from stream_app.schema_registry.address import address_of
from stream_app.schema_registry.registry import SchemaId, UnknownSchemaError
from stream_app.settings import RegistrySettings

with warnings.catch_warnings():
    deprecate = importlib.import_module(
        "authlib.deprecate"
    )  # it has its warnings shown always; the filter comes after
    warnings.simplefilter("ignore", deprecate.AuthlibDeprecationWarning)
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

    from stream_app.schema_registry.responses import NotARegistryError, ask, not_a_registry

_RETRIES = 2  # after 408, 429 and 5xx
_RETRY_MS = 200
_RETRY_MAX_MS = 1000


class HttpRegistry:
    """Asks the registry through Confluent's client, which keeps what it was told; for several threads at once."""

    def __init__(self, settings: RegistrySettings) -> None:
        """Nothing is asked yet. Raises `SettingsError` for an address or a secret that cannot be."""
        address = address_of(settings)
        self.url = address.url
        self._client = SchemaRegistryClient(
            {
                "url": address.url,
                "timeout": settings.timeout_seconds / 2,  # for it is asked twice
                "max.retries": _RETRIES,
                "retries.wait.ms": _RETRY_MS,
                "retries.max.wait.ms": _RETRY_MAX_MS,
                "ssl.ca.location": address.trust,
                **({"basic.auth.user.info": address.credentials} if address.credentials else {}),
            }
        )
        weakref.finalize(self, self._client.__exit__)  # closes its connections

    def schema(self, schema_id: SchemaId) -> str:
        """As the protocol says. A schema of another kind than Avro counts as unknown."""
        if isinstance(schema_id, UUID):
            return self._avro(self._find_guid(schema_id), schema_id)
        found = ask(self.url, lambda: self._client.get_schema(schema_id, fmt="resolved"))
        return self._avro(found, schema_id)

    def versions(self, subject: str) -> list[str]:
        """As the protocol says."""
        numbers = ask(self.url, lambda: sorted(self._client.get_versions(subject))) or []
        found = [self._version(subject, number) for number in numbers]
        return [schema for schema in found if schema is not None]

    def id_of(self, subject: str, schema: str) -> int | None:
        """As the protocol says; some registries overlook differences that change no bytes, as in docs."""
        found = ask(self.url, lambda: self._client.lookup_schema(subject, Schema(schema)))
        return None if found is None else self._number(found.schema_id)

    def register(self, subject: str, schema: str) -> int:
        """As the protocol says; `RegistryError` too if the registry finds it incompatible or invalid."""
        about = f"the schema of {subject}"
        return self._number(
            ask(self.url, lambda: self._client.register_schema(subject, Schema(schema)), about)
        )

    def _version(self, subject: str, number: int) -> str | None:
        """None if it was deleted meanwhile."""
        found = ask(self.url, lambda: self._client.get_version(subject, number, fmt="resolved"))
        try:
            return None if found is None else self._avro(found.schema, f"{number} of {subject}")
        except UnknownSchemaError as error:
            raise RegistryError(
                f"In the registry at {self.url} {error}", "Delete it there"
            ) from None

    def _find_guid(self, guid: UUID) -> Any:
        """The client at hand does not ask for GUIDs, and not every registry knows them: Confluent's newer ones do."""
        get = self._client._rest_client.get

        def find() -> Any:
            return ask(self.url, lambda: Schema.from_dict(get(f"schemas/guids/{guid}")))

        with suppress(NotARegistryError):
            return find()
        ask(self.url, lambda: get("schemas/types"))  # raises the same if the address is wrong
        with suppress(
            NotARegistryError
        ):  # a proxy may have answered for a registry that was just starting
            return find()
        return None

    def _avro(self, found: Any, name: object) -> str:
        """The text of what was found, if it is a whole Avro schema."""
        if found is None:
            raise UnknownSchemaError(f"the registry has no schema {name}")
        if found.schema_type != "AVRO":
            raise UnknownSchemaError(f"schema {name} is {found.schema_type}, not AVRO")
        try:
            parsed = json.loads(found.schema_str)
        except (TypeError, ValueError):
            raise not_a_registry(self.url) from None
        if found.references and not _is_whole(parsed):
            raise RegistryError(
                f"Schema {name} refers to other schemas, and the registry at {self.url} does not put them in",
                "Register it with its types written out",
            )
        return str(found.schema_str)

    def _number(self, found: Any) -> int:
        if not isinstance(found, int):
            raise not_a_registry(self.url)
        return found


def _is_whole(schema: Any) -> bool:
    """Whether every type that the schema names is in it."""
    try:
        fastavro.parse_schema(schema)
    except (UnknownType, SchemaParseException):
        return False
    return True
