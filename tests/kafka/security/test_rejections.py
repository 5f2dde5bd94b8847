"""A cluster that rejects a client: each cause is one error with its remedy, and no other output."""

import socketserver
import time
from collections.abc import Callable
from threading import Thread
from typing import Any, NamedTuple

import pytest

from stream_app.errors import AccessError, KafkaUnavailableError
from stream_app.kafka.clients import make_admin
from stream_app.settings import KafkaSettings, LogSettings, Settings
from tests.kafka.security.authority import Authority
from tests.kafka.security.cluster import PASSWORD, SecuredCluster
from tests.patience import PATIENCE

pytestmark = pytest.mark.broker

WITH_PASSWORD = {"username": "ann", "password": PASSWORD, "sasl_mechanism": "PLAIN"}


class Case(NamedTuple):
    """Wrong settings of a client, and the expected error."""

    name: str
    listener: str
    changes: dict[str, Any]
    message: str
    remedy: str


CASES = (
    Case(
        "wrong password",
        "CLIENT",
        WITH_PASSWORD | {"password": "wrong"},
        "authentication failed",
        "PASSWORD_FILE",
    ),
    Case(
        "unknown user of SCRAM",
        "CLIENT",
        {"username": "nobody", "password": PASSWORD},
        "authentication failed",
        "USERNAME",
    ),
    Case(
        "other authority",
        "CLIENT",
        WITH_PASSWORD | {"ca_file": "other"},
        "is not trusted: (unable to get|self-signed)",
        "CA_FILE",
    ),
    Case(
        "expired broker",
        "EXPIRED",
        WITH_PASSWORD,
        "is not trusted: certificate has expired",
        "renewed",
    ),
    Case(
        "other host",
        "ELSEWHERE",
        WITH_PASSWORD,
        "not valid for '127.0.0.1'",
        "CHECK_HOSTNAME=false",
    ),
    Case("no certificate", "MTLS", {}, "rejects the client certificate", "CERTIFICATE_FILE"),
    Case(
        "expired client",
        "MTLS",
        {"certificate": "expired"},
        "rejects the client certificate",
        "expired",
    ),
    Case(
        "foreign client",
        "MTLS",
        {"certificate": "foreign"},
        "rejects the client certificate",
        "authority",
    ),
    Case(
        "no encryption",
        "CLIENT",
        {"security_protocol": "plaintext", "ca_file": None},
        "listener requires TLS",
        "PROTOCOL",
    ),
    Case(
        "needless encryption",
        "INSIDE",
        {"security_protocol": "ssl"},
        "listener does not use TLS",
        "PROTOCOL",
    ),
    Case(
        "no authentication",
        "CLIENT",
        {"security_protocol": "ssl"},
        "requires authentication",
        "PROTOCOL",
    ),
    Case(
        "needless authentication",
        "INSIDE",
        WITH_PASSWORD | {"security_protocol": "sasl_plaintext"},
        "does not offer this SASL mechanism",
        "SECURITY_PROTOCOL",
    ),
)


@pytest.fixture(scope="session")
def client(cluster: SecuredCluster) -> Callable[[Case], KafkaSettings]:
    """Settings of the client of a case."""
    foreign = Authority(cluster.folder, "Other Authority")
    certificates = {
        "expired": cluster.authority.issue("expired-client", expired=True),
        "foreign": foreign.issue("foreign-client"),
    }

    def settings(case: Case) -> KafkaSettings:
        changes = dict(case.changes)
        if changes.get("ca_file") == "other":
            changes["ca_file"] = foreign.ca_file
        if identity := certificates.get(changes.pop("certificate", "")):
            changes |= {"certificate_file": identity.certificate, "key_file": identity.key}
        return cluster.settings(case.listener, **changes)

    return settings


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_a_rejection_is_one_error_with_its_remedy(
    client: Callable[[Case], KafkaSettings], case: Case, capfd: pytest.CaptureFixture[str]
) -> None:
    kafka, began = client(case), time.monotonic()
    with pytest.raises(AccessError, match=case.message) as caught:
        make_admin(Settings(kafka=kafka), timeout=3)
    assert time.monotonic() - began < 10 * PATIENCE
    assert str(kafka.bootstrap_servers) in caught.value.message
    assert case.remedy in caught.value.remedy
    assert capfd.readouterr().err == ""


def test_a_listener_that_only_closes_connections_is_unavailable() -> None:
    """A load balancer without brokers behind it, for example: that may pass."""
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        address = f"127.0.0.1:{server.server_address[1]}"
        for protocol in ("plaintext", "ssl"):
            kafka = KafkaSettings(bootstrap_servers=address, security_protocol=protocol)
            with pytest.raises(KafkaUnavailableError, match="cannot be reached"):
                make_admin(Settings(kafka=kafka), timeout=2)
        server.shutdown()


def test_correct_settings_connect(cluster: SecuredCluster) -> None:
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        cluster.add_user("ann", mechanism="SCRAM-SHA-256")
        cluster.add_user("ann")
        kafka = cluster.settings(
            "CLIENT", username="ann", password=PASSWORD, sasl_mechanism=mechanism
        )
        assert make_admin(Settings(kafka=kafka)).list_topics(timeout=60).brokers
    elsewhere = cluster.settings("ELSEWHERE", **WITH_PASSWORD, check_hostname=False)
    assert make_admin(Settings(kafka=elsewhere)).list_topics(timeout=60).brokers


def test_debugging_shows_no_secret(
    cluster: SecuredCluster, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(
        kafka=cluster.settings("CLIENT", **WITH_PASSWORD), log=LogSettings(level="debug")
    )
    make_admin(settings)
    assert PASSWORD not in capfd.readouterr().err
