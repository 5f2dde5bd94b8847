"""What a cluster that refuses us says, and which setting or right would change its mind."""

import re
from collections.abc import Callable
from typing import NamedTuple

from confluent_kafka import KafkaError

from stream_app.errors import AccessError, KafkaUnavailableError, StreamAppError
from stream_app.kafka.connectivity_checks import Address, certificate_problem, is_encrypted, is_open
from stream_app.kafka.security import VARIABLE, tls_context
from stream_app.kafka.tokens import token_source
from stream_app.settings import KafkaSettings

_RESOURCES = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "consumer group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "cluster",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "transactional id",
}
_USER = f"Check {VARIABLE}USERNAME and {VARIABLE}PASSWORD_FILE, and that the user exists for this mechanism"
_CLIENT = (
    f"Check the audience, the scope ({VARIABLE}OAUTH_SCOPE) and the issuer that the brokers ask for"
)
_OWN = (
    f"Check {VARIABLE}CERTIFICATE_FILE: expired, or of an authority that the brokers do not trust?"
)
_PROTOCOL = f"Set {VARIABLE}SECURITY_PROTOCOL to what the listener at this address speaks"


class _Refusal(NamedTuple):
    """How librdkafka words a refusal.

    One that is not `certain` is also heard of a broker that stops, or of a balancer before it; `probe` tells the one
    from the other.
    """

    wording: str  # a regular expression
    certain: bool
    meaning: str
    remedy: str
    probe: Callable[[Address], bool] | None = None


_REFUSALS = (
    _Refusal(
        "mechanism handshake failed",
        True,
        "does not offer this way to authenticate",
        f"Set {VARIABLE}SASL_MECHANISM and {VARIABLE}SECURITY_PROTOCOL to what the listener at this address offers",
    ),
    _Refusal("SASL authentication error", True, "refuses us: authentication failed", _USER),
    _Refusal("certificate verify failed", True, "is not trusted", ""),
    _Refusal(
        "alert (bad )?certificate|alert unknown ca", True, "does not accept our certificate", _OWN
    ),
    _Refusal(
        "connecting to a SSL listener",
        False,
        "hangs up: its listener is encrypted",
        _PROTOCOL,
        is_encrypted,
    ),
    _Refusal(
        "connecting to a PLAINTEXT",
        False,
        "hangs up: its listener is not encrypted",
        _PROTOCOL,
        is_open,
    ),
    _Refusal(
        "might require SASL",
        False,
        "hangs up: its listener seems to ask for authentication",
        _PROTOCOL,
    ),
)


def missing_right(error: KafkaError, what: str) -> AccessError | None:
    """The error of a user who may not do `what`, e.g. ``read payments.raw``; None if Kafka says something else."""
    resource = _RESOURCES.get(error.code())
    return None if resource is None else right_missing(resource, what)


def right_missing(resource: str, what: str) -> AccessError:
    """The error of a user who may not do `what` for want of a right on a resource."""
    return AccessError(
        f"Kafka does not let us {what}: a right on the {resource} is missing",
        "Grant it to this user: `stream-app acl show PIPELINE` lists the rights of each role",
    )


def failure(error: KafkaError, what: str) -> StreamAppError:
    """Why `what` could not be done: a missing right, or something that may pass."""
    return missing_right(error, what) or KafkaUnavailableError(
        f"Could not {what}: {error.str()}", "Check that the brokers are up and reachable"
    )


def is_refusal(error: KafkaError) -> bool:
    """Whether the cluster, or the identity provider, certainly refuses us: waiting does not help."""
    found = _find(error)
    return found.certain if found is not None else _is_about_token(error)


def refusal(error: KafkaError, servers: str, kafka: KafkaSettings) -> StreamAppError | None:
    """The error to raise if the cluster refuses us, with a remedy; None if it does not."""
    if _is_about_token(error):
        return token_source(kafka).problem
    found, address = _find(error), _address(error)
    if found is None or (found.probe is not None and not (address and found.probe(address))):
        return None
    meaning, remedy = found.meaning, found.remedy
    if not remedy:
        meaning, remedy = _examine_certificate(address, kafka)
    elif remedy is _USER and kafka.sasl_mechanism == "OAUTHBEARER":
        remedy = _CLIENT
    return AccessError(f"Kafka at {servers} {meaning}", remedy)


def _find(error: KafkaError) -> _Refusal | None:
    text = str(error.str())
    return next((refusal for refusal in _REFUSALS if re.search(refusal.wording, text)), None)


def _address(error: KafkaError) -> Address | None:
    """Which listener an error is about, as in ``sasl_ssl://kafka:9093/bootstrap: SASL authentication error``."""
    found = re.search(r"(?:://|^)\[?([^/]+?)\]?:(\d+)/", str(error.str()))
    return (found[1], int(found[2])) if found is not None else None


def _is_about_token(error: KafkaError) -> bool:
    return "OAUTHBEARER token" in str(error.str())


def _examine_certificate(address: Address | None, kafka: KafkaSettings) -> tuple[str, str]:
    """What is wrong with the broker's certificate, and the remedy: Python tells more about it than librdkafka."""
    reason = certificate_problem(address, tls_context(kafka)) if address is not None else ""
    if "expired" in reason or "not yet valid" in reason:
        remedy = "Have the brokers' certificate renewed, or set this machine's clock"
    elif "mismatch" in reason:
        remedy = f"Use a name that is in it as address, or set {VARIABLE}CHECK_HOSTNAME=false"
    else:
        remedy = f"Name the authority of the brokers' certificates in {VARIABLE}CA_FILE"
    return f"is not trusted: {reason or 'its certificate cannot be verified'}", remedy
