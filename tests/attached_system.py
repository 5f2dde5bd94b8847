"""System under test that is attached to topics of another program, and the check of its records."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Message, Producer
from confluent_kafka.admin import NewTopic

from stream_app.kafka.clients import make_admin
from stream_app.loading import load_pipeline
from stream_app.worker.roles.ingest_state import read_states
from tests.running_system import System, headers, read_topic

DECLARED = """
from dataclasses import replace

from stream_app import Constant, Epoch, Source
from tests.small_pipeline import small_pipeline

declared = small_pipeline("NAME")
pipeline = small_pipeline(
    "NAME",
    sources=(
        Source(
            topic="NAME.shop.orders",
            name="orders",
            start="earliest",
            fields={
                "id": "order.id",
                "at": Epoch("payment.ts", "s"),
                "country": "order.buyer.country",
            },
            where=lambda record: record["kind"] == "order",
        ),
        Source(
            topic="NAME.shop.refunds",
            name="refunds",
            start="earliest",
            fields={"id": "order", "at": Epoch("ts", "s"), "country": Constant("NL")},
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
PARTITIONS = {"orders": 6, "refunds": 4, "verdicts": 4}
BASE = 1_700_000_000  # Unix seconds


class Coordinates(NamedTuple):
    """Place of a record of a source."""

    source: str
    partition: int
    offset: int


class MadeRecord(NamedTuple):
    """Record for a source's topic; its value may be null."""

    source: str
    key: bytes
    value: bytes | None


class AttachedSystem(System):
    """System with two sources of events and one of labels, which a foreign producer fills."""

    def __init__(self, servers: str, folder: Path, name: str) -> None:
        super().__init__(servers, folder, name, DECLARED, with_sources=True, partitions=3)
        admin = make_admin(self.settings)
        topics = [NewTopic(self.topic(one), count, 1) for one, count in PARTITIONS.items()]
        for future in admin.create_topics(topics).values():
            future.result(60)
        # With its default partitioner.
        self.foreign = Producer({"bootstrap.servers": servers, "linger.ms": 5, "log_level": 0})
        self._random = random.Random(1)
        self.orders = 0
        declared = load_pipeline(str(self.pipeline)).sources
        self._filters = {source.source_name: source.where for source in declared}

    def start_pairs(self) -> None:
        """Start two scorers, two ingest workers and a learner."""
        self.start_all(2)
        for instance in "01":
            self.start("ingest", instance)

    def topic(self, source: str) -> str:
        return f"{self.name}.shop.{source}"

    def send_orders(self, count: int) -> None:
        """Send orders, refunds and verdicts, with some records of every other outcome."""
        for source, key, value in self.make_orders(count):
            self.foreign.produce(self.topic(source), value, key)
            self.foreign.poll(0)
        self.foreign.flush(30)

    def make_orders(self, count: int, **fields: str) -> Iterator[MadeRecord]:
        """Yield the records of `send_orders`.

        Args:
            count: number of orders.
            fields: further fields of each record, which the pipeline does not use.
        """
        for number in range(self.orders, self.orders + count):
            yield from self._order(number, fields)
        self.orders += count

    def _order(self, number: int, fields: dict[str, str]) -> Iterator[MadeRecord]:
        order: dict[str, Any] = {
            "kind": "quote" if number % 10 == 3 else "order",
            "order": {"id": f"o{number}", "buyer": {"id": number % 7, "country": "NL"}},
            "payment": {"ts": BASE + number},
            "amount": number % 97,
            **fields,
        }
        refund = {"order": f"r{number}", "ts": BASE + number, "amount": number % 11, **fields}
        if number % 20 == 5:
            del order["order"]["id"]
        if number % 20 == 7:
            order["amount"] = "many"
        yield self._made("orders", order)
        yield self._made("refunds", refund)
        if number % 20 == 9:
            yield self._made("orders", order)
        if number % 20 == 11:
            yield MadeRecord("orders", b"gone", None)
        if number % 20 == 13:
            yield MadeRecord("refunds", b"x", b"{broken")
        for name in (f"o{number}", f"r{number}"):
            verdict = {"order": name, "ts": BASE + number + 60, "fraud": number % 3 == 0, **fields}
            yield self._made("verdicts", verdict)

    def send_verdict(self, name: str) -> None:
        """Send one label."""
        source, key, value = self._made("verdicts", {"order": name, "ts": BASE, "fraud": False})
        self.foreign.produce(self.topic(source), value, key)
        self.foreign.flush(30)

    def _made(self, source: str, fields: dict[str, Any]) -> MadeRecord:
        key = str(self._random.randrange(1000)).encode()
        return MadeRecord(source, key, orjson.dumps(fields))

    # --- Outcomes ---------------------------------------------------------------------------------

    def sent_records(self, source: str) -> dict[Coordinates, Message]:
        """Return all records of a source by their coordinates."""
        return {
            Coordinates(source, message.partition() or 0, message.offset() or 0): message
            for message in read_topic(self.servers, self.topic(source))
        }

    def ingested(self) -> Counter[str]:
        """Return the outcomes of all sources' records in `ingest.state`, by source and outcome."""
        records = [(message.key(), message.value()) for message in self.read("ingest.state")]
        found: Counter[str] = Counter()
        for partition, state in read_states(records).items():
            source = partition.topic.rpartition(".")[2]
            for outcome, count in {**state["counts"], **state["dead"]}.items():
                found[f"{source} {outcome}"] += count
                found[source] += count
        return found

    def await_ingested(self, *sources: str) -> None:
        """Wait until every record of these sources, by default all, has an outcome of ingest."""
        sent = {source: len(self.sent_records(source)) for source in sources or PARTITIONS}
        self.until(
            lambda: all(self.ingested()[source] == count for source, count in sent.items()),
            90,
            f"not all of {sent} are ingested: {self.ingested()}",
        )

    def said(self, topic: str) -> list[dict[str, Any]]:
        """Return the lines of ingest about a topic; others than the worker's own are left out."""
        text = (self.folder / "ingest-0.log").read_text()
        lines = [orjson.loads(line) for line in text.splitlines() if line.startswith('{"role"')]
        return [line for line in lines if line.get("topic") == topic]

    def await_sources(self, timeout: float) -> None:
        """Wait until every record of the sources was ingested, and has an outcome in the scorer."""
        sent = {source: len(self.sent_records(source)) for source in PARTITIONS}

        def is_done() -> bool:
            found = self.ingested()
            counts = self.record_counts()
            events = found["orders forwarded"] + found["refunds forwarded"]
            return (
                all(found[source] == count for source, count in sent.items())
                and counts.events - counts.completeness == events
                and counts.labels - counts.label_completeness == found["verdicts forwarded"]
            )

        self.until(is_done, timeout, f"not all of {sent} have an outcome")

    def check_sources(self) -> Counter[str]:
        """Check that every record of the sources has one outcome; return the outcomes' numbers."""
        scored = Counter(
            Coordinates(**value["origin"]) for value in self.values("scored") if value["origin"]
        )
        dead = Counter(map(_dead_coordinates, self.read("raw.dlq")))
        assert max([*scored.values(), *dead.values()]) == 1
        outcomes: Counter[str] = Counter()
        scored_ids = Counter(value["event_id"] for value in self.values("scored"))
        assert max(scored_ids.values()) == 1
        for source in ("orders", "refunds"):
            for place, message in self.sent_records(source).items():
                expected = self._expected(source, message.value())
                if expected == "event":
                    assert (place in scored) + (place in dead) <= 1
                    if place in scored:
                        outcomes["scored"] += 1
                    elif place in dead:
                        outcomes["dead-lettered"] += 1
                    else:
                        assert _event_id(source, message.value()) in scored_ids, place
                        outcomes["duplicate"] += 1
                else:
                    assert place not in scored
                    assert (place in dead) == (expected == "dead-lettered"), place
                    outcomes[expected] += 1
        found, counts = self.ingested(), self.record_counts()
        assert outcomes["scored"] == counts.scored == len(scored_ids)
        assert outcomes["duplicate"] == counts.duplicates
        assert outcomes["filtered"] == found["orders filtered"]
        assert outcomes["tombstone"] == found["orders tombstone"] + found["refunds tombstone"]
        assert outcomes["dead-lettered"] == dead.total()
        self._check_labels(set(scored_ids))
        return outcomes

    def _expected(self, source: str, value: bytes | None) -> str:
        """Return what must become of a record; an event may still be a duplicate, or fail later."""
        if value is None:
            return "tombstone"
        try:
            record = orjson.loads(value)
        except ValueError:
            return "dead-lettered"
        passes = self._filters[source]
        if passes is not None and not passes(record):
            return "filtered"
        has_id = source != "orders" or "id" in record["order"]
        return "event" if has_id else "dead-lettered"

    def _check_labels(self, scored_ids: set[str]) -> None:
        """Check that each label of a scored event was joined once, and that the others wait."""
        labelled = [
            orjson.loads(message.value() or b"")["order"]
            for message in self.sent_records("verdicts").values()
        ]
        assert len(set(labelled)) == len(labelled)
        examples = Counter(
            value["event_id"] for value in self.values("examples") if value["kind"] == "example"
        )
        assert examples == Counter(scored_ids & set(labelled))
        counts = self.record_counts()
        assert counts.joined == examples.total()
        assert counts.waiting == len(set(labelled) - scored_ids)


def _dead_coordinates(message: Message) -> Coordinates:
    found = headers(message)
    source, partition, offset, _ = found["stream-app-source"].split("/")
    return Coordinates(source, int(partition), int(offset))


def _event_id(source: str, value: bytes | None) -> str:
    record = orjson.loads(value or b"")
    return str(record["order"]["id"] if source == "orders" else record["order"])
