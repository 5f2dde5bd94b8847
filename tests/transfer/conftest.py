"""Fixtures with topics on a broker."""

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.settings import Settings
from tests.transfer.clusters import new_topics, settings_for


@pytest.fixture
def settings(broker: EmbeddedBroker) -> Settings:
    return settings_for(broker)


@pytest.fixture
def name(settings: Settings) -> str:
    return new_topics(settings)
