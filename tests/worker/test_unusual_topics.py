"""Topics of other programs that are legal and unusual: each record has one outcome all the same."""

import time
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from stream_app.broker import EmbeddedBroker
from stream_app.kafka.clients import make_admin
from stream_app.worker.roles.ingest_state import read_states
from tests.running_system import System, read_topic
from tests.transfer.clusters import unique_name

DECLARED = """
from stream_app import Constant, Coordinates, RecordTimestamp, Source
from tests.small_pipeline import small_pipeline

pipeline = small_pipeline(
    "NAME",
    sources=(
        Source(
            topic="NAME.Shop.Orders_v1",
            name="stamped",
            start="earliest",
            fields={"id": Coordinates(), "at": RecordTimestamp(), "country": Constant(None)},
        ),
        Source(topic="NAME.wide", name="wide", start="earliest"),
        Source(topic="NAME.empty", name="empty", start="earliest"),
    ),
)
"""
TOPICS = {
    "Shop.Orders_v1": (
        1,
        {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"},
    ),
    "wide": (100, {}),
    "empty": (1, {"cleanup.policy": "compact,delete"}),
}
COUNT = 300


def test_each_record_has_one_outcome(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Broker's timestamps, a compacted topic, 1 and 100 partitions, no keys, transactions."""
    servers, name = broker.bootstrap_servers, unique_name()
    with System(servers, tmp_path, name, DECLARED, with_sources=True, partitions=2) as system:
        topics = [
            NewTopic(f"{name}.{topic}", count, 1, config=config)
            for topic, (count, config) in TOPICS.items()
        ]
        admin = make_admin(system.settings)
        for future in admin.create_topics(topics).values():
            future.result(30)
        started = int(time.time() * 1000)
        send_stamped(servers, f"{name}.Shop.Orders_v1")
        send_wide(servers, f"{name}.wide", started)
        system.start_all()
        system.start("ingest")
        system.until(lambda: scored(system) == 2 * COUNT, 120, "not all are scored")
        sent = {
            message.offset(): message.timestamp()[1]
            for message in read_topic(servers, f"{name}.Shop.Orders_v1")
            if message.value() is not None
        }
        assert min(sent.values()) >= started
        values = system.values("scored")
        stamped = [value for value in values if value["origin"]["source"] == "stamped"]
        assert {value["origin"]["offset"]: value["event_time"] for value in stamped} == sent
        assert {value["event_id"] for value in stamped} == {f"stamped/0/{one}" for one in sent}
        wide = [value for value in values if value["origin"]["source"] == "wide"]
        assert len({value["origin"]["partition"] for value in wide}) == 100
        assert {value["event_id"] for value in wide} == {f"w{number}" for number in range(COUNT)}
        records = [(message.key(), message.value()) for message in system.read("ingest.state")]
        states = read_states(records)
        assert sum(state["counts"].get("tombstone", 0) for state in states.values()) == 3
        assert sum(state["counts"].get("forwarded", 0) for state in states.values()) == 2 * COUNT
        counts = system.record_counts()
        assert (counts.scored, counts.dead.total(), counts.duplicates) == (2 * COUNT, 0, 0)


def scored(system: System) -> int:
    return system.record_counts().scored


def send_stamped(servers: str, topic: str) -> None:
    """Send records with wrong timestamps, tombstones, and a transaction that is aborted."""
    producer = Producer({"bootstrap.servers": servers, "transactional.id": topic})
    producer.init_transactions(30)
    for start in range(0, COUNT, 100):
        producer.begin_transaction()
        for number in range(start, start + 100):
            producer.produce(topic, orjson.dumps({"amount": number}), b"k%d" % number, timestamp=1)
        producer.produce(topic, None, b"k%d" % start)
        producer.commit_transaction(30)
        producer.begin_transaction()
        producer.produce(topic, orjson.dumps({"amount": "aborted"}), b"never")
        producer.flush(30)
        producer.abort_transaction(30)


def send_wide(servers: str, topic: str, now: int) -> None:
    """Send records without keys and with headers, to each partition in turn."""
    producer = Producer({"bootstrap.servers": servers})
    headers: list[tuple[str, Any]] = [("trace", b"\xff"), ("trace", None), ("", b"")]
    for number in range(COUNT):
        value = {"id": f"w{number}", "at": now + number, "amount": 1, "country": None}
        producer.produce(topic, orjson.dumps(value), partition=number % 100, headers=headers)
    assert producer.flush(30) == 0
