"""Ingest workers and scorers that are killed: every record of the sources has one outcome."""

import time
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from tests.attached_system import AttachedSystem
from tests.transfer.clusters import unique_name

pytestmark = pytest.mark.faults

ROUNDS = 10
ORDERS = 100


def test_ten_kills_of_ingest_and_of_scorers_lose_and_duplicate_nothing(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """In each round one worker of each role dies while records come, and is started again."""
    with AttachedSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.start_pairs()
        system.send_orders(ORDERS)
        system.await_sources(120)
        for number in range(ROUNDS):
            system.send_orders(ORDERS)
            # At other moments of the transactions in each round.
            time.sleep(0.1 + 0.07 * number)
            for role in ("ingest", "score"):
                system.kill(f"{role}-{number % 2}")
            system.send_orders(ORDERS)
            for role in ("ingest", "score"):
                system.start(role, str(number % 2))
            time.sleep(3)
        system.await_sources(180)
        outcomes = system.check_sources()
        sent = sum(len(system.sent_records(source)) for source in ("orders", "refunds"))
        print(f"\n{sent} records of the sources: {dict(outcomes)}")
        assert outcomes.total() == sent
        assert set(outcomes) == {"scored", "dead-lettered", "filtered", "duplicate", "tombstone"}


WRITER = "stream_app.worker.transaction_writer:TransactionWriter."


@pytest.mark.parametrize(
    "point",
    [
        f"{WRITER}_send_offsets,after,3",
        f"{WRITER}_commit_transaction,before,3",
        f"{WRITER}_commit_transaction,after,3",
    ],
)
def test_a_kill_at_each_step_of_a_commit_of_ingest_loses_and_duplicates_nothing(
    point: str, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with AttachedSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.start_all()
        killed = system.start("ingest", FAULT_AT=point)
        deadline = time.monotonic() + 90
        while killed.poll() is None:
            assert time.monotonic() < deadline, "the fault point was not reached"
            system.send_orders(20)
            time.sleep(0.2)
        system.start("ingest")
        system.await_sources(120)
        assert system.check_sources()["scored"] > 0
