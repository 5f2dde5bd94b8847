"""Security settings as options of librdkafka and of aiokafka."""

import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stream_app.errors import SettingsError
from stream_app.kafka.tokens import token_source
from stream_app.settings import KafkaSettings, read_secret

VARIABLE = "STREAM_APP_KAFKA__"

_PASSWORD = ("username", "password", "password_file")
_OAUTH = (
    "oauth_token_url",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_client_secret_file",
    "oauth_scope",
)
_CERTIFICATE = ("certificate_file", "key_file", "key_password", "key_password_file")


class Secret(str):
    """String whose `repr` is masked, so that a printed configuration shows no secret."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def check_security(kafka: KafkaSettings) -> None:
    """Raise `SettingsError` if a required setting is missing, or one is set that has no effect."""
    _check_used(kafka)
    if not _has_sasl(kafka):
        return
    if kafka.sasl_mechanism == "OAUTHBEARER":
        _require(kafka, "oauth_token_url", "oauth_client_id")
        _require_secret(kafka, "oauth_client_secret")
        _check_token_url(str(kafka.oauth_token_url))
    else:
        _require(kafka, "username")
        _require_secret(kafka, "password")


def librdkafka_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the options of librdkafka.

    Raises:
        SettingsError: settings contradict each other, or a file cannot be used.
    """
    check_security(kafka)
    if kafka.security_protocol == "plaintext":
        return {}
    options: dict[str, Any] = {"security.protocol": kafka.security_protocol}
    if _has_sasl(kafka):
        options["sasl.mechanism"] = kafka.sasl_mechanism
        if kafka.sasl_mechanism == "OAUTHBEARER":
            options["oauth_cb"] = token_source(kafka).for_librdkafka
        else:
            options |= {
                "sasl.username": kafka.username,
                "sasl.password": Secret(_secret(kafka, "password")),
            }
    if _has_tls(kafka):
        # Checks the files, with clearer errors than librdkafka's.
        tls_context(kafka)
        options["ssl.endpoint.identification.algorithm"] = (
            "https" if kafka.check_hostname else "none"
        )
        files = {
            "ssl.ca.location": kafka.ca_file,
            "ssl.certificate.location": kafka.certificate_file,
            "ssl.key.location": kafka.key_file,
        }
        options |= {name: str(file) for name, file in files.items() if file is not None}
        if password := _secret(kafka, "key_password"):
            options["ssl.key.password"] = Secret(password)
    return options


def aiokafka_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the keyword arguments of aiokafka's clients; raises as `librdkafka_options`."""
    check_security(kafka)
    options: dict[str, Any] = {"security_protocol": kafka.security_protocol.upper()}
    if _has_sasl(kafka):
        options["sasl_mechanism"] = kafka.sasl_mechanism
        if kafka.sasl_mechanism == "OAUTHBEARER":
            options["sasl_oauth_token_provider"] = token_source(kafka).for_aiokafka()
        else:
            password = Secret(_secret(kafka, "password"))
            options |= {"sasl_plain_username": kafka.username, "sasl_plain_password": password}
    if _has_tls(kafka):
        options["ssl_context"] = tls_context(kafka)
    return options


def tls_context(kafka: KafkaSettings) -> ssl.SSLContext:
    """Return the TLS context for Python's own connections; raises as `librdkafka_options`."""
    try:
        context = ssl.create_default_context(cafile=kafka.ca_file)
    except OSError as error:
        raise _unusable("CA_FILE", kafka.ca_file, error, "certificates in PEM") from None
    # Python 3.13 is stricter about certificates than librdkafka and Java; both clients must agree.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = kafka.check_hostname
    if kafka.certificate_file is not None:
        _load_certificate(context, kafka)
    return context


def _load_certificate(context: ssl.SSLContext, kafka: KafkaSettings) -> None:
    for name in ("certificate_file", "key_file"):
        _check_readable(name.upper(), getattr(kafka, name))
    password = _secret(kafka, "key_password")
    try:
        context.load_cert_chain(
            str(kafka.certificate_file), kafka.key_file, password=lambda: password
        )
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SettingsError(
                f"{VARIABLE}KEY_FILE is not the key of {VARIABLE}CERTIFICATE_FILE",
                "Name the certificate and its own key",
            ) from None
        raise SettingsError(
            f"{VARIABLE}CERTIFICATE_FILE and {VARIABLE}KEY_FILE cannot be used: "
            f"{error.reason or 'not PEM'}",
            f"Name PEM files; the password of an encrypted key is in {VARIABLE}KEY_PASSWORD_FILE",
        ) from None


