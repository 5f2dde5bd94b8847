"""Hand-written transactional loop with validation, deduplication, state and the same outputs.

It is written for one schema and does not join labels; it only stores what a join would need.
"""

import re
import sys
import traceback
from collections import defaultdict
from dataclasses import asdict, dataclass, field
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
LATENESS = 3600 * 1000
DAY = 24 * 3600 * 1000
MINUTE = 60_000
TEXTS = ("event_id", "scheduled_departure", "carrier", "origin", "dest")
INTEGERS = ("flight", "distance", "local_departure", "planned_minutes")
MEASURED = ("humidity", "wind_speed", "precipitation", "pressure", "visibility")


@dataclass(slots=True)
class RecordCounts:
    """Counters that each transaction writes; times in Unix milliseconds."""

    scored: int = 0
    dead: int = 0
    duplicates: int = 0
    watermark: int = 0
    # Labels would advance it.
    clock: int = 0


@dataclass(slots=True)
class State:
    """State of a partition.

    Attributes:
        counts: counters since the start.
        pending: encoded predictions by event id, as in the changelog.
        expiry: event ids by the minute in which they expire.
    """

    counts: RecordCounts = field(default_factory=RecordCounts)
    pending: dict[str, bytes] = field(default_factory=dict)
    expiry: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))


def main(servers: str, raw: str, scored: str, dead: str, state: str) -> None:
    """Runs until killed."""
    model = trained_model()
    states: dict[int, State] = defaultdict(State)
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
            # Fewer, larger batches; a commit flushes them.
            "linger.ms": 50,
            "queue.buffering.max.messages": 200_000,
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
            work(producer, model, states[message.partition()], message, now, scored, dead, state)
        if positions and monotonic() - began > COMMIT_SECONDS:
            for partition in positions:
                counts = {**asdict(states[partition].counts), "position": positions[partition]}
                producer.produce(state, orjson.dumps(counts), b"record_counts", partition=partition)
            offsets = [
                TopicPartition(raw, partition, offset) for partition, offset in positions.items()
            ]
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
            producer.commit_transaction()
            positions = {}


def work(
    producer: Producer,
    model: Any,
    partition_state: State,
    message: Message,
    now: int,
    scored: str,
    dead: str,
    state: str,
) -> None:
    """Processes a record: scored, dead letter, or duplicate."""
    partition, offset, key = message.partition(), message.offset(), message.key()
    counts = partition_state.counts
    try:
        flight = orjson.loads(message.value())
        check(flight, key)
        event_time = int(datetime.fromisoformat(flight["scheduled_departure"]).timestamp() * 1000)
        if event_time > now + DAY:
            raise ValueError("event time in the future")
        if event_time + HORIZON + LATENESS < counts.clock:
            raise ValueError("too late")
        event_id = flight["event_id"]
        if event_id in partition_state.pending:
            counts.duplicates += 1
            return
        features = numbers(flight)
        if not all(isfinite(number) for number in features.values() if isinstance(number, float)):
            raise ValueError("not finite")
        score = model.predict_proba_one(features)[True]
    except BAD as error:
        counts.dead += 1
        producer.produce(
            dead,
            message.value(),
            key,
            partition=partition,
            headers=dead_headers(message, error, now),
        )
        return
    value = {
        "event_id": event_id,
        "event_time": event_time,
        "scored_at": now,
        "prediction": score >= 0.5,
        "score": score,
        "threshold": 0.5,
        "model": {"name": "flights", "version": 0},
        "degraded": None,
        "source": {"topic": message.topic(), "partition": partition, "offset": offset},
        "fingerprint": "0123456789abcdef",
        "imputed": [],
        "label_due_by": event_time + HORIZON,
        "features": None,
    }
    # Copy: orjson returns over-allocated buffers (≥ 1 kB).
    pending = b"%b" % orjson.dumps((event_time, score, 0, *features.values()))
    partition_state.pending[event_id] = pending
    partition_state.expiry[(event_time + HORIZON + LATENESS) // MINUTE].append(event_id)
    counts.scored += 1
    counts.watermark = max(counts.watermark, min(event_time, now))
    producer.produce(scored, orjson.dumps(value), key, partition=partition)
    producer.produce(state, pending, event_id.encode(), partition=partition)


def check(flight: Any, key: bytes) -> None:
    """Raises an error of `BAD` if the record does not match the schema."""
    if type(flight) is not dict:
        raise TypeError("not an object")
    if type(flight.get("tail_number", "")) not in (str, type(None)):
        raise TypeError("field tail_number")
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
    """Returns the headers of a dead letter."""
    text = str(error)
    headers = {
        "error-id": blake2b(
            f"{message.topic()}/{message.partition()}/{message.offset()}".encode()
        ).hexdigest()[:16],
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
