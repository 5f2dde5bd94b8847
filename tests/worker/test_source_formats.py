"""Sources in Debezium's envelope and in Avro: every record has the outcome that is documented."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from stream_app.broker import EmbeddedBroker
from stream_app.kafka.clients import make_admin
from stream_app.schema_registry import open_registry
from stream_app.settings import RegistrySettings
from stream_app.worker.roles.ingest_state import read_states
from tests import avro_samples
from tests.running_system import System, headers
from tests.transfer.clusters import unique_name

DECLARED = """
from stream_app import Coordinates, Epoch, RecordKey, Source
from tests.small_pipeline import small_pipeline

pipeline = small_pipeline(
    "NAME",
    sources=(
        Source(
            topic="NAME.rows",
            name="rows",
            start="earliest",
            envelope="debezium",
            fields={"at": Epoch("ts", "s")},
        ),
        Source(
            topic="NAME.changes",
            name="changes",
            start="earliest",
            envelope="debezium",
            updates="events",
            fields={"id": Coordinates(), "at": Epoch("ts", "s")},
        ),
        Source(
            topic="NAME.orders",
            name="orders",
            start="earliest",
            format="avro",
            fields={"id": "order.id", "at": "paid", "country": "order.country"},
        ),
        Source(
            topic="NAME.keyed",
            name="keyed",
            start="earliest",
            fields={"id": RecordKey(), "at": Epoch("ts", "s"), "country": "buyer.country"},
        ),
    ),
)
"""
SOURCES = ("rows", "changes", "orders", "keyed")
AT = 1_700_000_000  # Unix seconds
ORDER = {
    "type": "record",
    "name": "Payment",
    "namespace": "shop",
    "fields": [
        {
            "name": "order",
            "type": {
                "type": "record",
                "name": "Order",
                "fields": [
                    {"name": "id", "type": "string"},
                    {"name": "country", "type": ["null", "string"]},
                ],
            },
        },
        {"name": "paid", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "amount", "type": "double"},
    ],
}


class Formats(System):
    """System whose sources have one partition each; remembers the expected outcomes."""

    def __init__(self, servers: str, folder: Path, registry: str) -> None:
        super().__init__(servers, folder, unique_name(), DECLARED, with_sources=True, partitions=2)
        self.registry = open_registry(RegistrySettings(url=registry, timeout_seconds=30))
        self.environment = {
            "STREAM_APP_REGISTRY__URL": registry,
            "STREAM_APP_REGISTRY__TIMEOUT_SECONDS": "30",
        }
        admin = make_admin(self.settings)
        topics = [NewTopic(f"{self.name}.{source}", 1, 1) for source in SOURCES]
        for future in admin.create_topics(topics).values():
            future.result(30)
        self._foreign = Producer({"bootstrap.servers": servers})
        self.expected: dict[tuple[str, int], str] = {}

    def put(self, source: str, outcome: str, value: Any, key: bytes | None = b"k") -> None:
        """Send a record of a source, and remember its outcome; bytes are sent unchanged."""
        content = value if value is None or isinstance(value, bytes) else orjson.dumps(value)
        self._foreign.produce(f"{self.name}.{source}", content, key)
        assert self._foreign.flush(30) == 0
        offset = sum(1 for name, _ in self.expected if name == source)
        self.expected[source, offset] = outcome

    def schema_id(self, schema: Mapping[str, Any]) -> int:
        """Register a schema, as a foreign producer does."""
        return self.registry.register(f"{self.name}.orders-value", json.dumps(schema))

    def found(self) -> dict[tuple[str, int], str]:
        """Return the outcomes of the records that were scored or are dead letters."""
        outcomes = {
            (value["origin"]["source"], value["origin"]["offset"]): "scored"
            for value in self.values("scored")
        }
        for message in self.read("raw.dlq"):
            one = headers(message)
            source, _, offset, _ = one["stream-app-source"].split("/")
            coordinates = source, int(offset)
            assert coordinates not in outcomes
            outcomes[coordinates] = one["stream-app-error-code"]
        return outcomes

    def counted(self, outcome: str) -> dict[str, int]:
        """Return how many records of each source were filtered, or tombstones."""
        records = [(message.key(), message.value()) for message in self.read("ingest.state")]
        return {
            partition.topic.rpartition(".")[2]: state["counts"].get(outcome, 0)
            for partition, state in read_states(records).items()
        }


@pytest.fixture
def system(broker: EmbeddedBroker, tmp_path: Path, apicurio: str) -> Iterator[Formats]:
    system = Formats(broker.bootstrap_servers, tmp_path, apicurio)
    with system:
        system.start_all()
        system.start("ingest")
        yield system


def row(name: str, **changes: Any) -> dict[str, Any]:
    return {"id": name, "ts": AT, "amount": 1.0, "country": "NL", **changes}


def change(operation: str, name: str, **changes: Any) -> dict[str, Any]:
    """Return a change event as Debezium writes it."""
    after = None if operation in "dtm" else row(name)
    before = row(name) if operation in "ud" else None
    return {"op": operation, "before": before, "after": after, "source": {"lsn": 1}, **changes}


def test_each_record_has_the_outcome_of_its_operation_or_of_its_fault(system: Formats) -> None:
    send_changes(system)
    send_avro(system)
    system.put("keyed", "scored", {"ts": AT, "amount": 1.0, "buyer": {"country": "NL"}}, b"k1")
    system.put("keyed", "scored", {"ts": AT, "amount": 1.0}, b"k2")
    system.put("keyed", "missing-field", {"ts": AT, "amount": 1.0}, None)
    system.put("keyed", "wrong-type", {"ts": AT, "amount": 1.0}, b"\xff")
    system.put("keyed", "wrong-type", {"ts": AT, "amount": 1.0, "buyer": "me"}, b"k5")
    final = {
        coordinates: outcome
        for coordinates, outcome in system.expected.items()
        if outcome not in ("filtered", "tombstone")
    }
    system.until(lambda: system.found().keys() == final.keys(), 120, f"not all of {final}")
    assert system.found() == final
    for outcome in ("filtered", "tombstone"):
        wanted = dict.fromkeys(SOURCES, 0)
        for (source, _), found in system.expected.items():
            wanted[source] += found == outcome
        assert system.counted(outcome) == wanted
    messages = {
        (one["stream-app-source"].split("/")[0], one["stream-app-error-message"])
        for one in map(headers, system.read("raw.dlq"))
    }
    for source, path in (("orders", "order.id"), ("keyed", "buyer.country")):
        assert any(
            name == source and f"(source {source}: {path})" in text for name, text in messages
        ), messages
    assert {value["event_id"] for value in system.values("scored")} >= {
        "changes/0/0",
        "changes/0/1",
        "changes/0/2",
    }


def send_changes(system: Formats) -> None:
    """Send every operation of Debezium, tombstones and broken change events."""
    for number, (operation, outcome) in enumerate(
        [
            ("c", "scored"),
            ("r", "scored"),
            ("u", "filtered"),
            ("d", "tombstone"),
            ("t", "filtered"),
            ("m", "filtered"),
            ("x", "invalid-envelope"),
        ]
    ):
        system.put("rows", outcome, change(operation, f"row-{number}"))
    wrapped = {"schema": {"type": "struct"}, "payload": change("c", "wrapped")}
    system.put("rows", "scored", wrapped)
    system.put("rows", "tombstone", {"schema": None, "payload": None})
    system.put("rows", "tombstone", None)
    system.put("rows", "invalid-envelope", change("c", "no-row", after=None))
    system.put("rows", "invalid-envelope", row("no-envelope"))
    system.put("rows", "duplicate", change("c", "row-0"))
    del system.expected["rows", 12]
    for operation, outcome in (
        ("c", "scored"),
        ("u", "scored"),
        ("u", "scored"),
        ("d", "tombstone"),
        ("t", "filtered"),
    ):
        system.put("changes", outcome, change(operation, "same-row"))


def send_avro(system: Formats) -> None:
    """Send Avro records of several writers, and such that cannot be read."""
    known = system.schema_id(ORDER)
    paid = {"order": {"id": "a1", "country": "NL"}, "paid": AT * 1000, "amount": 1.0}
    good = avro_samples.framed(ORDER, paid, known)
    system.put("orders", "scored", good)
    newer = avro_samples.changed(ORDER, channel={"type": "string", "default": ""})
    second = {**paid, "order": {"id": "a2", "country": None}, "channel": "web"}
    system.put("orders", "scored", avro_samples.framed(newer, second, system.schema_id(newer)))
    system.put("orders", "unknown-schema", b"\0\x7f\xff\xff\xfe" + good[5:])
    system.put("orders", "invalid-avro", good[:-1])
    system.put("orders", "tombstone", None)
    system.put("orders", "empty-value", b"")
    other = {**ORDER, "name": "Other", "fields": ORDER["fields"][1:]}
    subject = f"{system.name}.other"
    unrelated = system.registry.register(subject, json.dumps(other))
    system.put("orders", "missing-field", avro_samples.framed(other, paid, unrelated))
