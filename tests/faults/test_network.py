"""Workers survive an interrupted or slow network and recover by themselves."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.broker.node import HOST
from tests.faults.proxy import Proxy, proxied_broker
from tests.faults.run import ROUNDS, await_recovery, supervised
from tests.running_system import System

# Of each direction; the rate is that of all workers together.
DELAY_SECONDS = 0.1
BYTES_PER_SECOND = 256_000
SLOW_SECONDS = 30
START_SECONDS = 20

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedBroker, Proxy]]:
    with proxied_broker(tmp_path_factory.mktemp("network"), Proxy) as (broker, proxy):
        yield broker, proxy


def reporters(system: System) -> set[str]:
    """Returns the workers that have reported the end of an outage."""
    actions = [
        value for value in system.values("monitoring") if value["kind"] == "corrective_action"
    ]
    return {action["source"] for action in actions if action["name"] == "resume"}


@pytest.mark.parametrize(("seconds", "rounds"), [(30, ROUNDS), (120, 1)])
def test_workers_survive_an_interrupted_network(
    network: tuple[EmbeddedBroker, Proxy], tmp_path: Path, seconds: int, rounds: int
) -> None:
    broker, proxy = network
    with supervised(
        broker, tmp_path, STREAM_APP_KAFKA__BOOTSTRAP_SERVERS=f"{HOST}:{proxy.port}"
    ) as (
        system,
        _,
        supervision,
    ):
        for _ in range(rounds):
            proxy.cut()
            time.sleep(seconds)
            proxy.restore()
            print(f"\n{seconds} s without network: {await_recovery(system)}")
        print(supervision.report())
        assert supervision.exits == []
        system.until(
            lambda: reporters(system) == {"score-0", "score-1", "learn-0"},
            20,
            "some workers report no outage",
        )


def test_a_worker_restarted_without_network_waits_for_it(
    network: tuple[EmbeddedBroker, Proxy], tmp_path: Path
) -> None:
    broker, proxy = network
    with supervised(
        broker, tmp_path, STREAM_APP_KAFKA__BOOTSTRAP_SERVERS=f"{HOST}:{proxy.port}"
    ) as (
        system,
        _,
        supervision,
    ):
        proxy.cut()
        for worker in ("score-0", "learn-0"):
            system.kill(worker)
        time.sleep(START_SECONDS)
        proxy.restore()
        print(
            f"\n{START_SECONDS} s without network, two workers killed: {await_recovery(system)}; "
            f"{supervision.report()}"
        )
        assert set(supervision.exits) == {
            ("score-0", -signal.SIGKILL),
            ("learn-0", -signal.SIGKILL),
        }


def test_workers_keep_scoring_over_a_slow_network(
    network: tuple[EmbeddedBroker, Proxy], tmp_path: Path
) -> None:
    broker, proxy = network
    with supervised(
        broker, tmp_path, STREAM_APP_KAFKA__BOOTSTRAP_SERVERS=f"{HOST}:{proxy.port}"
    ) as (
        system,
        _,
        supervision,
    ):
        before = system.record_counts().events
        proxy.slow(DELAY_SECONDS, BYTES_PER_SECOND)
        time.sleep(SLOW_SECONDS)
        rate = (system.record_counts().events - before) / SLOW_SECONDS
        proxy.restore()
        print(
            f"\n{rate:.0f} events/s over a slow network; {await_recovery(system)}; "
            f"{supervision.report()}"
        )
        assert rate > 0
        assert not supervision.exits
