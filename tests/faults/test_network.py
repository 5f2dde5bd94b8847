"""The network between workers and broker is taken away, or becomes slow: workers wait, and go on by themselves."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.broker.ports import HOST
from tests.faults.proxy import Proxy, proxied_broker
from tests.faults.run import kept, recovered
from tests.running_system import System

DELAY = 0.1  # seconds, each way
RATE = 256_000  # bytes a second, each way, all workers together
SLOW_SECONDS = 30
START_SECONDS = 20

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedBroker, Proxy]]:
    with proxied_broker(tmp_path_factory.mktemp("network")) as (broker, proxy):
        yield broker, proxy


def told(system: System) -> set[str]:
    """Who has told of a pause that is over."""
    actions = [
        value for value in system.values("monitoring") if value["kind"] == "corrective_action"
    ]
    return {action["source"] for action in actions if action["name"] == "resume"}


@pytest.mark.parametrize("seconds", [30, 120])
def test_no_network(network: tuple[EmbeddedBroker, Proxy], tmp_path: Path, seconds: int) -> None:
    broker, proxy = network
    with kept(broker, tmp_path, STREAM_APP_KAFKA__BOOTSTRAP_SERVERS=f"{HOST}:{proxy.port}") as (
        system,
        _,
        keeper,
    ):
        proxy.cut()
        time.sleep(seconds)
        proxy.mend()
        print(f"\n{seconds} s without network: {recovered(system)}; {keeper.report()}")
        assert keeper.endings == []
        system.until(
            lambda: told(system) == {"score-0", "score-1", "learn-0"},
            20,
            "nobody tells of the pause",
        )


def test_a_worker_that_dies_without_network_waits_for_it(
    network: tuple[EmbeddedBroker, Proxy], tmp_path: Path
) -> None:
    broker, proxy = network
    with kept(broker, tmp_path, STREAM_APP_KAFKA__BOOTSTRAP_SERVERS=f"{HOST}:{proxy.port}") as (
        system,
        _,
        keeper,
    ):
        proxy.cut()
        for worker in ("score-0", "learn-0"):
            system.kill(worker)
        time.sleep(START_SECONDS)
        proxy.mend()
        print(
            f"\n{START_SECONDS} s without network, and two killed: {recovered(system)}; {keeper.report()}"
        )
        assert set(keeper.endings) == {("score-0", -signal.SIGKILL), ("learn-0", -signal.SIGKILL)}


def test_slow_network(network: tuple[EmbeddedBroker, Proxy], tmp_path: Path) -> None:
    broker, proxy = network
    with kept(broker, tmp_path, STREAM_APP_KAFKA__BOOTSTRAP_SERVERS=f"{HOST}:{proxy.port}") as (
        system,
        _,
        keeper,
    ):
        before = system.record_counts().events
        proxy.slow(DELAY, RATE)
        time.sleep(SLOW_SECONDS)
        rate = (system.record_counts().events - before) / SLOW_SECONDS
        proxy.mend()
        print(f"\n{rate:.0f} events/s over a slow network; {recovered(system)}; {keeper.report()}")
        assert rate > 0
        assert not keeper.endings
