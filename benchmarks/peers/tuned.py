"""Hand-written transactional loop with every lever that was found: the fastest one known.

The same guarantee and outputs as `benchmarks.peers.transactional`, with typed decoding, a model
folded into weights, looked-up times, a template for scored records, predictions in blocks in the
changelog (`docs/state.md`), one batch per poll, and a frozen heap.
"""

import gc
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import lru_cache
from struct import Struct
from time import monotonic, time
from typing import Annotated, Any

import msgspec
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
from benchmarks.peers.work import BAD, RANGES, WORKLOAD, trained_model
from benchmarks.workload import schema

BATCH_RECORDS = 3000
# Predictions of a block of the changelog, and fewer than which become single records.
BLOCK_RECORDS, LEAST_RECORDS = 100, 8
# Event time and row of a prediction in the changelog.
HEADER = Struct(">qH")
encode = msgspec.msgpack.Encoder().encode
IDLE_SECONDS = 0.2

Int = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
TYPES: Mapping[str, Any] = {"string": str, "int": Int, "double": float}
"""Python types of the Avro types of the schema."""

SCORED = (
    b'{"event_id":%b,"event_time":%d,"scored_at":%d,"prediction":%b,"score":%b,"threshold":0.5,'
    b'"model":{"name":"flights","version":0},"degraded":null,"source":{"topic":%b,'
    b'"partition":%d,"offset":%d},"fingerprint":"0123456789abcdef","imputed":[],'
    b'"label_due_by":%d,"features":null}'
)

Predict = Callable[[tuple[float, ...]], float]
Unwritten = tuple[int, str, bytes]
"""Event time, event id and encoded prediction."""


@dataclass(slots=True)
class State:
    """State of a partition.

    Attributes:
        counts: counters since the start.
        pending: encoded predictions by event id, as in the changelog.
        expiry: event ids by the minute in which they expire.
        unwritten: predictions that are not in the changelog yet.
        blocks: number of blocks written.
    """

    counts: RecordCounts = field(default_factory=RecordCounts)
    pending: dict[str, bytes] = field(default_factory=dict)
    expiry: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    unwritten: list[Unwritten] = field(default_factory=list)
    blocks: int = 0


