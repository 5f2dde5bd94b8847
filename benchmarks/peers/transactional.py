"""Hand-written transactional loop with validation, deduplication, state and the same outputs.

It is written for one schema and does not join labels; it only stores what a join would need. This
is the plain one, as it is written before anything is measured; `benchmarks.peers.tuned` is the
fast one.
"""

import sys
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from datetime import datetime
from math import isfinite
from time import monotonic, time
from typing import Any

import orjson
from confluent_kafka import Message, Producer, TopicPartition

from benchmarks.peers.exactly_once import (
    DAY,
    HORIZON,
    LATENESS,
    MINUTE,
    RecordCounts,
    committed_reader,
    dead_headers,
    transactional_producer,
)
from benchmarks.peers.work import BAD, features_of, trained_model

TEXTS = ("event_id", "scheduled_departure", "carrier", "origin", "dest")
INTEGERS = ("flight", "distance", "local_departure", "planned_minutes")
MEASURED = ("humidity", "wind_speed", "precipitation", "pressure", "visibility")


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


def main(servers: str, raw: str, scored: str, dead: str, state: str, commit_ms: str) -> None:
    """Runs until killed."""
    model = trained_model()
    states: dict[int, State] = defaultdict(State)
    commit_seconds = int(commit_ms) / 1000
    consumer = committed_reader(servers, scored)
    consumer.subscribe([raw])
    producer = transactional_producer(servers, scored)
    producer.init_transactions()
    began = 0.0
    positions: dict[int, int] = {}
    while True:
        messages = consumer.consume(1000, min(0.05, commit_seconds / 2) if positions else 0.2)
        if messages and not positions:
            producer.begin_transaction()
            began = monotonic()
        now = int(time() * 1000)
        for message in messages:
            positions[message.partition()] = message.offset() + 1
            work(producer, model, states[message.partition()], message, now, scored, dead, state)
        if positions and monotonic() - began > commit_seconds:
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
        features = features_of(flight)
        if not all(isfinite(number) for number in features.values() if isinstance(number, float)):
            raise ValueError("not finite")
        score = model.predict_proba_one(features).get(True, 0.0)
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


if __name__ == "__main__":
    main(*sys.argv[1:])
