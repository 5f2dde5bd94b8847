"""All records about one event, out of the partition where its key has put them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from confluent_kafka import Message

from stream_app.core.learning.examples_log import Control, control_in
from stream_app.core.reading.decoding import Schemas, decode
from stream_app.core.scoring.partition_state import ENTRY_PREFIX, TALLIES_KEY
from stream_app.core.scoring.prediction_codec import is_packed
from stream_app.dead_letters.registry_schemas import registry_schemas
from stream_app.error_codes import ERROR_CODES
from stream_app.explain.event_trace import FailedAttempt, ReplaySent
from stream_app.formatting import iso_time
from stream_app.headers import (
    ERROR_CODE,
    ERROR_MESSAGE,
    ORIGINAL_OFFSET,
    ORIGINAL_PARTITION,
    ORIGINAL_TOPIC,
)
from stream_app.kafka.offsets import OffsetBounds, PartitionId
from stream_app.kafka.partitioner import java_partition
from stream_app.kafka.reader import PartitionReader
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, Fields
from stream_app.settings import Settings
from stream_app.topic_kinds import PARTITIONED, topic_name
from stream_app.transfer.record_rendering import json_text
from stream_app.transfer.send_progress import SendProgress, reporter

_AHEAD_KB = 16_384  # of a partition, fetched ahead
_CLOCKS_MS = 60_000  # by which two workers' clocks may differ


@dataclass(slots=True)
class EventRecords:
    """The records about an event by kind of topic, oldest first; those of "score.state" are its own entry.

    `positions` are the offsets up to which the event's partition was processed, by topic.
    """

    found: dict[str, list[Message]] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)

    def of(self, kind: str) -> list[Message]:
        """Those on one kind of topic."""
        return self.found.get(kind, [])


class EventFinder:
    """Reads what a pipeline's topics have about one event since `since` (epoch ms of Kafka's time; None: all).

    Raises `TopicsError` if a topic is missing, `AccessError` and `KafkaUnavailableError` as every client.
    """

    def __init__(
        self, settings: Settings, pipeline: Pipeline, event_id: str, since: int | None
    ) -> None:
        self.schemas: Schemas = registry_schemas(settings)
        self._reader = PartitionReader.open(settings, queued_max_messages_kbytes=_AHEAD_KB)
        self._pipeline = pipeline
        self._since = since
        self._event_id = event_id
        self._bytes = event_id.encode()
        self._is_key = pipeline.key in (None, pipeline.event_id)

    def find(self) -> EventRecords:
        """Where its key puts it; only if nothing is there, or the key is another field, everywhere."""
        topics = [topic_name(self._pipeline.name, kind) for kind in PARTITIONED]
        places = self._reader.find_partitions(topics)
        count = 1 + max(partition for _, partition in places)
        home = java_partition(self._bytes, count) if self._is_key else None
        traces = self._search(place for place in places if place[1] == home)
        return (
            traces if traces.found else self._search(place for place in places if place[1] != home)
        )

    def example(self, after: int) -> Message | None:
        """The first example of the event that was written at `after` (epoch ms) or later."""
        place = (topic_name(self._pipeline.name, "examples"), 0)
        limits = self._reader.bounds([place])
        starts = self._reader.offsets_since({place: limits[place][1]}, after - _CLOCKS_MS)
        with reporter("looking for the example", limits[place][1] - starts[place]) as progress:
            for message in self._read({place: (starts[place], limits[place][1])}, progress):
                if message.key() == self._bytes:
                    return message
        return None

    def decisions(self, start: int, end: int | None) -> Iterator[tuple[int, Control]]:
        """Those in the log of examples with start <= offset < end, or to its present end, each with its offset."""
        place = (topic_name(self._pipeline.name, "examples"), 0)
        end = end or self._reader.bounds([place])[place][1]
        with reporter("looking for decisions", end - start) as progress:
            for message in self._read({place: (start, end)}, progress):
                control = control_in(message.key(), message.value())
                if control is not None:
                    yield message.offset() or 0, control

    def last_hold(self, end: int) -> Control | None:
        """The last hold or resumption of learning before this offset of the log."""
        place = (topic_name(self._pipeline.name, "examples"), 0)
        low, _ = self._reader.bounds([place])[place]
        found = self._reader.newest({place: (low, end)}, _is_hold) if low < end else {}
        return control_in(found[place].key(), found[place].value()) if place in found else None

    def record_at(self, topic: str, partition: int, offset: int) -> Message | None:
        """One record; None if it is no longer there."""
        low, high = self._reader.bounds([(topic, partition)])[topic, partition]
        if not low <= offset < high:
            return None
        limits = {(topic, partition): (offset, offset + 1)}
        return next(self._reader.records(limits), None)

    def fields(self, message: Message) -> Fields | None:
        """What a record says, JSON or Avro; None if it cannot be decoded."""
        fields = decode(message.value(), message.headers() or (), self.schemas)
        return None if isinstance(fields, Failure) else fields

    def _search(self, places: Iterable[PartitionId]) -> EventRecords:
        limits = dict(self._reader.bounds(places))
        if self._since is not None:
            ends = {place: end for place, (_, end) in limits.items()}
            starts = self._reader.offsets_since(ends, self._since)
            limits = {place: (max(low, starts[place]), end) for place, (low, end) in limits.items()}
        traces = EventRecords()
        books: dict[int, bytes] = {}
        partition = 0
        with reporter(
            "looking for the event", sum(end - start for start, end in limits.values())
        ) as progress:
            for message in self._read(limits, progress):
                kind = self._kind(message)
                if kind == "score.state" and message.key() == TALLIES_KEY:
                    books[message.partition() or 0] = message.value() or b"{}"
                elif self._is_about(kind, message):
                    traces.found.setdefault(kind, []).append(message)
                    partition = message.partition() or 0
        if partition in books:
            traces.positions = orjson.loads(books[partition])["positions"]
        return traces

    def _read(self, limits: OffsetBounds, progress: SendProgress) -> Iterable[Message]:
        count = 0
        for batch in self._reader.batches(limits):
            count += len(batch)
            progress.update(count, count)
            yield from batch

    def _kind(self, message: Message) -> str:
        return (message.topic() or "").removeprefix(f"{self._pipeline.name}.")

    def _is_about(self, kind: str, message: Message) -> bool:
        key, value = message.key(), message.value() or b""
        if kind == "score.state":
            return bool(key == ENTRY_PREFIX + self._bytes)
        if self._is_key and key == self._bytes:
            return True
        if self._bytes not in value and value[:1] != b"\0" and self._event_id.isascii():
            return False  # most records: no need to decode them
        fields = self.fields(message)
        name = "event_id" if kind == "scored" else self._pipeline.event_id
        return fields is not None and str(fields.get(name)) == self._event_id


def _is_hold(message: Message) -> bool:
    control = control_in(message.key(), message.value())
    return control is not None and control.command in ("pause", "resume")


def label_state(traces: EventRecords, *, joined: bool) -> str:
    """How it stands with an event's label, in words."""
    if joined:
        return "joined"
    entry = traces.of("score.state")[-1].value() if traces.of("score.state") else None
    if entry is not None and is_packed(entry):
        return "awaited"
    if entry is not None and orjson.loads(entry)[0] == "w":
        return "waiting for its event"
    return "none in time" if traces.of("scored") else "none"


