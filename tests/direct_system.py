"""System under test that reads a topic of another program directly, and checks of its records."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Message, Producer
from confluent_kafka.admin import NewTopic

from stream_app.kafka.clients import make_admin
from stream_app.kafka.partitioner import librdkafka_partition
from tests.running_system import System, headers, read_topic

DECLARED = """
from dataclasses import replace

from stream_app import Epoch, Source
from tests.small_pipeline import small_pipeline

declared = small_pipeline("NAME")
pipeline = small_pipeline(
    "NAME",
    sources=(
        Source(
            topic="NAME.shop.orders",
            name="orders",
            start="earliest",
            direct=True,
            partitioner="crc32",
            fields={"id": "order.id", "at": Epoch("ts", "s")},
            where=lambda record: record["kind"] == "order",
        ),
    ),
    label=replace(
        declared.label,
        sources=(
            Source(
                topic="NAME.shop.verdicts",
                name="verdicts",
                start="earliest",
                fields={"id": "order", "known_at": Epoch("ts", "s")},
            ),
        ),
    ),
)
"""
PARTITIONS = 3
BASE = 1_700_000_000  # Unix seconds


class Place(NamedTuple):
    """Partition and offset of an order."""

    partition: int
    offset: int


class DirectSystem(System):
    """System whose scorers read a topic that a foreign producer fills, and labels from ingest."""

    def __init__(self, servers: str, folder: Path, name: str, declared: str = DECLARED) -> None:
        super().__init__(servers, folder, name, declared, with_sources=True, partitions=PARTITIONS)
        self.orders_topic = f"{name}.shop.orders"
        self.verdicts_topic = f"{name}.shop.verdicts"
        self.create_orders()
        admin = make_admin(self.settings)
        admin.create_topics([NewTopic(self.verdicts_topic, 4, 1)])[self.verdicts_topic].result(10)
        # With its default partitioner, crc32.
        self.foreign = Producer({"bootstrap.servers": servers, "linger.ms": 5, "log_level": 0})
        self.orders = 0
        self.counts: Counter[str] = Counter()

    def create_orders(self) -> None:
        """Create the topic of the orders."""
        admin = make_admin(self.settings)
        admin.create_topics([NewTopic(self.orders_topic, PARTITIONS, 1)])[self.orders_topic].result(
            10
        )

    def send_orders(self, count: int) -> None:
        """Send orders and verdicts, with some records of every other outcome."""
        for number in range(self.orders, self.orders + count):
            self._send_order(number)
        self.orders += count
        assert self.foreign.flush(30) == 0

    def send_order(self, name: str, at: int = BASE, **options: Any) -> None:
        """Send one order."""
        self._produce(name, self._value(name, at), **options)
        assert self.foreign.flush(30) == 0

    def _send_order(self, number: int) -> None:
        name, at, kind = f"o{number}", BASE + number, number % 20
        self.counts["scored"] += 1
        if kind == 3:
            self._produce(name, self._value(f"q{number}", at, kind="quote"), "filtered")
        if kind == 5:
            self._produce(name, self._value(name, at))
            self.counts["duplicate"] += 1
        if kind == 7:
            self._produce(name, None, "tombstone")
        if kind == 9:
            self._produce(name, b"{broken", "dead-lettered")
        if kind == 11:
            wrong = (librdkafka_partition(f"w{number}".encode(), PARTITIONS) + 1) % PARTITIONS
            value = self._value(f"w{number}", at)
            self._produce(f"w{number}", value, "dead-lettered", partition=wrong)
        if kind == 13:
            self._produce("another", self._value(name, at), "dead-lettered")
        self._produce(name, self._value(name, at))
        for labelled in [name] + [f"w{number}"] * (kind == 11):
            verdict = {"order": labelled, "ts": at + 60, "fraud": number % 3 == 0}
            # Its key is that of another field, and its topic has other partitions.
            self.foreign.produce(self.verdicts_topic, orjson.dumps(verdict), b"%d" % (number % 7))

    def _value(self, name: str, at: int, kind: str = "order") -> bytes:
        return orjson.dumps({"kind": kind, "order": {"id": name}, "ts": at, "amount": at % 97})

    def _produce(self, key: str, value: bytes | None, outcome: str = "", **options: Any) -> None:
        self.foreign.produce(self.orders_topic, value, key.encode(), **options)
        self.foreign.poll(0)
        if outcome:
            self.counts[outcome] += 1

    def sent_orders(self) -> list[Message]:
        """Return all records of the topic of the orders."""
        return read_topic(self.servers, self.orders_topic)

    def await_orders(self, timeout: float) -> None:
        """Wait until every order and every verdict has its outcome."""
        orders = len(self.sent_orders())
        verdicts = len(read_topic(self.servers, self.verdicts_topic))

        def is_done() -> bool:
            found = self.record_counts()
            labels = found.labels - found.label_completeness
            return (found.events, labels) == (orders, verdicts)

        self.until(is_done, timeout, f"not all of {orders} and {verdicts} have an outcome")

    def check_orders(self) -> Counter[str]:
        """Check that every order has one outcome, by its coordinates; return their numbers."""
        scored = Counter(
            Place(value["origin"]["partition"], value["origin"]["offset"])
            for value in self.values("scored")
        )
        dead = Counter(map(_dead_place, self.read("raw.dlq")))
        assert max([*scored.values(), *dead.values()]) == 1
        ids = Counter(value["event_id"] for value in self.values("scored"))
        assert max(ids.values()) == 1
        outcomes: Counter[str] = Counter()
        for message in self.sent_orders():
            place = Place(message.partition() or 0, message.offset() or 0)
            expected = _expected(message)
            if expected != "event":
                assert place not in scored, place
                assert (place in dead) == (expected == "dead-lettered"), place
                outcomes[expected] += 1
            elif place in scored:
                assert place not in dead, place
                outcomes["scored"] += 1
            else:
                assert orjson.loads(message.value() or b"")["order"]["id"] in ids, place
                outcomes["duplicate"] += 1
        counts = self.record_counts()
        assert outcomes == Counter(
            {
                "scored": counts.scored,
                "duplicate": counts.duplicates,
                "filtered": counts.filtered,
                "tombstone": counts.tombstones,
                "dead-lettered": counts.dead.total(),
            }
        )
        return outcomes

    def check_labels(self, waiting: int) -> None:
        """Check that each label of a scored order was joined once, and that the others wait."""
        ids = {value["event_id"] for value in self.values("scored")}
        labelled = {
            orjson.loads(message.value() or b"")["order"]
            for message in read_topic(self.servers, self.verdicts_topic)
        }
        examples = Counter(
            value["event_id"] for value in self.values("examples") if value["kind"] == "example"
        )
        assert examples == Counter(ids & labelled)
        assert self.record_counts().waiting == len(labelled - ids) == waiting


def _dead_place(message: Message) -> Place:
    _, partition, offset, _ = headers(message)["stream-app-source"].split("/")
    return Place(int(partition), int(offset))


def _expected(message: Message) -> str:
    """Return what must become of an order; an event may be a duplicate."""
    key, value = message.key() or b"", message.value()
    if value is None:
        return "tombstone"
    try:
        record = orjson.loads(value)
    except ValueError:
        return "dead-lettered"
    if record["kind"] != "order":
        return "filtered"
    home = librdkafka_partition(key, PARTITIONS)
    is_right = record["order"]["id"].encode() == key and message.partition() == home
    return "event" if is_right else "dead-lettered"
