"""What a registry's answers mean, above all those that are none: each is one line that says what to do."""

from collections.abc import Callable
from typing import TypeVar

import httpx
from confluent_kafka.schema_registry.error import SchemaRegistryError

from stream_app.errors import RegistryError

T = TypeVar("T")

_UNKNOWN = frozenset({40401, 40402, 40403})  # subject, version, schema
_SHOWN = 200  # characters of what a registry says


class NotARegistryError(RegistryError):
    """Something answers, but not as a registry does; the address may be wrong."""


def ask(url: str, question: Callable[[], T], about: str = "the request") -> T | None:
    """What the registry at `url` answers to a question of Confluent's client; None if it has no such thing.

    `about` is what a refusal is about. Raises `RegistryError` if there is no answer, or it makes no sense.
    """
    try:
        return _twice(question)
    except SchemaRegistryError as error:
        if error.http_status_code == 404 and error.error_code in _UNKNOWN:
            return None
        raise _refusal(url, error, about) from None
    except httpx.TimeoutException:
        raise RegistryError(
            f"The schema registry at {url} does not answer in time",
            "Check it, or raise STREAM_APP_REGISTRY__TIMEOUT_SECONDS",
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unreachable(url, str(error)) from None
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
    ):  # no JSON, or not the JSON that the client expects
        raise not_a_registry(url) from None


def not_a_registry(url: str) -> RegistryError:
    """The error for what no registry answers."""
    return NotARegistryError(
        f"What answers at {url} is no schema registry with Confluent's API",
        "Set STREAM_APP_REGISTRY__URL to where that API begins, e.g. http://registry:8080/apis/ccompat/v7",
    )


def _twice(question: Callable[[], T]) -> T:
    """Ask again if the connection broke, for the registry may have closed one that was kept open, or nothing came:
    Apicurio, just started, loses one question in a thousand."""
    try:
        return question()
    except (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ReadTimeout):
        return question()


def _unreachable(url: str, reason: str) -> RegistryError:
    tls = "CERTIFICATE_VERIFY_FAILED" in reason
    return RegistryError(
        f"The schema registry at {url} cannot be reached: {reason or 'the connection broke'}",
        "Set STREAM_APP_REGISTRY__CA_FILE to the certificate of the authority that signed the registry's"
        if tls
        else "Check that it runs and STREAM_APP_REGISTRY__URL is its address",
    )


def _refusal(url: str, error: SchemaRegistryError, about: str) -> RegistryError:
    told = error.error_message if error.error_code != SchemaRegistryError.UNKNOWN else None
    said = f": {' '.join(str(told).split())[:_SHOWN]}" if told else ""
    match error.http_status_code:
        case 401 | 403 as status:
            return RegistryError(
                f"The schema registry at {url} does not let us in ({status})",
                "Check STREAM_APP_REGISTRY__USERNAME and its password, and the user's rights",
            )
        case 409:
            return RegistryError(
                f"The schema registry at {url} refuses {about} as incompatible{said}",
                "Change the schema so that it reads what was written before, e.g. give new fields a default",
            )
        case 422:
            return RegistryError(
                f"The schema registry at {url} refuses {about} as invalid{said}",
                "Correct the schema",
            )
        case 408 | 429 | 500 | 502 | 503 | 504 as status:
            return RegistryError(
                f"The schema registry at {url} fails ({status}){said}", "Check it and try again"
            )
    return not_a_registry(url)