def was_scored(traces: EventRecords) -> bool:
    """Whether the scorer's state has, or had, a prediction or a joined label."""
    values = [entry.value() or b"" for entry in traces.of("score.state")]
    return any(is_packed(value) or value.startswith(b'["j"') for value in values)


def dead_letter(letters: list[Message], record: Message) -> FailedAttempt | None:
    """Why this record is a dead letter, if it is."""
    for letter in letters:
        headers: Any = letter.headers() or ()
        facts = {name: (content or b"").decode("utf-8", "replace") for name, content in headers}
        origin = (
            facts.get(ORIGINAL_TOPIC),
            facts.get(ORIGINAL_PARTITION),
            facts.get(ORIGINAL_OFFSET),
        )
        if origin == tuple(map(str, place(record))):
            code = facts.get(ERROR_CODE, "unknown")
            known = ERROR_CODES.get(code)
            return FailedAttempt(code, facts.get(ERROR_MESSAGE, ""), known.remedy if known else "")
    return None


def sent(record: Message, became: str, failed: FailedAttempt | None) -> ReplaySent:
    """A record that became that, with why if it failed."""
    return ReplaySent(
        *place(record), iso_time(record.timestamp()[1]), became, failed, json_text(record.value())
    )


def place(record: Message) -> tuple[str, int, int]:
    """Topic, partition and offset."""
    return record.topic() or "", record.partition() or 0, record.offset() or 0


def source(scored: Fields) -> tuple[str, int, int]:
    """Where the raw record of a scored one stood."""
    found = scored["source"]
    return found["topic"], found["partition"], found["offset"]
