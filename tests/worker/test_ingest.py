"""Ingest workers forward the records of foreign topics, each of which has exactly one outcome."""

from pathlib import Path

import orjson

from stream_app.broker import EmbeddedBroker
from stream_app.kafka.partitioner import java_partition
from tests.attached_system import PARTITIONS, AttachedSystem
from tests.transfer.clusters import unique_name


def test_every_record_of_foreign_topics_has_one_outcome_on_two_workers(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Topics with 6, 4 and 4 partitions; the records are there before the workers, and after."""
    with AttachedSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.send_orders(200)
        system.start_pairs()
        system.await_sources(90)
        system.send_orders(100)
        system.terminate("ingest-0")
        system.terminate("score-1")
        system.send_orders(100)
        system.start("ingest", "0")
        system.start("score", "1")
        system.await_sources(90)
        outcomes = system.check_sources()
        # Before the workers end, so that nothing is reported as missing.
        doctor = system.command("doctor", "PIPELINE").stdout
        orders, refunds, verdicts = (system.topic(source) for source in PARTITIONS)
        # Lines are wrapped.
        found = " ".join(doctor.split())
        assert f"can be read; partitions: {orders} 6, {refunds} 4, {verdicts} 4" in found
        shown = orjson.loads(system.command("status", "PIPELINE", "--json").stdout)
        assert {one["role"] for one in shown["roles"]} == {"score", "learn", "monitor", "ingest"}
        inputs = [one for one in shown["inputs"] if one["role"] == "ingest"]
        # With the three partitions of `ingest.replay`.
        assert len(inputs) == sum(PARTITIONS.values()) + 3
        assert {one["lag_records"] for one in inputs} == {0}
        # Of 400 orders: 40 quotes, 20 without id, 20 with a wrong amount, 20 sent twice.
        assert outcomes == {
            "scored": 320 + 400,
            "dead-lettered": 20 + 20 + 20,
            "filtered": 40,
            "duplicate": 20,
            "tombstone": 20,
        }
        placed = [
            (message.partition(), java_partition(message.key() or b"", 3))
            for message in system.read("raw")
            if message.key() is not None
        ]
        assert all(found == wanted for found, wanted in placed)
        assert len(placed) == 320 + 400 + 20 + 20
