"""Tokens are shared by all clients, renewed in time, and never shown; a rejection is one error."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from stream_app.errors import AccessError, KafkaUnavailableError
from stream_app.kafka import tokens
from stream_app.kafka.acl import AclRole, required_acls
from stream_app.kafka.clients import client_config, make_admin
from stream_app.kafka.tokens import RETRY_SECONDS, TokenSource, token_source
from stream_app.settings import KafkaSettings, Settings
from tests.kafka.security.authority import LOOPBACK, Authority
from tests.kafka.security.cluster import PASSWORD, SecuredCluster
from tests.kafka.security.provider import Provider, serving
from tests.patience import PATIENCE
from tests.running_system import System, kafka_environment


class AdvancedClock:
    """Clock of token sources, which a test moves forward instead of waiting."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def pass_time(self, until: float) -> None:
        """Move forward to a time in Unix seconds."""
        self.ahead += max(0.0, until - self.time())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> AdvancedClock:
    clock = AdvancedClock()
    monkeypatch.setattr(tokens, "time", clock)
    return clock


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving() as provider:
        yield provider


def settings_of(provider: Provider, secret: str = PASSWORD, **changes: Any) -> KafkaSettings:
    """Return the settings of the client `shop` of a provider."""
    given = {
        "bootstrap_servers": "kafka:9092",
        "security_protocol": "sasl_plaintext",
        "sasl_mechanism": "OAUTHBEARER",
        "oauth_token_url": provider.url,
        "oauth_client_id": "shop",
        "oauth_client_secret": SecretStr(secret),
        **changes,
    }
    return KafkaSettings(**given)


def test_threads_share_a_token_until_it_is_renewed(
    provider: Provider, clock: AdvancedClock
) -> None:
    provider.lifetime = 600.0
    source = token_source(settings_of(provider, oauth_scope="kafka"))
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: source.token(), range(50)))
    assert (len(found), provider.issued["shop"]) == (1, 1)
    assert provider.forms == [{"grant_type": ["client_credentials"], "scope": ["kafka"]}]
    (first,) = found
    clock.pass_time(first.renew_at + 1)
    assert source.token().expires > first.expires
    assert provider.issued["shop"] == 2


def test_during_an_outage_the_old_token_is_used_until_it_expires(
    provider: Provider, clock: AdvancedClock
) -> None:
    provider.lifetime = 600.0
    source = TokenSource(settings_of(provider))
    first = source.token()
    provider.answer = 503, {}
    clock.pass_time(first.renew_at + 1)
    assert source.token() == first
    clock.pass_time(first.expires + 1)
    with pytest.raises(KafkaUnavailableError, match="HTTP status 503"):
        source.token()
    provider.answer = None
    clock.pass_time(clock.time() + RETRY_SECONDS)
    assert source.token().expires > first.expires
    assert source.problem is None


def test_the_error_of_a_rejection_hides_the_secret(provider: Provider) -> None:
    with pytest.raises(AccessError, match="HTTP status 401 to client shop") as caught:
        TokenSource(settings_of(provider, "wrong-Secret9")).token()
    assert "wrong-Secret9" not in str(caught.value)
    provider.answer = 200, {"token": "x"}
    with pytest.raises(KafkaUnavailableError, match="unexpected response"):
        TokenSource(settings_of(provider)).token()


def test_a_redirection_is_not_followed(provider: Provider) -> None:
    with serving() as elsewhere:
        provider.answer = 302, {"location": elsewhere.url}
        with pytest.raises(AccessError, match="HTTP status 302"):
            TokenSource(settings_of(provider)).token()
        assert elsewhere.forms == []


def test_the_provider_s_certificate_is_verified(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with serving(authority.issue("provider", hosts=LOOPBACK)) as provider:
        with pytest.raises(AccessError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            TokenSource(settings_of(provider)).token()
        assert "CA_FILE" in caught.value.remedy
        assert (
            TokenSource(settings_of(provider, ca_file=authority.ca_file)).token().expires
            > time.time()
        )


def test_a_server_without_http_is_an_error(provider: Provider) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/token"

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-other\r\n")

        pool.submit(answer)
        with pytest.raises(KafkaUnavailableError, match="unexpected response"):
            TokenSource(settings_of(provider, oauth_token_url=url)).token()


def test_an_unreachable_provider_is_unavailable_and_no_access_error(provider: Provider) -> None:
    gone = settings_of(provider, oauth_token_url="http://127.0.0.1:1/token")
    with pytest.raises(KafkaUnavailableError, match="Connection refused") as caught:
        make_admin(Settings(kafka=gone))
    assert "OAUTH_TOKEN_URL" in caught.value.remedy


def test_secrets_are_masked(provider: Provider) -> None:
    source = token_source(settings_of(provider))
    assert source.token().text not in repr(source.token())
    assert PASSWORD not in repr(client_config(Settings(kafka=settings_of(provider))))


@pytest.mark.broker
def test_workers_renew_tokens_and_end_when_rejected(
    cluster: SecuredCluster, provider: Provider, tmp_path: Path
) -> None:
    """The broker ends connections with an expired token; then the provider rejects the client."""
    provider.lifetime = 8.0
    name = f"tokens-{uuid4().hex[:8]}"
    kafka = settings_of(provider, bootstrap_servers=cluster.address("OPEN"))
    cluster.grant("User:shop", required_acls(name, AclRole.SCORER, AclRole.LEARNER))
    with System(cluster.address("INSIDE"), tmp_path, name, partitions=1) as system:
        worker = system.start("score", **kafka_environment(kafka))
        system.start("learn", **kafka_environment(kafka))
        now = int(time.time() * 1000) - 3_600_000
        # Until each worker has renewed its token.
        while provider.issued["shop"] < 6 or system.record_counts().events == 0:
            system.send_event(system.sent["raw"], now + system.sent["raw"])
            system.await_outcomes()
        system.check_outcomes()
        provider.answer = 401, {}
        assert worker.wait(60 * PATIENCE) == AccessError.exit_code, system.log("score-0")
        last = system.log("score-0").splitlines()[-1]
        assert "HTTP status 401 to client shop" in last
        assert PASSWORD not in system.log("score-0") + system.log("learn-0")
        assert "Traceback" not in system.log("score-0")
