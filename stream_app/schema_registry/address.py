"""Address of an HTTP registry: URL, credentials and trusted certificates, from the settings."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from stream_app.errors import SettingsError
from stream_app.settings import RegistrySettings, read_secret

URL_VARIABLE = "STREAM_APP_REGISTRY__URL"
_PASSWORD = "STREAM_APP_REGISTRY__PASSWORD"
_EXAMPLE = "Give http(s)://host:port or file:///folder"


@dataclass(frozen=True, slots=True)
class RegistryAddress:
    """Address of an HTTP registry.

    Attributes:
        url: URL without credentials, to send requests to and to show in messages.
        credentials: `user:password` for basic authentication, or None.
        trust: file or folder of the trusted certificates; None for those of the HTTP client.
    """

    url: str
    credentials: str | None = field(repr=False)
    trust: str | None


def address_of(settings: RegistrySettings) -> RegistryAddress:
    """Return the address of an HTTP registry.

    Raises:
        SettingsError: the URL, the credentials or the certificates are invalid.
    """
    parts = split_url(settings.url or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"{URL_VARIABLE} is not the URL of a registry", _EXAMPLE)
    host = parts.netloc.rpartition("@")[2]
    url = parts._replace(netloc=host, query="", fragment="").geturl().rstrip("/")
    return RegistryAddress(url, _credentials(settings, parts), _trust(settings.ca_file))


def split_url(url: str) -> SplitResult:
    """Return the parts of a registry's URL.

    Raises:
        SettingsError: it is not a valid URL; the message contains no part of it.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme == "file" or (
            parts.port != 0 and "@" not in parts.path + parts.query + parts.fragment
        ):
            return parts
    # The text of the error may contain a part of the password.
    except ValueError:
        pass
    raise SettingsError(
        f"{URL_VARIABLE} is not a valid URL",
        f"{_EXAMPLE}; write / and @ in a password as %2F and %40",
    )


def _credentials(settings: RegistrySettings, parts: SplitResult) -> str | None:
    password = read_secret(settings.password, settings.password_file, _PASSWORD)
    if parts.username is not None:
        if settings.username is not None or password is not None:
            raise SettingsError(
                f"{URL_VARIABLE} contains credentials, and others are set",
                "Remove the credentials from the URL",
            )
        return f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    if settings.username is None and password is None:
        return None
    if settings.username is None or password is None:
        raise SettingsError(
            "Only one of the registry's user and password is set",
            f"Set STREAM_APP_REGISTRY__USERNAME and {_PASSWORD}_FILE, or neither",
        )
    return f"{settings.username}:{password}"


def _trust(ca_file: Path | None) -> str | None:
    if ca_file is None:
        machine = ssl.get_default_verify_paths()
        return machine.cafile or machine.capath
    try:
        ssl.create_default_context(cafile=ca_file)
        return str(ca_file)
    # Includes ssl.SSLError, for a file that contains no certificate.
    except OSError as error:
        reason = "it has no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise SettingsError(
            f"STREAM_APP_REGISTRY__CA_FILE cannot be read: {reason}",
            "Name a file of certificates in PEM",
        ) from None
