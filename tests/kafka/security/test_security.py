"""Contradicting security settings are errors before anything connects; secrets are masked."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from stream_app.errors import SettingsError
from stream_app.kafka.security import aiokafka_options, librdkafka_options
from stream_app.settings import KafkaSettings
from tests.kafka.security.authority import Authority, Identity

SASL = {"security_protocol": "sasl_ssl", "bootstrap_servers": "kafka:9093"}
OAUTH = {
    **SASL,
    "sasl_mechanism": "OAUTHBEARER",
    "oauth_client_id": "shop",
    "oauth_client_secret": "s3cret",
}
TLS = {"security_protocol": "ssl", "bootstrap_servers": "kafka:9093"}


def settings(given: dict[str, Any]) -> KafkaSettings:
    return KafkaSettings(**given)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def identity(authority: Authority) -> Identity:
    return authority.issue("client", password="s3cret")


@pytest.mark.parametrize(
    ("given", "named", "remedy"),
    [
        (SASL, "USERNAME is missing; .*sasl_ssl and .*SCRAM-SHA-512 requires it", "Set it"),
        ({**SASL, "username": "ann"}, "PASSWORD_FILE is missing", "PASSWORD$"),
        (
            {"username": "ann"},
            "USERNAME is set, but has no effect with .*SECURITY_PROTOCOL=plaintext",
            "sasl_ssl",
        ),
        ({"password": "s3cret"}, "PASSWORD is set, but has no effect", "unset"),
        (
            {**TLS, "password": "s3cret"},
            "PASSWORD is set, but has no effect with .*SECURITY_PROTOCOL=ssl",
            "unset",
        ),
        ({"ca_file": "/ca.pem"}, "CA_FILE is set, but has no effect with", "ssl or sasl_ssl"),
        ({**TLS, "certificate_file": "/c.pem"}, "KEY_FILE is missing", "Set it"),
        ({**TLS, "key_file": "/k.pem"}, "CERTIFICATE_FILE is missing", "Set it"),
        ({**TLS, "key_password": "s3cret"}, "KEY_PASSWORD is set, but has no effect", "KEY_FILE"),
        (
            {**TLS, "ca_file": "/absent.pem"},
            "CA_FILE=/absent.pem cannot be used: No such file",
            "in PEM",
        ),
        (
            {**TLS, "certificate_file": "/c.pem", "key_file": "/k.pem"},
            "CERTIFICATE_FILE=/c.pem cannot",
            "in PEM",
        ),
        ({"security_protocol": "ssl"}, "BOOTSTRAP_SERVERS is missing", "Set it"),
        (OAUTH, "OAUTH_TOKEN_URL is missing", "Set it"),
        (
            {**OAUTH, "oauth_token_url": "file:///etc/passwd"},
            "OAUTH_TOKEN_URL is not an HTTP address",
            "https://",
        ),
        (
            {**OAUTH, "oauth_token_url": "https://ann:s3cret@i/token"},
            "OAUTH_TOKEN_URL contains a user name",
            "CLIENT_ID",
        ),
        (
            {**OAUTH, "oauth_token_url": "https://i", "username": "a"},
            "USERNAME is set, but has no effect with .*OAUTHB",
            "",
        ),
        (
            {**SASL, "username": "a", "password": "s3cret", "oauth_scope": "x"},
            "OAUTH_SCOPE is set, but has no effect",
            "OAUTHB",
        ),
    ],
)
def test_contradicting_settings_name_the_variable(
    given: dict[str, Any], named: str, remedy: str
) -> None:
    for options in (librdkafka_options, aiokafka_options):
        with pytest.raises(SettingsError, match=f"STREAM_APP_KAFKA__{named}") as caught:
            options(settings(given))
        assert "s3cret" not in str(caught.value)
        assert remedy.rstrip("$") in caught.value.remedy


def test_key_files_are_checked_before_anything_connects(
    authority: Authority, identity: Identity
) -> None:
    given = {**TLS, "ca_file": authority.ca_file, "certificate_file": identity.certificate}
    other = authority.issue("other")
    for changes, complaint in (
        ({"key_file": identity.key}, "cannot be used"),
        ({"key_file": identity.key, "key_password": "wrong"}, "cannot be used"),
        ({"key_file": other.key}, "KEY_FILE is not the key of .*CERTIFICATE_FILE"),
        (
            {"key_file": identity.key, "key_password": "s3cret", "ca_file": identity.key},
            "it holds no certificate",
        ),
    ):
        with pytest.raises(SettingsError, match=complaint):
            librdkafka_options(settings(given | changes))


def test_both_client_libraries_get_the_same_settings(
    authority: Authority, identity: Identity, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    kafka = settings(
        {
            **SASL,
            "sasl_mechanism": "SCRAM-SHA-256",
            "username": "ann",
            "password_file": tmp_path / "password",
            "ca_file": authority.ca_file,
            "certificate_file": identity.certificate,
            "key_file": identity.key,
            "key_password": SecretStr("s3cret"),
            "check_hostname": False,
        }
    )
    ours, theirs = librdkafka_options(kafka), aiokafka_options(kafka)
    assert ours == {
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "ann",
        "sasl.password": "s3cret",
        "ssl.endpoint.identification.algorithm": "none",
        "ssl.ca.location": str(authority.ca_file),
        "ssl.certificate.location": str(identity.certificate),
        "ssl.key.location": str(identity.key),
        "ssl.key.password": "s3cret",
    }
    context = theirs.pop("ssl_context")
    assert theirs == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "ann",
        "sasl_plain_password": "s3cret",
    }
    assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_REQUIRED)
    for shown in (repr(ours), repr(theirs), repr({**ours}), repr(kafka), str(kafka)):
        assert "s3cret" not in shown


def test_an_open_cluster_needs_no_settings() -> None:
    assert librdkafka_options(KafkaSettings()) == {}
    assert aiokafka_options(KafkaSettings()) == {"security_protocol": "PLAINTEXT"}
