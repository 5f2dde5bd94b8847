"""Records about one event, and what they say."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import Message

from stream_app.core.published_records import ScoredRecord
from stream_app.core.scoring.dead_letter import error_id
from stream_app.dead_letters.dead_letter_reader import DeadLetter, read_ref
from stream_app.error_codes import ERROR_CODES
from stream_app.explain.entry_history import EntryHistory, EntryState
from stream_app.explain.event_trace import FailureDetail, TracedRecord
from stream_app.formatting import iso_time
from stream_app.kafka.offsets import PartitionId
from stream_app.kafka.retrying_reader import as_record
from stream_app.kafka.topic_uses import group_name
from stream_app.topic_kinds import DeadLetterKind, TopicKind
from stream_app.transfer.record_rendering import json_text

Position = tuple[str, int, int]
"""Topic, partition and offset of a record."""


@dataclass(slots=True)
class EventRecords:
    """Records about an event.

    Attributes:
        history: history of the event's entry in the scorer's state.
        is_complete: True if the changelog was read from its beginning.
        key: text of K, None if no record has one.
        by_kind: records by topic kind, oldest first; those of "score.state" contain its entry.
        positions: offsets up to which the scorers have processed each partition of a topic.
        other_keys: keys of the labels that have the id of the event and another key.
    """

    history: EntryHistory
    is_complete: bool
    key: str | None = None
    by_kind: Mapping[TopicKind, list[Message]] = field(default_factory=dict)
    positions: Mapping[PartitionId, int] = field(default_factory=dict)
    other_keys: Mapping[Position, str] = field(default_factory=dict)

    def of(self, kind: TopicKind) -> list[Message]:
        """Return the records on one kind of topic."""
        return self.by_kind.get(kind, [])

    def is_processed(self, record: Message) -> bool:
        """Return True if the scorers have processed an input record."""
        topic, partition, offset = position_of(record)
        return offset < self.positions.get((topic, partition), 0)

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
        """Return the failure of a record if it is a dead letter.

        The origin of a replayed record is another one, so it is found by the id of its failure.
        """
        position = position_of(record)
        # The name of a pipeline has no dot.
        group = group_name(position[0].partition(".")[0], "score")
        failed = error_id(group, as_record(record))
        for message in self.of(kind):
            ref = read_ref(kind, message)
            if ref.origin == position or ref.error_id == failed:
                return _failure_of(DeadLetter.of(ref, message))
        return None

    def only_dead(self, kind: DeadLetterKind, records: Iterable[Message]) -> list[TracedRecord]:
        """Return the originals of dead letters that are not among the records of their topic.

        `ingest` did not forward them, or retention has deleted them.
        """
        present = set(map(position_of, records))
        letters = [DeadLetter.of(read_ref(kind, one), one) for one in self.of(kind)]
        return [
            TracedRecord(
                *one.ref.origin,
                iso_time(one.original_record().timestamp),
                "dead-lettered",
                _failure_of(one),
                json_text(one.value),
            )
            for one in letters
            if one.ref.origin not in present
        ]


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


def _failure_of(found: DeadLetter) -> FailureDetail:
    known = ERROR_CODES.get(found.code)
    return FailureDetail(found.code, found.message, known.remedy if known else "")
