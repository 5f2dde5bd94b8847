"""What producers can do to the workers: only rubbish, records larger than allowed, a transaction left open."""

import time
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Producer

from stream_app.broker import EmbeddedBroker
from stream_app.topic_kinds import TopicKind, topic_name
from tests.faults.run import ABORTED_SECONDS, RATE, Recovery, back, kept, recovered
from tests.running_system import Load, System, headers
from tests.small_pipeline import event, label

BAD_SECONDS = 15
HUGE = 20_000_000  # bytes of a record that is sent compressed; the topic takes a million

pytestmark = pytest.mark.faults


class Rubbish(Load):
    """Nothing but records that cannot be processed."""

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


def test_nothing_but_rubbish(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with kept(broker, tmp_path) as (system, load, keeper):
        load.stop()
        before = system.await_outcomes()
        rubbish = Rubbish(system, 5 * RATE, load.count)
        rubbish.start()
        time.sleep(BAD_SECONDS)
        rubbish.stop()
        seconds = system.until(
            lambda: system.record_counts().events == system.sent["raw"], 60, "rubbish is left"
        )
        dead = system.await_outcomes().dead - before.dead
        print(f"\n{dead.total()} bad events in {BAD_SECONDS + seconds:.1f} s: {dict(dead)}")
        more = Load(system, RATE, rubbish.count)
        more.start()
        print(f"{recovered(system)}; {keeper.report()}")
        more.stop()
        assert dead.total() == rubbish.count - load.count
        assert not keeper.endings


def test_records_larger_than_allowed(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """A topic's limit holds for what is sent, which may be compressed; a dead letter then says where the record is."""
    with kept(broker, tmp_path) as (system, _, keeper):
        now = int(time.time() * 1000) - 3_600_000
        huge = "x" * HUGE
        send_huge(system, "raw", orjson.dumps(event(10**7, now, country=huge)))
        send_huge(system, "raw", huge.encode())
        send_huge(system, "labels", orjson.dumps(label(10**7, now, extra=huge)))
        send_huge(system, "labels", huge.encode())
        print(f"\nafter records of {HUGE // 10**6} MB: {recovered(system)}; {keeper.report()}")
        for kind in ("raw.dlq", "labels.dlq"):
            assert str(HUGE) in {
                headers(letter).get("original-size") for letter in system.read(kind)
            }
        assert not keeper.endings


def send_huge(system: System, kind: TopicKind, value: bytes) -> None:
    config = {"message.max.bytes": 2 * HUGE, "compression.type": "lz4", "enable.idempotence": True}
    producer = Producer({"bootstrap.servers": system.servers, **config})
    producer.produce(topic_name(system.name, kind), value, b"e10000000", partition=0)
    assert producer.flush(30) == 0
    system.sent[kind] += 1


def test_a_hung_producer_holds_its_partition_back_only_for_its_transaction_time_out(
    broker: EmbeddedBroker, tmp_path: Path, recovery: Recovery
) -> None:
    with kept(broker, tmp_path) as (system, _, keeper):
        config = {"bootstrap.servers": broker.bootstrap_servers, "transaction.timeout.ms": 10_000}
        hung = Producer({**config, "transactional.id": f"{system.name}-hung"})
        hung.init_transactions(10)
        hung.begin_transaction()
        for kind in ("raw", "labels"):
            hung.produce(topic_name(system.name, kind), b"{}", b"never", partition=0)
        hung.flush(10)
        held = time.monotonic()
        time.sleep(1)
        others = {partition: end for partition, end in system.ends("raw").items() if partition}
        system.until(lambda: system.has_processed_beyond("raw", others), 10, "all partitions are held back")
        back(system)
        seconds = time.monotonic() - held
        print(
            f"\na partition was held back for {seconds:.1f} s; {recovered(system)}; {keeper.report()}"
        )
        assert seconds < ABORTED_SECONDS + 2 * recovery.scorer
        assert not keeper.endings