class Outputs:
    """Writes the outcomes of a partition's records, and its changelog.

    Args:
        producer: transactional producer.
        topics: scored records, dead letters and changelog.
        partition: partition of each topic.
    """

    def __init__(self, producer: Producer, topics: tuple[str, str, str], partition: int) -> None:
        self._produce = producer.produce
        self._scored, self._dead, self._changelog = topics
        self._partition = partition
        self.state = State()

    def process(self, messages: list[Message], predict: Predict, decode: Any, now: int) -> None:
        """Processes records of one partition: scored, dead letter, or duplicate."""
        state, produce, scored, partition = self.state, self._produce, self._scored, self._partition
        counts, pending, expiry = state.counts, state.pending, state.expiry
        unwritten, dumps, isfinite = state.unwritten, orjson.dumps, math.isfinite
        pack = encode
        topic = dumps(messages[0].topic())
        for message in messages:
            key, offset = message.key(), message.offset()
            try:
                flight = decode(message.value())
                event_id = flight.event_id
                encoded_id = event_id.encode()
                if key != encoded_id:
                    raise ValueError("key")
                event_time = to_milliseconds(flight.scheduled_departure)
                if event_time > now + DAY:
                    raise ValueError("event time in the future")
                if event_time + HORIZON + LATENESS < counts.clock:
                    raise ValueError("too late")
                if event_id in pending:
                    counts.duplicates += 1
                    continue
                values = (
                    float(flight.distance),
                    float(flight.planned_minutes),
                    float(flight.local_departure),
                    flight.humidity or 0.0,
                    flight.wind_speed or 0.0,
                    flight.precipitation or 0.0,
                    flight.pressure or 0.0,
                    flight.visibility or 0.0,
                )
                if not isfinite(sum(values)):
                    raise ValueError("not finite")
                score = predict(values)
            except BAD as error:
                counts.dead += 1
                headers = dead_headers(message, error, now)
                produce(self._dead, message.value(), key, partition, headers=headers)
                continue
            packed = HEADER.pack(event_time, 0) + pack((score, 0, offset, *values))
            pending[event_id] = packed
            due = event_time + HORIZON
            expiry[(due + LATENESS) // MINUTE].append(event_id)
            counts.scored += 1
            seen = event_time if event_time < now else now
            if seen > counts.watermark:
                counts.watermark = seen
            value = SCORED % (
                dumps(event_id),
                event_time,
                now,
                b"true" if score >= 0.5 else b"false",
                dumps(score),
                topic,
                partition,
                offset,
                due,
            )
            produce(scored, value, key, partition)
            unwritten.append((event_time, event_id, packed))
            if len(unwritten) >= BLOCK_RECORDS:
                self._write_block()

    def complete(self, position: int) -> None:
        """Writes the changelog records that complete a transaction; `position` is the next offset.

        Few predictions become single records.
        """
        state = self.state
        if len(state.unwritten) >= LEAST_RECORDS:
            self._write_block()
        for _, event_id, packed in state.unwritten:
            self._produce(self._changelog, b"p" + packed, b"e" + event_id.encode(), self._partition)
        state.unwritten.clear()
        counts = {**asdict(state.counts), "position": position, "next_block": state.blocks}
        self._produce(self._changelog, orjson.dumps(counts), b"t", self._partition)

    def _write_block(self) -> None:
        state = self.state
        times, ids, packed = zip(*state.unwritten, strict=True)
        value = encode((*max(zip(times, ids, strict=True)), ids, packed))
        self._produce(self._changelog, value, b"b%d" % state.blocks, self._partition)
        state.blocks += 1
        state.unwritten.clear()


def main(servers: str, raw: str, scored: str, dead: str, state: str, commit_ms: str) -> None:
    """Runs until killed."""
    commit_seconds = int(commit_ms) / 1000
    predict, decode = predict_function(trained_model()), decoder().decode
    consumer = committed_reader(servers, scored)
    consumer.subscribe([raw])
    producer = transactional_producer(servers, scored)
    producer.init_transactions()
    outputs: dict[int, Outputs] = {}
    positions: dict[int, int] = {}
    collect_less()
    while True:
        # Returns at the first record, and leaves the others to the loop below.
        first = consumer.poll(IDLE_SECONDS)
        if first is None:
            continue
        producer.begin_transaction()
        commit_at = monotonic() + commit_seconds
        messages = [first]
        while messages or monotonic() < commit_at:
            for partition, batch in by_partition(messages).items():
                if partition not in outputs:
                    outputs[partition] = Outputs(producer, (scored, dead, state), partition)
                outputs[partition].process(batch, predict, decode, int(time() * 1000))
                positions[partition] = batch[-1].offset() + 1
            remaining = commit_at - monotonic()
            if remaining <= 0:
                break
            messages = consumer.consume(BATCH_RECORDS, remaining)
        for partition, position in positions.items():
            outputs[partition].complete(position)
        offsets = [TopicPartition(raw, *place) for place in positions.items()]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
        producer.commit_transaction()
        positions.clear()


def by_partition(messages: list[Message]) -> dict[int, list[Message]]:
    """Returns records by partition, in their order."""
    found: dict[int, list[Message]] = {}
    for message in messages:
        found.setdefault(message.partition(), []).append(message)
    return found


def decoder() -> Any:
    """Returns the decoder of the workload's schema: JSON to a checked object."""
    fields: list[Any] = []
    for one in schema(WORKLOAD.payload)["fields"]:
        if "default" in one:
            fields.append((one["name"], TYPES[one["type"][1]] | None, None))
        else:
            fields.append((one["name"], TYPES[one["type"]]))
    # Required fields come first.
    fields.sort(key=len)
    return msgspec.json.Decoder(msgspec.defstruct("Flight", fields, gc=False))


@lru_cache(100_000)
def to_milliseconds(text: str) -> int:
    """Returns Unix milliseconds of an ISO 8601 time; many flights have the same one."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def predict_function(model: Any) -> Predict:
    """Returns a function from the values of the features to a probability.

    A scaler and a logistic regression become weights; other models predict as they are.
    """
    if WORKLOAD.model != "logistic":
        return lambda values: float(
            model.predict_proba_one(dict(zip(RANGES, values, strict=True))).get(True, 0.0)
        )
    scaler, regression = model.steps.values()
    weights, bias = [], regression.intercept
    for name in RANGES:
        weight = regression.weights[name] / math.sqrt(scaler.vars[name])
        weights.append(weight)
        bias -= weight * scaler.means[name]
    return linear(weights, bias)


def linear(weights: list[float], bias: float) -> Predict:
    """Returns the probability of a logistic regression of eight features, without a loop."""
    w0, w1, w2, w3, w4, w5, w6, w7 = weights
    exp = math.exp

    def predict(values: tuple[float, ...]) -> float:
        x0, x1, x2, x3, x4, x5, x6, x7 = values
        total = bias + w0 * x0 + w1 * x1 + w2 * x2 + w3 * x3
        total += w4 * x4 + w5 * x5 + w6 * x6 + w7 * x7
        # Beyond the limits, the difference to 0 or 1 is below 1e-13, and `exp` overflows later.
        return 1.0 / (1.0 + exp(-max(-30.0, min(30.0, total))))

    return predict


def collect_less() -> None:
    """Leaves what is loaded out of garbage collections, and collects rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)


if __name__ == "__main__":
    main(*sys.argv[1:])
