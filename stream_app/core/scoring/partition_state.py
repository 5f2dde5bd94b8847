"""Keyed state of one partition: known events, waiting labels, watermarks and record counts.

It is kept in memory. Every change is also a record for a compacted changelog topic, from which it
is restored. Entries have a compact form: as objects they would take a multiple of the memory, and
of the garbage collector's time.
"""

from collections.abc import Iterable
from math import inf
from typing import Any, Literal, NamedTuple

import orjson

from stream_app.core.monitoring.alarms import Alarms, CorrectiveActions
from stream_app.core.reading.event_time import NEVER
from stream_app.core.scoring.expiry_queue import ExpiryQueue
from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.core.scoring.replay_headers import ReplayedLabels
from stream_app.core.scoring.retries import RetryQueue
from stream_app.core.scoring.state_codec import (
    Prediction,
    PredictionCodec,
    is_packed,
    packed_event_time,
    record_from_json,
    record_to_json,
)
from stream_app.records import Features, Output, Record, Score, Target, fast_namedtuple
from stream_app.resilience import Retry
from stream_app.topic_kinds import TopicKind

TOPIC: TopicKind = "score.state"

# Key of the record that completes a transaction: record counts, watermarks and positions.
COUNTS_KEY = b"t"
ENTRY_PREFIX = b"e"
RETRY_PREFIX = b"r"

_output = fast_namedtuple(Output)


class PendingPrediction(NamedTuple):
    """Prediction that waits for its label.

    Attributes:
        event_time: time of the event in Unix milliseconds.
        score: served score.
        model_version: version that made it.
        features: features of the event; None if it must not be learned.
    """

    event_time: int
    score: Score
    model_version: int
    features: Features | None


class JoinedEvent(NamedTuple):
    """Event that has its label; kept to recognise duplicates.

    Attributes:
        event_time: time of the event in Unix milliseconds.
    """

    event_time: int

    def encode(self) -> bytes:
        return orjson.dumps(("j", *self))


class WaitingLabel(NamedTuple):
    """Label that came before its event.

    Attributes:
        label: the label.
        label_time: time at which it became known in Unix milliseconds.
        record: its record, unchanged.
    """

    label: Target
    label_time: int
    record: Record

    def encode(self) -> bytes:
        return orjson.dumps(("w", self.label, self.label_time, record_to_json(self.record)))


Entry = PendingPrediction | JoinedEvent | WaitingLabel

ClockMover = Literal["events", "labels", "full state"]
"""Cause of the last advance of a clock: the watermark that decided it, or a full state."""

CompactEntry = bytes | int | str
"""Entry in memory: packed prediction, event time of a joined event, or encoded waiting label."""


