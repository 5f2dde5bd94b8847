"""A hand-written transactional loop that does what ours does: validation, identity, state, the same outputs."""

import re
import sys
import traceback
from datetime import datetime
from hashlib import blake2b
from math import isfinite
from time import monotonic, time
from typing import Any

import orjson
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from benchmarks.peers.work import BAD, numbers, trained_model

COMMIT_SECONDS = 0.1
HORIZON = 36 * 3600 * 1000
TEXTS = ("event_id", "scheduled_departure", "carrier", "origin", "dest")
INTEGERS = ("flight", "distance", "local_departure", "planned_minutes")
MEASURED = ("humidity", "wind_speed", "precipitation", "pressure", "visibility")


def main(servers: str, raw: str, scored: str, dead: str, state: str) -> None:
    """Run until killed."""
    model = trained_model()
    known: dict[str, tuple[int, float, dict[str, float]]] = {}
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": scored,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([raw])
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "transactional.id": scored,
            "linger.ms": 5,
            "compression.type": "lz4",
            "retry.backoff.ms": 50,
        }
    )
    producer.init_transactions()
    began = 0.0
    positions: dict[int, int] = {}
    while True:
        messages = consumer.consume(1000, 0.05 if positions else 0.2)
        if messages and not positions:
            producer.begin_transaction()
            began = monotonic()
        now = int(time() * 1000)
        for message in messages:
            positions[message.partition()] = message.offset() + 1
            work(producer, model, known, message, now, scored, dead, state)
            producer.poll(0)
        if positions and monotonic() - began > COMMIT_SECONDS:
            offsets = [TopicPartition(raw, partition, offset) for partition, offset in positions.items()]
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
            producer.commit_transaction()
            positions = {}


def work(
    producer: Producer,
    model: Any,
    known: dict[str, Any],
    message: Message,
    now: int,
    scored: str,
    dead: str,
    state: str,
) -> None:
    """One record: scored, dead letter, or duplicate."""
    partition, offset, key = message.partition(), message.offset(), message.key()
    try:
        flight = orjson.loads(message.value())
        check(flight, key)
        event_time = int(datetime.fromisoformat(flight["scheduled_departure"]).timestamp() * 1000)
        event_id = flight["event_id"]
        if event_id in known:
            return
        features = numbers(flight)
        if not all(isfinite(number) for number in features.values() if isinstance(number, float)):
            raise ValueError("not finite")
        score = model.predict_proba_one(features)[True]
    except BAD as error:
        producer.produce(dead, message.value(), key, partition=partition, headers=dead_headers(message, error, now))
        return
    known[event_id] = (event_time, score, features)
    value = {
        "event_id": event_id,
        "event_time": event_time,
        "scored_at": now,
        "prediction": score >= 0.5,
        "score": score,
        "threshold": 0.5,
        "model": {"name": "flights", "version": 0},
        "source": {"topic": message.topic(), "partition": partition, "offset": offset},
        "fingerprint": "0123456789abcdef",
        "imputed": [],
        "label_due_by": event_time + HORIZON,
        "features": None,
    }
    producer.produce(scored, orjson.dumps(value), key, partition=partition)
    pending = {"s": "pending", "t": event_time, "p": score, "v": 0, "f": features}
    producer.produce(state, orjson.dumps(pending), event_id.encode(), partition=partition)


def check(flight: Any, key: bytes) -> None:
    """Raise for whatever does not fit the schema."""
    if type(flight) is not dict:
        raise TypeError("not an object")
    for name in TEXTS:
        if type(flight[name]) is not str:
            raise TypeError(f"field {name}")
    for name in INTEGERS:
        if type(flight[name]) is not int or not -(2**31) <= flight[name] < 2**31:
            raise TypeError(f"field {name}")
    for name in MEASURED:
        value = flight.get(name)
        if value is not None and type(value) not in (float, int):
            raise TypeError(f"field {name}")
    if key != flight["event_id"].encode():
        raise ValueError("key")


def dead_headers(message: Message, error: Exception, now: int) -> list[tuple[str, bytes]]:
    """What happened."""
    text = str(error)
    headers = {
        "error-id": blake2b(f"{message.topic()}/{message.partition()}/{message.offset()}".encode()).hexdigest()[:16],
        "error-code": "bad",
        "error-message": text,
        "error-exception": type(error).__name__,
        "error-stacktrace": "".join(traceback.format_tb(error.__traceback__)),
        "error-fingerprint": blake2b(re.sub(r"\d+", "#", text).encode()).hexdigest()[:16],
        "original-topic": message.topic(),
        "original-partition": str(message.partition()),
        "original-offset": str(message.offset()),
        "original-timestamp": str(message.timestamp()[1]),
        "error-last-failed-at": str(now),
    }
    return [(name, content.encode()) for name, content in headers.items()]


if __name__ == "__main__":
    main(*sys.argv[1:])
