"""Settings are read from the environment and validated."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_app.errors import SettingsError
from stream_app.settings import load_settings


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


def test_the_artifact_store_defaults_to_a_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STREAM_APP_DATA_DIR", str(tmp_path))
    assert load_settings().store == (tmp_path / "store").as_uri()
