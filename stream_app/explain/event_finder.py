"""Finds the records about one event in the pipeline's topics, and reads what they say."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import orjson
from confluent_kafka import Message

from stream_app.core.learning.control_commands import Control, control_in
from stream_app.core.published_records import ScoredRecord
from stream_app.core.reading.decoding import Schemas, decode
from stream_app.core.reading.identity import id_fields, identity_text, key_is_id
from stream_app.core.scoring.state_changelog import (
    BLOCK_PREFIX,
    COUNTS_KEY,
    ENTRY_PREFIX,
    CheckpointChange,
    decode_change,
)
from stream_app.dead_letters.dead_letter_reader import DeadLetter, read_ref
from stream_app.error_codes import ERROR_CODES
from stream_app.explain.entry_history import EntryHistory, EntryState
from stream_app.explain.event_trace import FailureDetail, TracedRecord
from stream_app.formatting import iso_time
from stream_app.kafka.offsets import OffsetBounds, PartitionId
from stream_app.kafka.partition_reader import PartitionReader, headers_of
from stream_app.kafka.partitioner import java_partition
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, Fields
from stream_app.schema_registry.schema_cache import open_schema_cache
from stream_app.settings import Settings
from stream_app.topic_kinds import PARTITIONED, DeadLetterKind, TopicKind, topic_name
from stream_app.transfer.progress import ProgressReporter, report_progress
from stream_app.transfer.record_rendering import json_text

# Kilobytes of a partition that are fetched ahead.
_QUEUED_KB = 16_384

# Largest difference between the clocks of two workers.
_CLOCK_SKEW_MS = 60_000

Position = tuple[str, int, int]
"""Topic, partition and offset of a record."""


@dataclass(slots=True)
class EventRecords:
    """Records about an event.

    Attributes:
        by_kind: records by topic kind, oldest first; those of "score.state" contain its entry.
        history: history of the event's entry in the scorer's state.
        is_complete: True if the changelog was read from its beginning.
        positions: offsets up to which the scorers have processed the partition, by topic.
    """

    history: EntryHistory
    is_complete: bool

    by_kind: dict[str, list[Message]] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)

    def of(self, kind: TopicKind) -> list[Message]:
        """Return the records on one kind of topic."""
        return self.by_kind.get(kind, [])

    def is_processed(self, record: Message) -> bool:
        """Return True if the scorers have processed an input record."""
        topic, _, offset = position_of(record)
        return offset < self.positions.get(topic, 0)

    def entry(self, event_time: int | None) -> EntryState:
        """Return the state of the event's entry in the scorer's state.

        Args:
            event_time: time of the scored event in Unix milliseconds, None if it was not scored.
        """
        history = self.history
        if (
            history.state == "unknown"
            and self.is_complete
            and event_time is not None
            and history.is_below_floor(event_time)
        ):
            return "removed"
        return history.state

    @property
    def removed_at(self) -> str | None:
        """Wall-clock time at which the entry was removed, in ISO 8601; None if that is unknown."""
        history = self.history
        is_known = history.state == "removed" and history.removed_at is not None
        return iso_time(history.removed_at or 0) if is_known else None

    def failure(self, kind: DeadLetterKind, record: Message) -> FailureDetail | None:
        """Return the failure of a record if it is a dead letter."""
        for message in self.of(kind):
            ref = read_ref(kind, message)
            if ref.origin == position_of(record):
                found = DeadLetter.of(ref, message)
                known = ERROR_CODES.get(found.code)
                return FailureDetail(found.code, found.message, known.remedy if known else "")
        return None


class EventFinder:
    """Reads the records about one event from a pipeline's topics.

    Args:
        settings: settings of the connections.
        pipeline: loaded pipeline.
        event_id: id of the event, as text.
        since: search records with this Kafka timestamp in Unix milliseconds or later; None
            searches all.

    Raises:
        TopicsError: a topic is missing.
        AccessError: a topic may not be read.
        KafkaUnavailableError: the cluster does not answer.
    """

    def __init__(
        self, settings: Settings, pipeline: Pipeline, event_id: str, since: int | None
    ) -> None:
        self.schemas: Schemas = open_schema_cache(settings.registry)
        self._reader = PartitionReader.open(settings, queued_max_messages_kbytes=_QUEUED_KB)
        self._pipeline = pipeline
        self._since = since
        self._event_id = event_id
        self._id_bytes = event_id.encode()
        self._id_json = orjson.dumps(event_id)
        self._id_is_key = key_is_id(pipeline)
        self._examples: PartitionId = (topic_name(pipeline.name, "examples"), 0)

    def find(self) -> EventRecords:
        """Return the records about the event.

        The partition of the key is searched first, the others only if it has no such records or
        the key is another field.
        """
        topics = [topic_name(self._pipeline.name, kind) for kind in PARTITIONED]
        partitions = self._reader.find_partitions(topics)
        count = 1 + max(number for _, number in partitions)
        home = java_partition(self._id_bytes, count) if self._id_is_key else None
        records = self._search(one for one in partitions if one[1] == home)
        if records.by_kind:
            return records
        return self._search(one for one in partitions if one[1] != home)

    def example(self, after: int) -> Message | None:
        """Return the event's first example, written at `after` (Unix milliseconds) or later."""
        _, end = self._reader.bounds([self._examples])[self._examples]
        starts = self._reader.offsets_since({self._examples: end}, after - _CLOCK_SKEW_MS)
        start = starts[self._examples]
        with report_progress("searching the example", end - start) as progress:
            for message in self._read({self._examples: (start, end)}, progress):
                if message.key() == self._id_bytes:
                    return message
        return None

    def decisions(self, start: int, end: int | None) -> Iterator[tuple[int, Control]]:
        """Yield the control records of the examples log with their offsets; see `Decisions`."""
        end = end or self._reader.bounds([self._examples])[self._examples][1]
        with report_progress("searching decisions", end - start) as progress:
            for message in self._read({self._examples: (start, end)}, progress):
                control = control_in(message.key(), message.value())
                if control is not None:
                    yield message.offset() or 0, control

    def last_pause_or_resume(self, end: int) -> Control | None:
        """Return the last pause or resumption of learning before an offset of the log."""
        low, _ = self._reader.bounds([self._examples])[self._examples]
        if low >= end:
            return None
        found = self._reader.newest({self._examples: (low, end)}, _is_pause_or_resume)
        message = found.get(self._examples)
        return None if message is None else control_in(message.key(), message.value())

    def record_at(self, topic: str, partition: int, offset: int) -> Message | None:
        """Return one record, None if it is no longer there."""
        low, high = self._reader.bounds([(topic, partition)])[topic, partition]
        if not low <= offset < high:
            return None
        return next(self._reader.records({(topic, partition): (offset, offset + 1)}), None)

    def fields(self, message: Message) -> Fields | None:
        """Return the fields of a JSON or Avro value, None if it cannot be decoded."""
        fields = decode(message.value(), headers_of(message), self.schemas)
        return None if isinstance(fields, Failure) else fields

    def _search(self, partitions: Iterable[PartitionId]) -> EventRecords:
        bounds = dict(self._reader.bounds(partitions))
        if self._since is not None:
            ends = {one: end for one, (_, end) in bounds.items()}
            starts = self._reader.offsets_since(ends, self._since)
            bounds = {one: (max(low, starts[one]), end) for one, (low, end) in bounds.items()}
        histories: dict[int, EntryHistory] = defaultdict(lambda: EntryHistory(self._event_id))
        checkpoints: dict[int, bytes] = {}
        by_kind: dict[str, list[Message]] = defaultdict(list)
        partition = 0
        total = sum(end - start for start, end in bounds.values())
        with report_progress("searching the event", total) as progress:
            for message in self._read(bounds, progress):
                kind = (message.topic() or "").removeprefix(f"{self._pipeline.name}.")
                number = message.partition() or 0
                if kind == "score.state":
                    is_wanted = self._take_state(message, histories[number], checkpoints)
                else:
                    is_wanted = self._is_about_event(kind, message)
                if is_wanted:
                    by_kind[kind].append(message)
                    partition = number
        last = decode_change(COUNTS_KEY, checkpoints.get(partition))
        positions = last.value["positions"] if isinstance(last, CheckpointChange) else {}
        return EventRecords(histories[partition], self._since is None, dict(by_kind), positions)

    def _take_state(
        self, message: Message, history: EntryHistory, checkpoints: dict[int, bytes]
    ) -> bool:
        """Apply a record of a changelog; return True if it contains the event's entry."""
        key, value = message.key() or b"", message.value()
        # Most records need not be decoded, of the checkpoints only the last one.
        if key == COUNTS_KEY:
            checkpoints[message.partition() or 0] = value or b""
            return False
        if key[:1] == ENTRY_PREFIX and key[1:] != self._id_bytes:
            return False
        if key[:1] == BLOCK_PREFIX and self._id_json not in (value or b""):
            return False
        change = decode_change(key, value)
        return change is not None and history.apply(change, message.timestamp()[1])

    def _read(self, bounds: OffsetBounds, progress: ProgressReporter) -> Iterable[Message]:
        count = 0
        for batch in self._reader.batches(bounds):
            count += len(batch)
            progress.update(count, count)
            yield from batch

    def _is_about_event(self, kind: str, message: Message) -> bool:
        key, value = message.key(), message.value() or b""
        if self._id_is_key and key == self._id_bytes:
            return True
        # Most records need not be decoded. A value that begins with byte 0 is Avro.
        if self._id_bytes not in value and value[:1] != b"\0" and self._event_id.isascii():
            return False
        fields = self.fields(message)
        names = ("event_id",) if kind == "scored" else id_fields(self._pipeline)
        return fields is not None and identity_text(fields, names) == self._event_id


def traced_record(record: Message, outcome: str, failure: FailureDetail | None) -> TracedRecord:
    """Return a record with its outcome."""
    time, value = iso_time(record.timestamp()[1]), json_text(record.value())
    return TracedRecord(*position_of(record), time, outcome, failure, value)


def position_of(record: Message) -> Position:
    """Return the position of a record."""
    return record.topic() or "", record.partition() or 0, record.offset() or 0


def source_position(scored: ScoredRecord) -> Position:
    """Return the position of the raw record from which a scored record was made."""
    source = scored["source"]
    return source["topic"], source["partition"], source["offset"]


def _is_pause_or_resume(message: Message) -> bool:
    control = control_in(message.key(), message.value())
    return control is not None and control.command in ("pause", "resume")
