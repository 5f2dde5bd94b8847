"""Scorers that read a topic directly and are killed: every record has one outcome."""

import time
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from tests.direct_system import DirectSystem
from tests.transfer.clusters import unique_name

pytestmark = pytest.mark.faults

ROUNDS = 10
ORDERS = 100


def test_ten_kills_of_scorers_and_ingest_lose_and_duplicate_nothing(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """In each round a scorer dies while orders come, and every other time ingest as well."""
    with DirectSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.start_all(2)
        system.start("ingest")
        system.send_orders(ORDERS)
        system.await_orders(120)
        for number in range(ROUNDS):
            system.send_orders(ORDERS)
            # At other moments of the transactions in each round.
            time.sleep(0.1 + 0.07 * number)
            killed = [("score", str(number % 2)), ("ingest", "0")][: 1 + number % 2]
            for role, instance in killed:
                system.kill(f"{role}-{instance}")
            system.send_orders(ORDERS)
            for role, instance in killed:
                system.start(role, instance)
            time.sleep(3)
        system.await_orders(180)
        outcomes = system.check_orders()
        print(f"\n{outcomes.total()} records of the topic: {dict(outcomes)}")
        assert outcomes == system.counts
        # Labels of orders in wrong partitions.
        system.check_labels(waiting=system.orders // 20)


WRITER = "stream_app.worker.transaction_writer:TransactionWriter."


@pytest.mark.parametrize(
    "point",
    [
        f"{WRITER}_send_offsets,after,3",
        f"{WRITER}_commit_transaction,before,3",
        f"{WRITER}_commit_transaction,after,3",
    ],
)
def test_a_kill_at_each_step_of_a_commit_loses_and_duplicates_nothing(
    point: str, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with DirectSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.start("learn")
        system.start("ingest")
        killed = system.start("score", FAULT_AT=point)
        deadline = time.monotonic() + 90
        while killed.poll() is None:
            assert time.monotonic() < deadline, "the fault point was not reached"
            system.send_orders(20)
            time.sleep(0.2)
        system.start("score")
        system.await_orders(120)
        assert system.check_orders() == system.counts
