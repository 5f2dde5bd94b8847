"""Finds the records about one event in the pipeline's topics."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, cast

from confluent_kafka import Message

from stream_app.core.learning.control_commands import Control, control_in
from stream_app.core.reading.decoding import Schemas, decode
from stream_app.core.reading.identity import key_is_id
from stream_app.core.scoring.state_changelog import COUNTS_KEY, CheckpointChange, decode_change
from stream_app.errors import SelectionError
from stream_app.explain.entry_history import EntryHistories
from stream_app.explain.event_matcher import EventMatcher
from stream_app.explain.event_records import EventRecords, Position, position_of
from stream_app.kafka.offsets import OffsetBounds, PartitionId
from stream_app.kafka.partition_reader import PartitionReader, headers_of
from stream_app.kafka.partitioner import partitioner_of
from stream_app.pipeline import Pipeline, direct_source
from stream_app.records import Failure, Fields
from stream_app.schema_registry.schema_cache import open_schema_cache
from stream_app.settings import Settings
from stream_app.topic_kinds import PARTITIONED, SOURCE_KINDS, TopicKind, topic_name
from stream_app.transfer.progress import ProgressReporter, report_progress
from stream_app.transfer.record_rendering import sanitize_for_terminal

# Kilobytes of a partition that are fetched ahead.
_QUEUED_KB = 16_384

# Largest difference between the clocks of two workers.
_CLOCK_SKEW_MS = 60_000

# Keys that the error for an ambiguous id lists.
_MAX_LISTED = 10

# Kinds of records that tell best in which partition the event's entry is.
_BEST_KINDS: Mapping[TopicKind, int] = {"scored": 0, "score.state": 1}


class _FoundRecord(NamedTuple):
    """Record about the event id.

    Attributes:
        key: text of K, None if the record does not have it.
        is_event: True for an event, its score or its entry in the state; False for a label.
    """

    kind: TopicKind
    message: Message
    key: str | None
    is_event: bool


class _SearchResult(NamedTuple):
    """Result of one search.

    Attributes:
        records: records in the order in which they were read.
        entries: histories of entries with the event id, by partition.
        checkpoints: last checkpoint of each partition.
    """

    records: list[_FoundRecord]
    entries: dict[int, EntryHistories]
    checkpoints: dict[int, bytes]

    def keys(self) -> set[str]:
        """Return the keys of the events with the id; without one, those of their labels."""
        events = {one.key for one in self.records if one.is_event}
        keys = events - {None} or {one.key for one in self.records} - {None}
        return cast(set[str], keys)

    def positions(self) -> dict[PartitionId, int]:
        """Return the offsets up to which the scorers have processed their inputs."""
        changes = {
            partition: decode_change(COUNTS_KEY, value)
            for partition, value in self.checkpoints.items()
        }
        return {
            (topic, partition): offset
            for partition, change in changes.items()
            if isinstance(change, CheckpointChange)
            for topic, offset in change.value["positions"].items()
        }


class EventFinder:
    """Reads the records about one event from a pipeline's topics.

    Args:
        settings: settings of the connections.
        pipeline: loaded pipeline.
        event_id: id of the event, as text.
        key: text of K; None finds it, if only one event has the id.
        since: search records with this Kafka timestamp in Unix milliseconds or later; None
            searches all.

    Raises:
        TopicsError: a topic is missing.
        AccessError: a topic may not be read.
        KafkaUnavailableError: the cluster does not answer.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        event_id: str,
        key: str | None,
        since: int | None,
    ) -> None:
        self.schemas: Schemas = open_schema_cache(settings.registry)
        self._reader = PartitionReader.open(settings, queued_max_messages_kbytes=_QUEUED_KB)
        self._pipeline = pipeline
        self._since = since
        self._event_id = event_id
        self._key = event_id if key_is_id(pipeline) else key
        self._matcher = EventMatcher(pipeline, event_id, self._key, self.schemas)
        self._kinds: dict[str, TopicKind] = {
            topic_name(pipeline.name, kind): kind
            for kind in PARTITIONED
            if kind not in SOURCE_KINDS
        }
        direct = direct_source(pipeline)
        if direct is not None:
            self._kinds[direct.topic] = "raw"
        self._examples: PartitionId = (topic_name(pipeline.name, "examples"), 0)

    def find(self) -> EventRecords:
        """Return the records about the event; its key is known from then on.

        The partition of the key is searched first, the others only if it has no such records or
        the key is not given.

        Raises:
            SelectionError: events with several keys have the id, and no key is given.
        """
        partitions = self._reader.find_partitions(list(self._kinds))
        count = 1 + max(number for _, number in partitions)
        place = partitioner_of(self._pipeline).place
        home = None if self._key is None else place(self._key.encode(), count)
        found = self._search(one for one in partitions if one[1] == home)
        if not found.records:
            found = self._search(one for one in partitions if one[1] != home)
        keys = found.keys() if self._key is None else {self._key}
        if len(keys) > 1:
            raise _ambiguous(self._pipeline.name, self._event_id, keys)
        if keys and self._key is None:
            (self._key,) = keys
            self._matcher = EventMatcher(self._pipeline, self._event_id, self._key, self.schemas)
        return self._records(found, self._key)

    def _records(self, found: _SearchResult, key: str | None) -> EventRecords:
        """Return the records of the event with a key, and the labels that have another one."""
        by_kind: dict[TopicKind, list[Message]] = defaultdict(list)
        other_keys: dict[Position, str] = {}
        for kind, message, other, _ in found.records:
            if other is not None and other != key:
                other_keys[position_of(message)] = other
            by_kind[kind].append(message)
        own = [one for one in found.records if position_of(one.message) not in other_keys]
        own.sort(key=lambda one: _BEST_KINDS.get(one.kind, len(_BEST_KINDS)))
        partition = own[0].message.partition() or 0 if own else 0
        entries = found.entries.get(partition) or EntryHistories(self._matcher.is_identity)
        history = entries.history(self._matcher.identity(key or ""))
        return EventRecords(
            history, self._since is None, key, by_kind, found.positions(), other_keys
        )

    def example(self, after: int) -> Message | None:
        """Return the event's first example, written at `after` (Unix milliseconds) or later."""
        _, end = self._reader.bounds([self._examples])[self._examples]
        starts = self._reader.offsets_since({self._examples: end}, after - _CLOCK_SKEW_MS)
        start = starts[self._examples]
        with report_progress("searching the example", end - start) as progress:
            for message in self._read({self._examples: (start, end)}, progress):
                if self._matcher.is_example(message):
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

    def _search(self, partitions: Iterable[PartitionId]) -> _SearchResult:
        bounds = dict(self._reader.bounds(partitions))
        if self._since is not None:
            ends = {one: end for one, (_, end) in bounds.items()}
            starts = self._reader.offsets_since(ends, self._since)
            bounds = {one: (max(low, starts[one]), end) for one, (low, end) in bounds.items()}
        found = _SearchResult([], {}, {})
        total = sum(end - start for start, end in bounds.values())
        with report_progress("searching the event", total) as progress:
            for message in self._read(bounds, progress):
                kind = self._kinds[message.topic() or ""]
                if kind == "score.state":
                    self._take_state(message, found)
                else:
                    identity = self._matcher.match(kind, message)
                    if identity is not None:
                        is_event = not kind.startswith("labels")
                        found.records.append(_FoundRecord(kind, message, identity.key, is_event))
        return found

    def _take_state(self, message: Message, found: _SearchResult) -> None:
        """Apply a record of a changelog, and add it if it contains an entry with the id."""
        partition, key, value = message.partition() or 0, message.key() or b"", message.value()
        # Most records need not be decoded, of the checkpoints only the last one.
        if key == COUNTS_KEY:
            found.checkpoints[partition] = value or b""
            return
        if not self._matcher.may_change(key, value):
            return
        change = decode_change(key, value)
        if change is None:
            return
        entries = found.entries.setdefault(partition, EntryHistories(self._matcher.is_identity))
        for identity in entries.apply(change, message.timestamp()[1]):
            was_scored = entries.by_identity[identity].was_scored
            own = self._matcher.key_of(identity)
            found.records.append(_FoundRecord("score.state", message, own, was_scored))

    def _read(self, bounds: OffsetBounds, progress: ProgressReporter) -> Iterable[Message]:
        count = 0
        for batch in self._reader.batches(bounds):
            count += len(batch)
            progress.update(count, count)
            yield from batch


def _ambiguous(pipeline: str, event_id: str, keys: Iterable[str]) -> SelectionError:
    """Return the error for an event id that has several keys."""
    ordered = sorted(keys)
    more = ", ..." if len(ordered) > _MAX_LISTED else ""
    listed = ", ".join(f"'{sanitize_for_terminal(one)}'" for one in ordered[:_MAX_LISTED]) + more
    return SelectionError(
        f"{len(ordered)} events of {pipeline} have the id {event_id}, with the keys {listed}",
        "Give one of them with --key",
    )


def _is_pause_or_resume(message: Message) -> bool:
    control = control_in(message.key(), message.value())
    return control is not None and control.command in ("pause", "resume")
