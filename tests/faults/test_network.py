"""The network between workers and broker is taken away, or becomes slow: workers wait, and go on by themselves."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.broker.config import HOST
from tests.faults.proxy import Proxy, proxied_broker
from tests.faults.run import kept, recovered

DELAY = 0.1  # seconds, each way
RATE = 256_000  # bytes a second, each way, all workers together
SLOW_SECONDS = 30

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedBroker, Proxy]]:
    with proxied_broker(tmp_path_factory.mktemp("network")) as (broker, proxy):
        yield broker, proxy


@pytest.mark.parametrize("seconds", [30, 120])
def test_no_network(network: tuple[EmbeddedBroker, Proxy], tmp_path: Path, seconds: int) -> None:
    broker, proxy = network
    with kept(broker, tmp_path, STREAM_APP_KAFKA__BOOTSTRAP_SERVERS=f"{HOST}:{proxy.port}") as (system, _, keeper):
        proxy.cut()
        time.sleep(seconds)
        proxy.mend()
        print(f"\n{seconds} s without network: {recovered(system)}; {keeper.report()}")


def test_slow_network(network: tuple[EmbeddedBroker, Proxy], tmp_path: Path) -> None:
    broker, proxy = network
    with kept(broker, tmp_path, STREAM_APP_KAFKA__BOOTSTRAP_SERVERS=f"{HOST}:{proxy.port}") as (system, _, keeper):
        before = system.books().events
        proxy.slow(DELAY, RATE)
        time.sleep(SLOW_SECONDS)
        rate = (system.books().events - before) / SLOW_SECONDS
        proxy.mend()
        print(f"\n{rate:.0f} events/s over a slow network; {recovered(system)}; {keeper.report()}")
        assert rate > 0
        assert not keeper.endings
