"""Settings are read from the environment and validated."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_app.errors import SettingsError
from stream_app.settings import load_settings, service_links_warning


@pytest.fixture(autouse=True)
def clear_cache() -> Iterator[None]:
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


def test_variables_are_nested_by_two_underscores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_APP_KAFKA__BOOTSTRAP_SERVERS", "kafka:9092")
    monkeypatch.setenv("STREAM_APP_TOPICS__PARTITIONS", "8")
    settings = load_settings()
    assert settings.kafka.bootstrap_servers == "kafka:9092"
    assert settings.topics.partitions == 8


@pytest.mark.parametrize(
    ("variable", "value"),
    [("STREAM_APP_TOPICS__PARTITIONS", "many"), ("STREAM_APP_WORKER__COMMIT_INTERVAL_MS", "0")],
)
def test_an_invalid_value_is_an_error_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable):
        load_settings()


@pytest.mark.parametrize(
    ("servers", "why"),
    [
        ("PLAINTEXT://kafka:9092", "'PLAINTEXT://kafka:9092' contains a protocol"),
        ("kafka-1:9092,SSL://kafka-2:9093", "'SSL://kafka-2:9093' contains a protocol"),
        ("kafka:9092,", "'' is not host:port"),
        ("kafka:0", "'kafka:0' is not host:port"),
        ("kafka:65536", "'kafka:65536' is not host:port"),
        ("kafka/9092", "'kafka/9092' is not host:port"),
    ],
)
def test_an_address_that_only_one_kafka_client_understands_is_an_error(
    monkeypatch: pytest.MonkeyPatch, servers: str, why: str
) -> None:
    monkeypatch.setenv("STREAM_APP_KAFKA__BOOTSTRAP_SERVERS", servers)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.message.startswith(f"STREAM_APP_KAFKA__BOOTSTRAP_SERVERS is invalid: {why}")


@pytest.mark.parametrize(
    ("servers", "used"),
    [
        ("kafka-1:9092, kafka-2:9093", "kafka-1:9092,kafka-2:9093"),
        ("[::1]:9092", "[::1]:9092"),
        ("10.0.0.1", "10.0.0.1"),
        ("", None),
    ],
)
def test_addresses_are_used_without_blanks(
    monkeypatch: pytest.MonkeyPatch, servers: str, used: str | None
) -> None:
    monkeypatch.setenv("STREAM_APP_KAFKA__BOOTSTRAP_SERVERS", servers)
    assert load_settings().kafka.bootstrap_servers == used


def test_the_artifact_store_defaults_to_a_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STREAM_APP_DATA_DIR", str(tmp_path))
    assert load_settings().store == (tmp_path / "store").as_uri()


SERVICE_LINKS = {
    "STREAM_APP_SERVICE_HOST": "10.96.0.17",
    "STREAM_APP_SERVICE_PORT": "8080",
    "STREAM_APP_SERVICE_PORT_HEALTH": "8080",
    "STREAM_APP_PORT": "tcp://10.96.0.17:8080",
    "STREAM_APP_PORT_8080_TCP": "tcp://10.96.0.17:8080",
    "STREAM_APP_PORT_8080_TCP_PROTO": "tcp",
    "STREAM_APP_PORT_8080_TCP_PORT": "8080",
    "STREAM_APP_PORT_8080_TCP_ADDR": "10.96.0.17",
}


def test_variables_of_a_kubernetes_service_are_ignored_with_one_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert service_links_warning() is None
    for variable, value in SERVICE_LINKS.items():
        monkeypatch.setenv(variable, value)
    assert load_settings().kafka.bootstrap_servers is None
    warning = service_links_warning()
    assert warning is not None
    assert all(variable in warning for variable in SERVICE_LINKS)


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("STREAM_APP_KAFKA__BOOTSTRAP_SERVER", "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS"),
        ("STREAM_APP_SERVICE_HOSTS", None),
        ("STREAM_APP_PORTS", None),
        ("STREAM_APP_PORT_HEALTH", None),
        ("STREAM_APP_WORKER_HEALTH_PORT", "STREAM_APP_WORKER__HEALTH_PORT"),
        ("STREAM_APP_SCORER_SERVICE_HOST", None),
    ],
)
def test_any_other_unknown_variable_is_an_error_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, nearest: str | None
) -> None:
    monkeypatch.setenv(variable, "8080")
    with pytest.raises(SettingsError, match=f"{variable} is not a setting") as caught:
        load_settings()
    assert "the nearest name is STREAM_APP_" in caught.value.remedy
    assert nearest is None or caught.value.remedy.endswith(nearest)
