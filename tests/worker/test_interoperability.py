"""Avro inputs of Confluent's serializers are scored, and its deserializers read the outputs."""

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from confluent_kafka import Message
from confluent_kafka.serialization import MessageField, SerializationContext

from stream_app.broker import EmbeddedBroker
from stream_app.loading import load_pipeline
from stream_app.schema_registry.subjects import register_schemas
from stream_app.settings import RegistrySettings, Settings
from tests.running_system import System
from tests.small_pipeline import EVENT_SCHEMA, LABEL_SCHEMA, event, label

HOUR = 3_600_000
AT = (int(time.time() * 1000) // HOUR - 10) * HOUR
EVENTS = 90
AVRO = """
from dataclasses import replace
from datetime import timedelta
from tests.small_pipeline import small_pipeline
small = small_pipeline("NAME", format="avro", window=timedelta(minutes=30), publish_features=True)
label = replace(small.label, horizon=timedelta(minutes=10))
pipeline = replace(small, label=label, pass_through=("country", "amount"))
"""


MakeSerializer = Callable[[str, Any], Callable[[Any], bytes]]
Deserialize = Callable[[Message], dict[str, Any]]


def test_confluents_serializers_and_deserializers_exchange_records_with_the_workers(
    broker: EmbeddedBroker, tmp_path: Path, apicurio: str
) -> None:
    name = f"interop-{uuid4().hex[:8]}"
    with (
        System(broker.bootstrap_servers, tmp_path, name, AVRO, partitions=1) as system,
        confluents(apicurio) as (serializer, deserialize),
    ):
        system.environment = {
            "STREAM_APP_REGISTRY__URL": apicurio,
            "STREAM_APP_REGISTRY__TIMEOUT_SECONDS": "30",
        }
        settings = Settings(registry=RegistrySettings(url=apicurio, timeout_seconds=30))
        register_schemas(load_pipeline(str(system.pipeline)), settings)
        system.start_all()
        system.start("monitor")
        raw = serializer(f"{system.name}.raw", EVENT_SCHEMA)
        labels = serializer(f"{system.name}.labels", LABEL_SCHEMA)
        for number in range(EVENTS):
            at = AT + number * 60_000
            fields = event(number, at, amount=float("nan") if number == 7 else float(number))
            system.send("raw", raw(fields), f"e{number}".encode())
            system.send(
                "labels",
                labels(label(number, at + 30_000, fraud=number % 3 == 0)),
                f"e{number}".encode(),
            )

        counts = system.await_outcomes()
        assert (counts.scored, counts.dead) == (EVENTS - 1, {"not-finite": 1})
        scored = [deserialize(message) for message in system.read("scored")]
        assert {value["event_id"] for value in scored} == {
            f"e{number}" for number in range(EVENTS) if number != 7
        }
        assert scored[0]["features"] == {"amount": 0.0, "domestic": True}
        assert scored[0]["fields"] == {"country": "NL", "amount": 0.0}
        assert scored[0]["source"] == {"topic": f"{system.name}.raw", "partition": 0, "offset": 0}

        def measured(kind: str) -> bool:
            return any(
                deserialize(message)["kind"] == kind for message in system.read("monitoring")
            )

        system.until(lambda: measured("performance"), 60, "nothing is measured")
        found = {
            value["kind"]: value for value in (deserialize(m) for m in system.read("monitoring"))
        }
        assert found["performance"]["pipeline"] == system.name
        window = found["performance"]["window"]
        assert window["end"] - window["start"] == HOUR // 2
        # Examples are internal, and JSON.
        assert all(orjson.loads(message.value() or b"") for message in system.read("examples"))


@contextmanager
def confluents(url: str) -> Iterator[tuple[MakeSerializer, Deserialize]]:
    """Yield a factory of serializers for a topic's values, and a deserializer."""
    # Imports Confluent's client without its warning.
    importlib.import_module("stream_app.schema_registry.http_registry")
    avro = importlib.import_module("confluent_kafka.schema_registry.avro")
    client = importlib.import_module("confluent_kafka.schema_registry").SchemaRegistryClient(
        {"url": url}
    )
    deserializer = avro.AvroDeserializer(client)

    def serializer(topic: str, schema: Any) -> Callable[[Any], bytes]:
        serialize = avro.AvroSerializer(client, orjson.dumps(schema).decode())
        return lambda fields: bytes(
            serialize(fields, SerializationContext(topic, MessageField.VALUE))
        )

    def deserialize(message: Message) -> dict[str, Any]:
        return dict(
            deserializer(message.value(), SerializationContext(message.topic(), MessageField.VALUE))
        )

    with client:
        yield serializer, deserialize
