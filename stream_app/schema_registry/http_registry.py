"""Registries with Confluent's HTTP API: Confluent's own, Apicurio, Karapace, Redpanda."""

import importlib
import json
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar
from uuid import UUID

import fastavro
import httpx2
from fastavro.schema import SchemaParseException, UnknownType

from stream_app.core.reading.decoding import SchemaId
from stream_app.errors import RegistryError
from stream_app.schema_registry.address import address_of
from stream_app.schema_registry.registry import ForeignSchemaError, UnknownSchemaError
from stream_app.settings import RegistrySettings

# authlib switches its warnings on when it is imported; the filter has to come after that.
with warnings.catch_warnings():
    deprecate = importlib.import_module("authlib.deprecate")
    warnings.simplefilter("ignore", deprecate.AuthlibDeprecationWarning)
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
    from confluent_kafka.schema_registry.error import SchemaRegistryError

T = TypeVar("T")

# Retries without a response, and after the HTTP status codes 408, 429 and 5xx.
_RETRIES = 2
_RETRY_MS = 200
_RETRY_MAX_MS = 1000

# Confluent's error codes for an unknown subject, version and schema.
_UNKNOWN = frozenset({40401, 40402, 40403})
_MAX_SHOWN_CHARACTERS = 200  # of a message from the registry