class PartitionState:
    """Keyed state of one partition.

    An event and its outcome are kept until the clock has passed event time + horizon + lateness;
    that long a duplicate is recognised. A label waits for its event until the clock has passed
    label time + lateness. The clock is event time: the older of the watermarks of events and
    labels, so that a backlog of one input never expires entries of the other.

    Args:
        partition: number of the partition.
        horizon: time in milliseconds in which the label of an event may become known.
        lateness: time in milliseconds by which records may be out of order.
        retry: declared retries.

    Attributes:
        entries: compact entries by event id.
        retention: time in milliseconds from an event's time to its expiry.
        counts: record counts.
        event_watermark, label_watermark, clock: event time in Unix milliseconds.
        clock_mover: cause of the last advance of the clock.
        positions: next offset of each input.
        good_version: version that last scored a whole batch without a failure.
        actions: corrective actions.
        alarms: open alarms.
        retries: events that wait for a retry.
        replayed_labels: outcomes of replayed labels.
    """

    def __init__(self, partition: int, horizon: int, lateness: int, retry: Retry = Retry()) -> None:
        self.partition = partition
        self.horizon = horizon
        self.lateness = lateness
        self.retention = horizon + lateness
        self.entries: dict[str, CompactEntry] = {}
        self._codec = PredictionCodec()
        self._expiry = ExpiryQueue(self._expiry_time)
        self.counts = RecordCounts()
        self.event_watermark = NEVER
        self.label_watermark = NEVER
        self.clock = NEVER
        self.clock_mover: ClockMover = "events"
        self.positions: dict[str, int] = {}
        self.good_version: int | None = None
        self.actions = CorrectiveActions()
        self.alarms = Alarms()
        self.retries = RetryQueue(retry, TOPIC, partition, RETRY_PREFIX)
        self.replayed_labels = ReplayedLabels()

    def expiry_time(self, entry: Entry) -> int:
        """Return when an entry expires, in Unix milliseconds of event time."""
        if isinstance(entry, WaitingLabel):
            return entry.label_time + self.lateness
        return entry.event_time + self.retention

    def find(self, event_id: str) -> Entry | None:
        """Return the entry of an event, or None."""
        compact = self.entries.get(event_id)
        return None if compact is None else self._entry(compact)

    def pack(self, prediction: Prediction) -> bytes:
        """Return a prediction in the form that `expect` takes."""
        return self._codec.pack(prediction)

    def expect(self, event_id: str, event_time: int, packed: bytes) -> Output:
        """Set a prediction that waits for its label; return the changelog record."""
        before = self.entries.get(event_id)
        if before is not None:
            self._count(before, -1)
        self.entries[event_id] = packed
        self.counts.pending += 1
        self._expiry.add(event_time + self.retention, event_id)
        return _output((TOPIC, self.partition, ENTRY_PREFIX + event_id.encode(), packed, ()))

    def put(
        self, event_id: str, entry: JoinedEvent | WaitingLabel, encoded: bytes | None = None
    ) -> Output:
        """Set another entry, which may have been encoded already; return the changelog record."""
        if encoded is None:
            encoded = entry.encode()
        self._set(event_id, entry, encoded)
        return Output(TOPIC, self.partition, ENTRY_PREFIX + event_id.encode(), encoded)

    def pop_expired(self) -> Iterable[tuple[Entry, Output]]:
        """Remove and yield expired entries, oldest first, each with its changelog tombstone."""
        for _, event_id in self._expiry.pop(self.clock):
            yield self._remove(event_id)

    def pop_oldest(self) -> tuple[Entry, Output]:
        """Remove the entry that expires first.

        The clock moves past it, so that its event is too late if it comes again.
        """
        time, event_id = next(self._expiry.pop(inf))
        self._move_clock(time + 1, "full state")
        return self._remove(event_id)

    def saw_event(self, event_time: int, now: int) -> None:
        """Move the watermark of events; an event time ahead of `now` counts as `now`."""
        seen = event_time if event_time < now else now
        if seen > self.event_watermark:
            self.event_watermark = seen

    def advance(self, labels_at_end: bool) -> None:
        """Move the clock; with no label left to read, only the watermark of events counts."""
        if labels_at_end or self.event_watermark <= self.label_watermark:
            self._move_clock(self.event_watermark, "events")
        else:
            self._move_clock(self.label_watermark, "labels")

    def checkpoint(self) -> Output:
        """Return the changelog record that completes a transaction."""
        value = {
            "record_counts": self.counts.as_dict(),
            "event_watermark": self.event_watermark,
            "label_watermark": self.label_watermark,
            "clock": self.clock,
            "clock_mover": self.clock_mover,
            "positions": self.positions,
            "good_version": self.good_version,
            "entries": len(self.entries),
            "names": self._codec.names,
            "actions": self.actions.as_dict(),
            "alarms": self.alarms.as_dict(),
            "replayed_labels": self.replayed_labels.as_dict(),
        }
        return Output(TOPIC, self.partition, COUNTS_KEY, orjson.dumps(value))

    def restore(self, changelog: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Load the state from the keys and values of its changelog, oldest first."""
        for key, value in changelog:
            if key == COUNTS_KEY and value is not None:
                self._restore_checkpoint(orjson.loads(value))
            elif key is not None and key.startswith(RETRY_PREFIX):
                self.retries.restore(key[1:], value)
            elif key is not None and value is None:
                self.entries.pop(key[1:].decode(), None)
            elif key is not None and value is not None and is_packed(value):
                self.expect(key[1:].decode(), packed_event_time(value), value)
            elif key is not None and value is not None:
                self._set(key[1:].decode(), _decode(value), value)
        self.retries.finish_restore()
        self.counts.waiting = self.counts.pending = 0
        for compact in self.entries.values():
            self._count(compact, +1)

    def _restore_checkpoint(self, value: dict[str, Any]) -> None:
        self.counts = RecordCounts.from_dict(value["record_counts"])
        self.event_watermark = value["event_watermark"]
        self.label_watermark = value["label_watermark"]
        self.clock = value["clock"]
        self.clock_mover = value["clock_mover"]
        self.positions = value["positions"]
        self.good_version = value["good_version"]
        self.actions = CorrectiveActions.from_dict(value["actions"])
        self.alarms = Alarms.from_dict(value["alarms"])
        self.replayed_labels = ReplayedLabels(value["replayed_labels"])
        self._codec = PredictionCodec(value["names"])

    def _move_clock(self, time: int, mover: ClockMover) -> None:
        if time > self.clock:
            self.clock, self.clock_mover = time, mover

    def _set(self, event_id: str, entry: JoinedEvent | WaitingLabel, encoded: bytes) -> None:
        after: CompactEntry = (
            entry.event_time if isinstance(entry, JoinedEvent) else encoded.decode()
        )
        before = self.entries.get(event_id)
        if before is not None:
            self._count(before, -1)
        self._count(after, +1)
        self.entries[event_id] = after
        # A prediction that becomes a joined event keeps its expiry time.
        if not (type(before) is bytes and type(after) is int):
            self._expiry.add(self.expiry_time(entry), event_id)

    def _entry(self, compact: CompactEntry) -> Entry:
        if isinstance(compact, bytes):
            return PendingPrediction(*self._codec.unpack(compact))
        return JoinedEvent(compact) if isinstance(compact, int) else _decode(compact)

    def _expiry_time(self, event_id: str) -> int | None:
        entry = self.find(event_id)
        return None if entry is None else self.expiry_time(entry)

    def _remove(self, event_id: str) -> tuple[Entry, Output]:
        compact = self.entries.pop(event_id)
        self._count(compact, -1)
        key = ENTRY_PREFIX + event_id.encode()
        return self._entry(compact), Output(TOPIC, self.partition, key, None)

    def _count(self, compact: CompactEntry, change: int) -> None:
        if type(compact) is bytes:
            self.counts.pending += change
        elif type(compact) is str:
            self.counts.waiting += change


def _decode(value: bytes | str) -> JoinedEvent | WaitingLabel:
    """Return the entry that `encode` of its class wrote."""
    kind, *rest = orjson.loads(value)
    if kind == "j":
        return JoinedEvent(*rest)
    label, label_time, record = rest
    return WaitingLabel(label, label_time, record_from_json(record))
