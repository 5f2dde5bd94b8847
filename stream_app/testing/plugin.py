"""Pytest fixtures with a real broker.

Put `pytest_plugins = ["stream_app.testing.plugin"]` into a conftest.py. The broker is imported only
when a test uses it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stream_app.broker import EmbeddedBroker
    from stream_app.settings import Settings


@pytest.fixture(scope="session")
def stream_app_broker(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[EmbeddedBroker]":
    """Real Kafka on a free port, one per test process, stopped with the process.

    All tests share it: give each one its own pipeline name.
    """
    from stream_app.broker import EmbeddedBroker

    broker = EmbeddedBroker(tmp_path_factory.mktemp("stream-app-broker"), owned=True)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def stream_app_environment(stream_app_broker: "EmbeddedBroker", tmp_path: Path) -> dict[str, str]:
    """Environment variables of `stream-app` for that broker and a data folder of the test."""
    return {
        "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": stream_app_broker.bootstrap_servers,
        "STREAM_APP_DATA_DIR": str(tmp_path / "stream-app"),
    }


@pytest.fixture
def stream_app_settings(stream_app_broker: "EmbeddedBroker", tmp_path: Path) -> "Settings":
    """Settings with the same values, for calls in this process."""
    from stream_app.settings import KafkaSettings, Settings

    kafka = KafkaSettings(bootstrap_servers=stream_app_broker.bootstrap_servers)
    return Settings(data_dir=tmp_path / "stream-app", kafka=kafka)
