"""Where a registry is and how it is entered, from the settings; an address that is shown has no credentials in it."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import url2pathname

from stream_app.errors import SettingsError
from stream_app.secrets import read_secret
from stream_app.settings import RegistrySettings

_URL = "STREAM_APP_REGISTRY__URL"
_PASSWORD = "STREAM_APP_REGISTRY__PASSWORD"
_EXAMPLE = "Give http(s)://host:port or file:///folder"


@dataclass(frozen=True, slots=True)
class Address:
    """`url`: to show and to ask. `credentials`: user and password of basic authentication, as `user:password`."""

    url: str
    credentials: str | None = field(repr=False)
    trust: ssl.SSLContext


def folder_of(url: str) -> Path:
    """The folder of `file:///folder`. Raises `SettingsError`."""
    parts = _parts(url)
    folder = Path(url2pathname(parts.path))
    if parts.netloc not in ("", "localhost") or not folder.is_absolute():
        raise SettingsError(
            f"{_URL} names no folder of this machine", "Give file:///absolute/folder"
        )
    return folder


def address_of(settings: RegistrySettings) -> Address:
    """The address of an HTTP registry. Raises `SettingsError`."""
    parts = _parts(settings.url or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"{_URL} is no address of a registry", _EXAMPLE)
    host = parts.netloc.rpartition("@")[2]
    url = parts._replace(netloc=host, query="", fragment="").geturl().rstrip("/")
    return Address(url, _credentials(settings, parts), _trust(settings.ca_file))


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme == "file" or (
            parts.port != 0 and "@" not in parts.path + parts.query + parts.fragment
        ):
            return parts
    except ValueError:  # whose text may have a part of the password
        pass
    raise SettingsError(
        f"{_URL} is no URL", f"{_EXAMPLE}; write / and @ in a password as %2F and %40"
    )


def _credentials(settings: RegistrySettings, parts: SplitResult) -> str | None:
    password = read_secret(settings.password, settings.password_file, _PASSWORD)
    if parts.username is not None:
        if settings.username is not None or password is not None:
            raise SettingsError(
                f"{_URL} has credentials, and others are set", "Take them out of the URL"
            )
        return f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    if settings.username is None and password is None:
        return None
    if settings.username is None or password is None:
        raise SettingsError(
            "The registry's user and password are not both set",
            f"Set STREAM_APP_REGISTRY__USERNAME and {_PASSWORD}_FILE, or neither",
        )
    return f"{settings.username}:{password}"


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # which includes what is no certificate
        reason = "it has no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise SettingsError(
            f"STREAM_APP_REGISTRY__CA_FILE cannot be read: {reason}",
            "Name a file of certificates in PEM",
        ) from None
