"""Fixtures for all tests."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from stream_app.broker import EmbeddedBroker
from tests.apicurio.server import Apicurio, installed
from tests.broker_fixture import shared_broker
from tests.kafka.security.cluster import SecuredCluster

# A job in the background of a shell ignores Ctrl-C, and so would the commands under test.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Other processes use the machine, so examples may be slow.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """Real broker, one per test process; tests use different topics and groups."""
    broker = shared_broker(tmp_path_factory.mktemp("broker"))
    yield broker
    broker.kill()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """Broker that no other test uses, to be stopped or frozen."""
    broker = EmbeddedBroker(tmp_path / "kafka", owned=True)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredCluster]:
    """Secured broker, one per test process; tests use different pipelines and users."""
    cluster = SecuredCluster(tmp_path_factory.mktemp("secured") / "cluster")
    yield cluster
    cluster.broker.kill()


@pytest.fixture(scope="session")
def apicurio(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Address of a real schema registry, one per test process; tests use different subjects."""
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        # Shows its progress.
        installed()
    registry = Apicurio(tmp_path_factory.mktemp("apicurio"))
    yield registry.url
    registry.kill()
