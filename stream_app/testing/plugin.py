"""Fixtures for pytest that give a real broker: put `pytest_plugins = ["stream_app.testing.plugin"]` into a conftest.py.

They are imported only then, and bring the broker in only when a test asks for it.
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
    """One real Kafka per test process, on a free port of this machine; it cannot outlive the process.

    All tests share it: give each one a pipeline name of its own.
    """
    from stream_app.broker import EmbeddedBroker

    broker = EmbeddedBroker(tmp_path_factory.mktemp("stream-app-broker"), owned=True)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def stream_app_environment(stream_app_broker: "EmbeddedBroker", tmp_path: Path) -> dict[str, str]:
    """Variables that make `stream-app` use that broker, and a data folder of the test's own."""
    return {
        "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": stream_app_broker.bootstrap_servers,
        "STREAM_APP_DATA_DIR": str(tmp_path / "stream-app"),
    }


@pytest.fixture
def stream_app_settings(stream_app_broker: "EmbeddedBroker", tmp_path: Path) -> "Settings":
    """The same as settings, for calls in this process."""
    from stream_app.settings import KafkaSettings, Settings

    kafka = KafkaSettings(bootstrap_servers=stream_app_broker.bootstrap_servers)
    return Settings(data_dir=tmp_path / "stream-app", kafka=kafka)
