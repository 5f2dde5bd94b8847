"""Errors of a cluster that rejects a client, each with the setting or ACL that resolves it."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from confluent_kafka import KafkaError

from stream_app.errors import AccessError, KafkaUnavailableError, StreamAppError
from stream_app.kafka.listener_checks import (
    Address,
    certificate_problem,
    is_encrypted,
    is_plaintext,
    requires_authentication,
)
from stream_app.kafka.security import VARIABLE, tls_context
from stream_app.kafka.tokens import token_source
from stream_app.settings import KafkaSettings

_RESOURCES = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "consumer group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "cluster",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "transactional id",
}
_CHECK_USER = (
    f"Check {VARIABLE}USERNAME and {VARIABLE}PASSWORD_FILE, "
    "and that the user exists for this mechanism"
)
_CHECK_OAUTH_CLIENT = (
    f"Check the audience, the scope ({VARIABLE}OAUTH_SCOPE) and the issuer that the brokers ask for"
)
_CHECK_CERTIFICATE = (
    f"Check {VARIABLE}CERTIFICATE_FILE: it has expired, or the brokers do not trust its authority"
)
_CHECK_PROTOCOL = f"Set {VARIABLE}SECURITY_PROTOCOL to the protocol of the listener at this address"


class _Rejection(NamedTuple):
    """Rejection as librdkafka words it.

    Attributes:
        wording: regular expression for librdkafka's text.
        certain: False if a stopping broker or a load balancer causes the same text.
        meaning: predicate of the error message, after the address of the cluster.
        remedy: what to do, empty if the certificate has to be examined first.
        confirm: check of the listener that an uncertain rejection must pass.
    """

    wording: str
    certain: bool
    meaning: str
    remedy: str
    confirm: Callable[[Address], bool] | None = None


_REJECTIONS = (
    _Rejection(
        "mechanism handshake failed",
        True,
        "does not offer this SASL mechanism",
        f"Set {VARIABLE}SASL_MECHANISM and {VARIABLE}SECURITY_PROTOCOL "
        "to what the listener at this address offers",
    ),
    _Rejection(
        "SASL authentication error",
        True,
        "rejects this client: authentication failed",
        _CHECK_USER,
    ),
    _Rejection("certificate verify failed", True, "is not trusted", ""),
    _Rejection(
        "alert (bad )?certificate|alert unknown ca",
        True,
        "rejects the client certificate",
        _CHECK_CERTIFICATE,
    ),
    _Rejection(
        "connecting to a PLAINTEXT|SSL connection closed by peer",
        False,
        "closes the connection: the listener does not use TLS",
        _CHECK_PROTOCOL,
        is_plaintext,
    ),
)


# A listener that closes each connection; without a reason, only that no broker is left.
_CLOSED = "brokers are down|might require SASL|connecting to a SSL listener"


def kafka_error(error: KafkaError, action: str) -> StreamAppError:
    """Return the error of a failed action: a missing ACL, or an outage that may pass.

    Args:
        action: verb and object, such as ``read payments.raw``.
    """
    return missing_right(error, action) or KafkaUnavailableError(
        f"Could not {action}: {error.str()}", "Check that the brokers are up and reachable"
    )


def missing_right(error: KafkaError, action: str) -> AccessError | None:
    """Return the error of a user without the ACL for an action, None for other problems."""
    resource = _RESOURCES.get(error.code())
    return None if resource is None else unauthorized(resource, action)


def unauthorized(resource: str, action: str) -> AccessError:
    """Return the error of a user who lacks an ACL on a kind of resource."""
    return AccessError(
        f"Kafka does not allow this user to {action}: an ACL on the {resource} is missing",
        "Grant it to this user: `stream-app acl show PIPELINE` lists the ACLs of each role",
    )


def is_rejection(error: KafkaError) -> bool:
    """Return True if the cluster or the identity provider certainly rejects this client."""
    found = _find(error)
    return found.certain if found is not None else _is_about_token(error)


def access_error(error: KafkaError, servers: str, kafka: KafkaSettings) -> StreamAppError | None:
    """Return the error of a client that the cluster rejects, None if it does not."""
    if _is_about_token(error):
        return token_source(kafka).problem
    if re.search(_CLOSED, str(error.str())):
        return _closed_connection(servers, kafka)
    found, address = _find(error), _address(error)
    if found is None:
        return None
    if found.confirm is not None and not (address and found.confirm(address)):
        return None
    meaning, remedy = found.meaning, found.remedy
    if not remedy:
        meaning, remedy = _examine_certificate(address, kafka)
    elif remedy is _CHECK_USER and kafka.sasl_mechanism == "OAUTHBEARER":
        if isinstance(token_source(kafka).problem, AccessError):
            # The token has expired because the provider gives no other.
            return token_source(kafka).problem
        remedy = _CHECK_OAUTH_CLIENT
    return AccessError(f"Kafka at {servers} {meaning}", remedy)


def _closed_connection(servers: str, kafka: KafkaSettings) -> AccessError | None:
    """Return the error of listeners that close connections for a wrong protocol, else None."""
    uses_tls = kafka.security_protocol in ("ssl", "sasl_ssl")
    uses_sasl = kafka.security_protocol in ("sasl_plaintext", "sasl_ssl")
    context = tls_context(kafka) if uses_tls else None
    for address in _addresses(servers):
        if not uses_tls and is_encrypted(address):
            meaning = "requires TLS"
        elif not uses_sasl and requires_authentication(address, context):
            meaning = "requires authentication"
        else:
            continue
        return AccessError(
            f"Kafka at {servers} closes the connection: the listener {meaning}", _CHECK_PROTOCOL
        )
    return None


def _addresses(servers: str) -> Iterator[Address]:
    for server in servers.split(","):
        if found := re.fullmatch(r"(?:.*://)?\[?(.+?)\]?:(\d+)", server.strip()):
            yield found[1], int(found[2])


def _find(error: KafkaError) -> _Rejection | None:
    text = str(error.str())
    return next((one for one in _REJECTIONS if re.search(one.wording, text)), None)


def _address(error: KafkaError) -> Address | None:
    """Return the listener in an error such as ``ssl://kafka:9093/bootstrap: Connect failed``."""
    found = re.search(r"(?:://|^)\[?([^/]+?)\]?:(\d+)/", str(error.str()))
    return (found[1], int(found[2])) if found is not None else None


def _is_about_token(error: KafkaError) -> bool:
    return "OAUTHBEARER token" in str(error.str())


def _examine_certificate(address: Address | None, kafka: KafkaSettings) -> tuple[str, str]:
    """Return the problem of the broker's certificate and its remedy.

    Python's TLS library gives a more precise reason than librdkafka.
    """
    reason = certificate_problem(address, tls_context(kafka)) if address is not None else ""
    if "expired" in reason or "not yet valid" in reason:
        remedy = "Have the brokers' certificate renewed, or set this machine's clock"
    elif "mismatch" in reason:
        remedy = f"Use a name that is in it as address, or set {VARIABLE}CHECK_HOSTNAME=false"
    else:
        remedy = f"Name the authority of the brokers' certificates in {VARIABLE}CA_FILE"
    return f"is not trusted: {reason or 'its certificate cannot be verified'}", remedy
