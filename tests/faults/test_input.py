"""Invalid, oversized or uncommitted input of producers does not stop the workers."""

import time
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Producer

from stream_app.broker import EmbeddedBroker
from stream_app.topic_kinds import TopicKind, topic_name
from tests.faults.run import (
    ABORTED_SECONDS,
    RATE,
    Recovery,
    await_progress,
    await_recovery,
    supervised,
)
from tests.running_system import Load, System, headers
from tests.small_pipeline import event, label

BAD_SECONDS = 15
# Size of a record that is sent compressed; the topic accepts a million bytes.
HUGE_BYTES = 20_000_000

pytestmark = pytest.mark.faults


class InvalidRecords(Load):
    """Load of records that cannot be processed."""

    def _send(self, number: int) -> None:
        key = f"e{number}".encode()
        values = (
            b"",
            b"\xff\x00",
            b"[]",
            orjson.dumps(event(number, amount="much")),
            orjson.dumps({"id": f"e{number}"}),
        )
        self._system.send("raw", values[number % len(values)], key)
        self._system.send("labels", values[number % len(values)], key)


def test_invalid_records_become_dead_letters_and_the_workers_recover(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with supervised(broker, tmp_path) as (system, load, supervision):
        load.stop()
        before = system.await_outcomes()
        invalid = InvalidRecords(system, 5 * RATE, load.count)
        invalid.start()
        time.sleep(BAD_SECONDS)
        invalid.stop()
        seconds = system.until(
            lambda: system.record_counts().events == system.sent["raw"],
            60,
            "invalid records are not processed",
        )
        dead = system.await_outcomes().dead - before.dead
        print(f"\n{dead.total()} bad events in {BAD_SECONDS + seconds:.1f} s: {dict(dead)}")
        more = Load(system, RATE, invalid.count)
        more.start()
        print(f"{await_recovery(system)}; {supervision.report()}")
        more.stop()
        assert dead.total() == invalid.count - load.count
        assert not supervision.exits


def test_records_larger_than_allowed_become_dead_letters_without_value(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """The topic's limit applies to compressed data; the dead letter names the record's position."""
    with supervised(broker, tmp_path) as (system, _, supervision):
        now = int(time.time() * 1000) - 3_600_000
        huge = "x" * HUGE_BYTES
        send_huge(system, "raw", orjson.dumps(event(10**7, now, country=huge)))
        send_huge(system, "raw", huge.encode())
        send_huge(system, "labels", orjson.dumps(label(10**7, now, extra=huge)))
        send_huge(system, "labels", huge.encode())
        print(
            f"\nafter records of {HUGE_BYTES // 10**6} MB: {await_recovery(system)}; "
            f"{supervision.report()}"
        )
        for kind in ("raw.dlq", "labels.dlq"):
            sizes = {
                headers(dead_letter).get("stream-app-original-size")
                for dead_letter in system.read(kind)
            }
            assert str(HUGE_BYTES) in sizes
        assert not supervision.exits


def send_huge(system: System, kind: TopicKind, value: bytes) -> None:
    config = {
        "message.max.bytes": 2 * HUGE_BYTES,
        "compression.type": "lz4",
        "enable.idempotence": True,
    }
    producer = Producer({"bootstrap.servers": system.servers, "log_level": 0, **config})
    producer.produce(topic_name(system.name, kind), value, b"e10000000", partition=0)
    assert producer.flush(30) == 0
    system.sent[kind] += 1


def test_a_hung_producer_blocks_its_partition_only_for_its_transaction_time_out(
    broker: EmbeddedBroker, tmp_path: Path, recovery: Recovery
) -> None:
    with supervised(broker, tmp_path) as (system, _, supervision):
        config = {
            "bootstrap.servers": broker.bootstrap_servers,
            "transaction.timeout.ms": 10_000,
            "log_level": 0,
        }
        hung = Producer({**config, "transactional.id": f"{system.name}-hung"})
        hung.init_transactions(10)
        hung.begin_transaction()
        for kind in ("raw", "labels"):
            hung.produce(topic_name(system.name, kind), b"{}", b"never", partition=0)
        hung.flush(10)
        started = time.monotonic()
        time.sleep(1)
        others = {partition: end for partition, end in system.ends("raw").items() if partition}
        system.until(
            lambda: system.has_processed_beyond("raw", others), 10, "all partitions are blocked"
        )
        await_progress(system)
        seconds = time.monotonic() - started
        print(
            f"\na partition was blocked for {seconds:.1f} s; {await_recovery(system)}; "
            f"{supervision.report()}"
        )
        assert seconds < ABORTED_SECONDS + 2 * recovery.scorer
        assert not supervision.exits
