"""Every bad Avro record becomes a dead letter with the right code, and good ones are scored."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.headers import VALUE_SCHEMA_ID
from stream_app.loading import load_pipeline
from stream_app.schema_registry import open_registry
from stream_app.schema_registry.subjects import register_schemas
from stream_app.settings import RegistrySettings, Settings
from tests import avro_samples
from tests.running_system import System, headers
from tests.small_pipeline import EVENT_SCHEMA, LABEL_SCHEMA, event, label
from tests.worker.test_bad_input import AT, DECLARED, HOUR

UNKNOWN = UUID("89791762-2336-4186-9674-299b90a802e2")
# A length of 2 GB.
LENGTH = b"\xfe\xff\xff\xff\x0f"


class AvroSystem(System):
    """Pipeline with registered schemas that writes Avro."""

    def __init__(self, servers: str, folder: Path, registry: str) -> None:
        declared = DECLARED.replace("model=FailingModel", 'model=FailingModel, format="avro"')
        super().__init__(
            servers, folder, f"bad-{uuid4().hex[:8]}", declared, max_message_bytes=4 << 20
        )
        settings = Settings(registry=RegistrySettings(url=registry, timeout_seconds=30))
        self.registry = open_registry(settings.registry)
        self.environment = {
            "STREAM_APP_REGISTRY__URL": registry,
            "STREAM_APP_REGISTRY__TIMEOUT_SECONDS": "30",
        }
        ids = {
            one.subject: one.id
            for one in register_schemas(load_pipeline(str(self.pipeline)), settings)
        }
        self.raw, self.labels = ids[f"{self.name}.raw-value"], ids[f"{self.name}.labels-value"]
        self._scored = ids[f"{self.name}.scored-value"]
        self.decode = self._decode

    def _decode(self, value: bytes) -> dict[str, Any]:
        """Decode an output: scored records are Avro, internal records JSON."""
        fields: dict[str, Any] = (
            orjson.loads(value)
            if value[0] != 0
            else avro_samples.decode(value, {self._scored: self.registry.schema(self._scored)})
        )
        return fields

    def add_schema(self, schema: Any) -> int:
        """Register a schema under a new subject."""
        return self.registry.register(f"{self.name}-{uuid4().hex[:8]}", json.dumps(schema))

    def avro(
        self,
        number: int,
        *,
        key: bytes | None = b"",
        schema: Any = EVENT_SCHEMA,
        schema_id: int = 0,
        **changes: Any,
    ) -> None:
        """Send an event as Avro."""
        fields = event(number, **{"at": AT + number, **changes})
        value = avro_samples.framed(schema, fields, schema_id or self.raw)
        self.send("raw", value, fields["id"].encode() if key == b"" else key)

    def avro_label(self, number: int, known_at: int, key: bytes | None = b"") -> None:
        fields = label(number, known_at)
        value = avro_samples.framed(LABEL_SCHEMA, fields, self.labels)
        self.send("labels", value, fields["id"].encode() if key == b"" else key)


@pytest.fixture
def system(broker: EmbeddedBroker, tmp_path: Path, apicurio: str) -> Iterator[AvroSystem]:
    system = AvroSystem(broker.bootstrap_servers, tmp_path, apicurio)
    with system:
        system.start_all()
        yield system


def test_bad_records_become_dead_letters_and_the_rest_is_scored(system: AvroSystem) -> None:
    good = avro_samples.encode(EVENT_SCHEMA, event(1, AT))
    prefix = b"\0" + system.raw.to_bytes(4, "big")
    text = avro_samples.changed(EVENT_SCHEMA, amount="string")
    expected = Counter[str]()

    def bad(code: str, value: bytes | None, **options: Any) -> None:
        expected[code] += 1
        system.send("raw", value, options.pop("key", b"e1"), **options)

    bad("invalid-avro", prefix + good[:-1])
    bad("invalid-avro", prefix + good + b"\0")
    bad("invalid-avro", prefix)
    bad("invalid-avro", prefix + LENGTH + good)
    bad("invalid-avro", b"\0\0\0")
    bad("invalid-avro", b"\0\xff\xff\xff\xff" + good)
    bad("invalid-avro", good, headers=[(VALUE_SCHEMA_ID, b"7")])
    bad("invalid-avro", b"\0" + system.add_schema("string").to_bytes(4, "big") + b"\x02a")
    bad("unknown-schema", b"\0\x7f\xff\xff\xfe" + good)
    bad("unknown-schema", good, headers=[(VALUE_SCHEMA_ID, b"\1" + UNKNOWN.bytes)])
    bad("empty-value", b"")
    bad("empty-value", None)
    bad("invalid-json", b"\1" + good)
    bad("missing-key", prefix + good, key=None)
    bad("key-mismatch", prefix + good, key=b"e99")
    for number, code, changes in (
        (4, "not-finite", {"amount": float("nan")}),
        (5, "not-finite", {"amount": float("-inf")}),
        (6, "output-too-large", {"amount": -4_260_000.0}),
        (7, "features-failed", {"amount": -1.0}),
        (8, "feature-invalid", {"amount": -2.0}),
        (
            11,
            "wrong-type",
            {"amount": "much", "schema": text, "schema_id": system.add_schema(text)},
        ),
        (12, "event-in-future", {"at": AT + 10**12}),
    ):
        expected[code] += 1
        system.avro(number, **changes)
    short = avro_samples.changed(EVENT_SCHEMA, amount=None)
    expected["missing-field"] += 1
    system.avro(13, schema=short, schema_id=system.add_schema(short))
    # An untrained model that fails, or gives an invalid score, is replaced by the prior.
    system.avro(9, amount=1001.0)
    system.avro(10, amount=1002.0)
    for number in range(100, 150):
        system.avro(number, amount=1.0)
    system.avro(150, country="L" * 2_000_000, amount=2.0)

    counts = system.await_outcomes()

    assert counts.dead == expected
    assert (counts.scored, counts.degraded) == (53, 2)
    original = {(m.partition(), str(m.offset())): (m.key(), m.value()) for m in system.read("raw")}
    for message in system.read("raw.dlq"):
        source = (message.partition(), headers(message)["stream-app-original-offset"])
        assert (message.key(), message.value()) == original[source]
        assert headers(message)["stream-app-original-topic"] == f"{system.name}.raw"
    system.check_outcomes()


def test_older_and_newer_writers_and_json_share_a_topic(system: AvroSystem) -> None:
    micros = {"type": "long", "logicalType": "timestamp-micros"}
    writers = {
        1: EVENT_SCHEMA,
        # An older writer, without a field.
        2: avro_samples.changed(EVENT_SCHEMA, country=None),
        # A newer writer, with another field.
        3: avro_samples.changed(
            EVENT_SCHEMA, amount="int", note={"type": "map", "values": "bytes"}
        ),
        4: avro_samples.changed(EVENT_SCHEMA, at=micros),
    }
    ids = {number: system.add_schema(schema) for number, schema in writers.items()}
    changes: dict[int, dict[str, Any]] = {
        3: {"amount": 3, "note": {"a": b"\xff"}},
        4: {"at": (AT + 4) * 1000},
    }
    for number, schema in writers.items():
        system.avro(number, schema=schema, schema_id=ids[number], **changes.get(number, {}))
    system.send_event(5, AT + 5)
    in_header = avro_samples.encode(writers[4], event(6, (AT + 6) * 1000))
    system.send(
        "raw", in_header, b"e6", headers=[(VALUE_SCHEMA_ID, b"\0" + ids[4].to_bytes(4, "big"))]
    )
    # A duplicate, although it is JSON.
    system.send_event(1, AT + 1)

    counts = system.await_outcomes()

    assert (counts.scored, counts.duplicates, counts.dead) == (6, 1, {})
    assert {value["event_id"]: value["event_time"] for value in system.values("scored")} == {
        f"e{number}": AT + number for number in range(1, 7)
    }
    assert all((message.value() or b"")[0] == 0 for message in system.read("scored"))
    system.check_outcomes()


def test_early_duplicate_and_broken_labels_are_joined_counted_or_dead_lettered(
    system: AvroSystem,
) -> None:
    # Twice before its event.
    system.avro_label(1, AT + HOUR)
    system.avro_label(1, AT + HOUR)
    system.producer.flush(60)
    system.until(lambda: system.record_counts().labels == 2, 60, "labels are not read")
    system.avro(1)
    system.avro(2)
    system.producer.flush(60)
    system.until(lambda: system.record_counts().joined == 1, 20, "the waiting label is not joined")
    # Twice after its event, and once as JSON.
    system.avro_label(2, AT + HOUR)
    system.avro_label(2, AT + HOUR)
    system.send_label(2, AT + HOUR)
    system.send("labels", b"\0" + system.labels.to_bytes(4, "big") + b"?", b"e4")
    system.send("labels", b"\0\x7f\xff\xff\xfe?", b"e4")
    system.avro_label(5, AT, key=None)
    system.avro_label(6, AT, key=b"e7")

    counts = system.await_outcomes()

    assert (counts.joined, counts.label_duplicates) == (2, 3)
    assert counts.label_dead == {
        "invalid-avro": 1,
        "unknown-schema": 1,
        "missing-key": 1,
        "key-mismatch": 1,
    }
    system.check_outcomes()