def _check_readable(name: str, file: Path) -> None:
    try:
        file.open("rb").close()
    except OSError as error:
        raise _unusable(name, file, error, "it in PEM") from None


def _unusable(name: str, file: Path | None, error: OSError, content: str) -> SettingsError:
    reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
    return SettingsError(
        f"{VARIABLE}{name}={file} cannot be used: {reason}", f"Name a file with {content}"
    )


def _check_used(kafka: KafkaSettings) -> None:
    """Reject settings without effect: connections would be less secure than the user believes."""
    oauth = _has_sasl(kafka) and kafka.sasl_mechanism == "OAUTHBEARER"
    _reject_unused(kafka, _CERTIFICATE, _has_tls(kafka), "SECURITY_PROTOCOL", "ssl or sasl_ssl")
    _reject_unused(
        kafka, ("ca_file",), _has_tls(kafka) or oauth, "SECURITY_PROTOCOL", "ssl or sasl_ssl"
    )
    _reject_unused(kafka, (*_PASSWORD, *_OAUTH), _has_sasl(kafka), "SECURITY_PROTOCOL", "sasl_ssl")
    _reject_unused(kafka, _PASSWORD, not oauth, "SASL_MECHANISM", "PLAIN or SCRAM-SHA-512")
    _reject_unused(kafka, _OAUTH, oauth, "SASL_MECHANISM", "OAUTHBEARER")
    if (kafka.certificate_file is None) != (kafka.key_file is None):
        _require(kafka, "certificate_file", "key_file")
    if kafka.certificate_file is None:
        _reject_unused(kafka, ("key_password", "key_password_file"), False, "KEY_FILE", "the key")
    if kafka.security_protocol != "plaintext":
        _require(kafka, "bootstrap_servers")


def _check_token_url(url: str) -> None:
    """Reject an address with credentials, because messages show it."""
    if not url.startswith(("https://", "http://")):
        raise SettingsError(
            f"{VARIABLE}OAUTH_TOKEN_URL is not an HTTP address", "Set it to https://..."
        )
    if "@" in url:
        raise SettingsError(
            f"{VARIABLE}OAUTH_TOKEN_URL contains a user name",
            f"Remove it; set {VARIABLE}OAUTH_CLIENT_ID and __OAUTH_CLIENT_SECRET_FILE instead",
        )


def _reject_unused(
    kafka: KafkaSettings, names: Iterable[str], used: bool, other: str, wanted: str
) -> None:
    found = [name for name in names if getattr(kafka, name)]
    if found and not used:
        value = getattr(kafka, other.lower())
        raise SettingsError(
            f"{VARIABLE}{found[0].upper()} is set, but has no effect with "
            f"{VARIABLE}{other}={value or ''}",
            f"Set {VARIABLE}{other} to {wanted}, or unset {VARIABLE}{found[0].upper()}",
        )


def _require(kafka: KafkaSettings, *names: str) -> None:
    for name in names:
        if not getattr(kafka, name):
            raise _missing(kafka, name.upper(), "it")


def _require_secret(kafka: KafkaSettings, name: str) -> None:
    if not _secret(kafka, name):
        raise _missing(kafka, f"{name.upper()}_FILE", f"it, or {VARIABLE}{name.upper()}")


def _missing(kafka: KafkaSettings, name: str, what: str) -> SettingsError:
    mechanism = f" and {VARIABLE}SASL_MECHANISM={kafka.sasl_mechanism}" if _has_sasl(kafka) else ""
    needed_by = f"{VARIABLE}SECURITY_PROTOCOL={kafka.security_protocol}{mechanism}"
    return SettingsError(f"{VARIABLE}{name} is missing; {needed_by} requires it", f"Set {what}")


def _secret(kafka: KafkaSettings, name: str) -> str:
    return (
        read_secret(
            getattr(kafka, name), getattr(kafka, f"{name}_file"), f"{VARIABLE}{name.upper()}"
        )
        or ""
    )


def _has_sasl(kafka: KafkaSettings) -> bool:
    return kafka.security_protocol.startswith("sasl_")


def _has_tls(kafka: KafkaSettings) -> bool:
    return kafka.security_protocol.endswith("ssl")