class HttpRegistry:
    """Registry that is reached through Confluent's client, which caches responses. Thread-safe.

    Sends no request when it is created.

    Raises:
        SettingsError: the address or a secret is invalid.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        address = address_of(settings)
        self.url = address.url
        self._client = SchemaRegistryClient(
            {
                "url": address.url,
                # The client repeats a request that fails, also one without a response.
                "timeout": settings.timeout_seconds / (1 + _RETRIES),
                "max.retries": _RETRIES,
                "retries.wait.ms": _RETRY_MS,
                "retries.max.wait.ms": _RETRY_MAX_MS,
                "ssl.ca.location": address.trust,
                **({"basic.auth.user.info": address.credentials} if address.credentials else {}),
            }
        )
        # Closes the client's connections.
        weakref.finalize(self, self._client.__exit__)

    def schema(self, schema_id: SchemaId) -> str:
        """Return a schema; one of another kind than Avro counts as unknown."""
        if isinstance(schema_id, UUID):
            return self._avro(self._find_guid(schema_id), schema_id)
        found = request(self.url, lambda: self._client.get_schema(schema_id, fmt="resolved"))
        return self._avro(found, schema_id)

    def versions(self, subject: str) -> list[str]:
        """Return the schemas of a subject; see `SchemaRegistry`."""
        numbers = request(self.url, lambda: sorted(self._client.get_versions(subject))) or []
        found = [self._version(subject, number) for number in numbers]
        return [schema for schema in found if schema is not None]

    def lookup_id(self, subject: str, schema: str) -> int | None:
        """Return the id of a schema; some registries ignore documentation and the like."""
        found = request(self.url, lambda: self._client.lookup_schema(subject, Schema(schema)))
        return None if found is None else self._number(found.schema_id)

    def register(self, subject: str, schema: str) -> int:
        """Register a schema; see `SchemaRegistry`.

        Raises:
            RegistryError: also if the registry finds it incompatible or invalid.
        """
        found = request(
            self.url,
            lambda: self._client.register_schema(subject, Schema(schema)),
            f"the schema of {subject}",
        )
        return self._number(found)

    def _version(self, subject: str, number: int) -> str | None:
        """Return a version, or None if it has been deleted since."""
        found = request(self.url, lambda: self._client.get_version(subject, number, fmt="resolved"))
        try:
            return None if found is None else self._avro(found.schema, f"{number} of {subject}")
        except UnknownSchemaError as error:
            raise RegistryError(
                f"In the registry at {self.url} {error}", "Delete it there"
            ) from None

    def _find_guid(self, guid: UUID) -> Any:
        """Return the schema of a GUID, or None.

        The client has no such request, and only Confluent's newer registries support GUIDs.
        """
        get = self._client._rest_client.get

        def find() -> Any:
            return request(self.url, lambda: Schema.from_dict(get(f"schemas/guids/{guid}")))

        with suppress(NotARegistryError):
            return find()
        # Raises the same error if the address is wrong.
        request(self.url, lambda: get("schemas/types"))
        # A proxy may have answered for a registry that was starting.
        with suppress(NotARegistryError):
            return find()
        return None

    def _avro(self, found: Any, name: object) -> str:
        """Return the text of a response that is a complete Avro schema."""
        if found is None:
            raise UnknownSchemaError(f"the registry has no schema {name}")
        if found.schema_type != "AVRO":
            raise ForeignSchemaError(f"schema {name} is {found.schema_type}, not AVRO")
        try:
            parsed = json.loads(found.schema_str)
        except (TypeError, ValueError):
            raise _not_a_registry(self.url) from None
        if found.references and not _is_complete(parsed):
            raise RegistryError(
                f"Schema {name} refers to other schemas, "
                f"which the registry at {self.url} does not include",
                "Register it with its types written out",
            )
        return str(found.schema_str)

    def _number(self, found: Any) -> int:
        if not isinstance(found, int):
            raise _not_a_registry(self.url)
        return found


def _is_complete(schema: Any) -> bool:
    """Return True if the schema defines every type that it names."""
    try:
        fastavro.parse_schema(schema)
    except (UnknownType, SchemaParseException):
        return False
    return True


class NotARegistryError(RegistryError):
    """The server that answers is not a registry; the address may be wrong."""


def request(url: str, send: Callable[[], T], about: str = "the request") -> T | None:
    """Send a request through Confluent's client.

    Args:
        url: address of the registry, for messages.
        send: call of the client.
        about: subject of the request, for a message that it was rejected.

    Returns:
        The response, or None if the registry does not have the requested object.

    Raises:
        RegistryError: there is no response, or not a valid one.
    """
    try:
        return send()
    except SchemaRegistryError as error:
        if error.http_status_code == 404 and error.error_code in _UNKNOWN:
            return None
        raise _rejection(url, error, about) from None
    except httpx2.TimeoutException:
        raise RegistryError(
            f"The schema registry at {url} does not answer in time",
            "Check it, or raise STREAM_APP_REGISTRY__TIMEOUT_SECONDS",
        ) from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _unreachable(url, str(error)) from None
    # The response is not JSON, or not the JSON that the client expects.
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _not_a_registry(url) from None


def _not_a_registry(url: str) -> RegistryError:
    return NotARegistryError(
        f"The server at {url} is not a schema registry with Confluent's API",
        "Set STREAM_APP_REGISTRY__URL to the base URL of that API, "
        "e.g. http://registry:8080/apis/ccompat/v7",
    )


def _unreachable(url: str, reason: str) -> RegistryError:
    remedy = "Check that it runs, and that STREAM_APP_REGISTRY__URL is its address"
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        remedy = "Set STREAM_APP_REGISTRY__CA_FILE to the certificate of the registry's authority"
    return RegistryError(
        f"The schema registry at {url} cannot be reached: {reason or 'the connection broke'}",
        remedy,
    )


def _rejection(url: str, error: SchemaRegistryError, about: str) -> RegistryError:
    text = error.error_message if error.error_code != SchemaRegistryError.UNKNOWN else None
    reason = f": {' '.join(str(text).split())[:_MAX_SHOWN_CHARACTERS]}" if text else ""
    match error.http_status_code:
        case 401 | 403 as status:
            return RegistryError(
                f"The schema registry at {url} denies access ({status})",
                "Check STREAM_APP_REGISTRY__USERNAME, its password, and the user's permissions",
            )
        case 409:
            return RegistryError(
                f"The schema registry at {url} rejects {about} as incompatible{reason}",
                "Change the schema so that it reads older records, e.g. give new fields a default",
            )
        case 422:
            return RegistryError(
                f"The schema registry at {url} rejects {about} as invalid{reason}",
                "Correct the schema",
            )
        case 408 | 429 | 500 | 502 | 503 | 504 as status:
            return RegistryError(
                f"The schema registry at {url} fails ({status}){reason}", "Check it and try again"
            )
    return _not_a_registry(url)
