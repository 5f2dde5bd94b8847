"""Fixtures for all tests."""

from collections.abc import Iterator

import pytest

from stream_app.broker import EmbeddedBroker
from tests.brokers import shared_broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """One real broker per test process; tests keep apart by the names of their topics and groups."""
    broker = shared_broker(tmp_path_factory.mktemp("broker"))
    yield broker
    broker.kill()
