"""HTTP registries that are down, slow or invalid, or deny access: one clear error, no secrets."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from stream_app.broker.node import free_port
from stream_app.errors import RegistryError, SettingsError
from stream_app.schema_registry import SchemaRegistry, UnknownSchemaError, open_registry
from stream_app.settings import RegistrySettings
from tests.kafka.security.authority import Authority
from tests.schema_registry.schemas import ID, schema_text
from tests.schema_registry.servers import Answer, answering

SECRET = "s3cret"
FOUND = Answer(200, {"schema": schema_text(ID)})


def registry_at(url: str, **settings: Any) -> SchemaRegistry:
    return open_registry(RegistrySettings(url=url, **settings))


def error_message(url: str, **settings: Any) -> str:
    """Return the error message of requesting a schema."""
    with pytest.raises(RegistryError) as caught:
        registry_at(url, **settings).schema(1)
    assert caught.value.exit_code == 14
    assert caught.value.remedy
    assert len(str(caught.value).splitlines()) == 1
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            Answer(401, {"error_code": 401, "message": "Unauthorized"}),
            "denies access (401). Check STREAM_APP_REGISTRY__USER",
        ),
        (Answer(403, b"<html>no</html>"), "denies access (403)"),
        (
            Answer(404, b""),
            "is not a schema registry with Confluent's API. Set STREAM_APP_REGISTRY__URL",
        ),
        (Answer(404, {"detail": "no such page", "status": 404}), "is not a schema registry"),
        (Answer(302, b""), "is not a schema registry"),
        (Answer(200, b"<html>Welcome</html>"), "is not a schema registry"),
        (Answer(200, ["schema"]), "is not a schema registry"),
        (Answer(200, {}), "is not a schema registry"),
        (Answer(200, {"schema": "{"}), "is not a schema registry"),
        (Answer(200, {"schema": 5}), "is not a schema registry"),
        (Answer(200, b"null"), "is not a schema registry"),
        (Answer(400, b"\xff"), "is not a schema registry"),
        (Answer(500, {}), "fails (500). Check it"),
        (Answer(0), "cannot be reached"),
    ],
)
def test_an_invalid_response_is_an_error_with_a_remedy(answer: Answer, expected: str) -> None:
    with answering(answer) as server:
        message = error_message(server.url, username="me", password=SecretStr(SECRET))
    assert expected in message
    assert server.url in message


def test_a_request_is_retried_twice_after_a_server_error() -> None:
    with answering(
        Answer(503, {"error_code": 50301, "message": f"no leader{' at all' * 100}"})
    ) as server:
        message = error_message(server.url)
    assert "fails (503): no leader at all" in message
    assert len(message) < 400
    assert len(server.requests) == 3


def test_a_response_after_server_errors_is_used() -> None:
    with answering(Answer(500), Answer(429), FOUND) as server:
        assert registry_at(server.url).schema(1) == schema_text(ID)


def test_a_closed_connection_is_reopened() -> None:
    with answering(FOUND, Answer(0), FOUND) as server:
        registry = registry_at(server.url)
        assert registry.schema(1) == registry.schema(2) == schema_text(ID)


def test_a_slow_registry_times_out() -> None:
    with answering(Answer(200, b"", seconds=60)) as server:
        started = time.monotonic()
        assert (
            "does not answer in time. Check it, or raise STREAM_APP_REGISTRY__TIMEOUT"
            in error_message(server.url, timeout_seconds=0.2)
        )
        assert time.monotonic() - started < 30
        assert len(server.requests) == 3


def test_a_request_without_response_is_sent_again() -> None:
    with answering(Answer(200, b"", seconds=60), FOUND) as server:
        assert registry_at(server.url, timeout_seconds=4).schema(1) == schema_text(ID)


def test_a_registry_that_is_down_is_an_immediate_error() -> None:
    assert "cannot be reached: [Errno 111] Connection refused. Check that it runs" in error_message(
        f"http://me:{SECRET}@127.0.0.1:{free_port()}"
    )


def test_a_schema_is_requested_once() -> None:
    with answering(FOUND) as server:
        registry = registry_at(server.url)
        assert registry.schema(1) == registry.schema(1)
        assert len(server.requests) == 1


def test_credentials_are_read_from_the_url_settings_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p:w/@d\n")
    with answering(FOUND) as server:
        inside = server.url.replace("//", "//me:p%3Aw%2F%40d@")
        registry_at(inside).schema(1)
        registry_at(server.url, username="me", password=SecretStr("p:w/@d")).schema(1)
        registry_at(server.url, username="me", password_file=tmp_path / "password").schema(1)
        registry_at(server.url).schema(1)
    sent = [headers.get("Authorization") for _, headers in server.requests]
    assert sent == ["Basic bWU6cDp3L0Bk"] * 3 + [None]


@pytest.mark.parametrize(
    ("url", "settings", "expected"),
    [
        (
            f"http://me:{SECRET}@registry",
            {"username": "me"},
            "contains credentials, and others are set",
        ),
        (
            "http://registry",
            {"username": "me"},
            "Only one of the registry's user and password is set",
        ),
        (
            "http://registry",
            {"password": SecretStr(SECRET)},
            "Only one of the registry's user and password is set",
        ),
        (f"http://me:{SECRET}/x@registry", {}, "is not a valid URL. Give"),
        (f"http://me:1/{SECRET}@registry", {}, "is not a valid URL. Give"),
        ("http://[::1", {}, "is not a valid URL"),
        ("http://", {}, "is not the URL of a registry"),
        ("registry:8081", {}, "is not the URL of a registry"),
        ("https://registry", {"ca_file": Path("/nowhere")}, "CA_FILE cannot be read: No such file"),
        (
            "https://registry",
            {"ca_file": Path(__file__)},
            "CA_FILE cannot be read: it has no certificates",
        ),
    ],
)
def test_invalid_settings_are_rejected_before_any_request(
    url: str, settings: dict[str, Any], expected: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        registry_at(url, **settings)
    assert expected in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_missing_registry_is_an_error_that_names_the_setting() -> None:
    with pytest.raises(
        RegistryError, match=r"Set STREAM_APP_REGISTRY__URL, e\.g\. to http://registry:8081"
    ):
        open_registry(RegistrySettings())


def test_tls_requires_a_trusted_certificate(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "Other Authority")
    with answering(FOUND, identity=authority.issue("registry", hosts=["127.0.0.1"])) as server:
        assert registry_at(server.url, ca_file=authority.ca_file).schema(1) == schema_text(ID)
        for settings in ({}, {"ca_file": other.ca_file}):
            assert "CERTIFICATE_VERIFY_FAILED" in error_message(server.url, **settings)
        assert "Set STREAM_APP_REGISTRY__CA_FILE" in error_message(server.url)
    with answering(
        FOUND, identity=authority.issue("elsewhere", hosts=["registry.example"])
    ) as server:
        assert "IP address mismatch" in error_message(server.url, ca_file=authority.ca_file)


def test_a_guid_is_looked_up_if_the_registry_supports_guids() -> None:
    guid = UUID("6b2c0f0e-5a53-4b6c-9a3e-1f2d3c4b5a69")
    with answering(FOUND) as server:
        assert registry_at(server.url).schema(guid) == schema_text(ID)
    assert server.requests[0][0] == f"/schemas/guids/{guid}"
    with (
        answering(Answer(404, b""), Answer(200, ["AVRO"])) as server,
        pytest.raises(UnknownSchemaError),
    ):
        registry_at(server.url).schema(guid)
    with (
        answering(Answer(404, b"")) as server,
        pytest.raises(RegistryError, match="is not a schema registry"),
    ):
        registry_at(server.url).schema(guid)
    with answering(
        Answer(404, b""), Answer(200, ["AVRO"]), FOUND
    ) as server:  # a registry that is starting behind a proxy
        assert registry_at(server.url).schema(guid) == schema_text(ID)
    garbage = Answer(200, {"schema": "{", "guid": str(guid)})
    with (
        answering(garbage) as server,
        pytest.raises(RegistryError, match="is not a schema registry"),
    ):
        registry_at(server.url).schema(guid)


def test_a_schema_other_than_avro_is_unknown() -> None:
    answer = Answer(200, {"schema": 'syntax = "proto3";', "schemaType": "PROTOBUF"})
    with (
        answering(answer) as server,
        pytest.raises(UnknownSchemaError, match="schema 1 is PROTOBUF, not AVRO"),
    ):
        registry_at(server.url).schema(1)
    versions = Answer(200, [1])
    with (
        answering(versions, answer) as server,
        pytest.raises(RegistryError, match="schema 1 of s is PROTOBUF"),
    ):
        registry_at(server.url).versions("s")


def test_a_deleted_version_is_omitted() -> None:
    gone = Answer(404, {"error_code": 40402, "message": "no such version"})
    with answering(Answer(200, [1, 2]), gone, FOUND) as server:
        assert registry_at(server.url).versions("s") == [schema_text(ID)]


def test_an_invalid_host_name_is_an_error() -> None:
    assert "cannot be reached" in error_message("http://no host")


REFERENCE = {"name": "Money", "subject": "money-value", "version": 1}


def test_a_schema_with_unresolved_references_is_rejected() -> None:
    with answering(
        Answer(200, {"schema": schema_text(("money", "Money")), "references": [REFERENCE]})
    ) as server:
        assert "Schema 1 refers to other schemas" in error_message(server.url)


def test_a_reference_is_resolved_by_the_registry(apicurio: str) -> None:
    from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient

    registry = registry_at(apicurio, timeout_seconds=60)
    registry.register("money-value", schema_text(("cents", "long"), name="Money"))
    with SchemaRegistryClient({"url": apicurio, "timeout": 60}) as client:
        refers = Schema(
            schema_text(("money", "Money")), references=[SchemaReference("Money", "money-value", 1)]
        )
        schema_id = client.register_schema("bill-value", refers)
    assert '"cents"' in registry.schema(schema_id)
    assert '"cents"' in registry.versions("bill-value")[0]


def test_a_schema_that_the_registry_rejects_is_an_error_with_its_reason(apicurio: str) -> None:
    with pytest.raises(
        RegistryError, match=r"rejects the schema of s-value as invalid: .+\. Correct the schema"
    ):
        registry_at(apicurio, timeout_seconds=60).register("s-value", '{"type": "nonsense"}')


def test_opening_a_registry_emits_no_warnings() -> None:
    code = (
        "from stream_app.schema_registry import open_registry;"
        "from stream_app.settings import RegistrySettings; import sys;"
        "assert 'confluent_kafka' not in sys.modules; open_registry(RegistrySettings(url='http://registry'))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ),
    )
    assert (done.returncode, done.stderr) == (0, "")
