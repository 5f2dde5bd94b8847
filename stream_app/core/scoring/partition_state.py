"""The keyed state of one partition: which events are known, what was predicted, which labels wait.

It lives in memory; every change is also a record for a compacted changelog topic, from which it is restored. Entries
are kept in a compact form: as objects they would take a multiple of the memory, and the garbage collector's time.
"""

from collections.abc import Iterable
from math import inf
from typing import Any, NamedTuple

import orjson

from stream_app.core.monitoring.alarms import Alarms
from stream_app.core.monitoring.corrective_actions import CorrectiveActions
from stream_app.core.scoring.expiry_queue import ExpiryQueue
from stream_app.core.scoring.prediction_codec import (
    Prediction,
    PredictionCodec,
    event_time_of,
    is_packed,
)
from stream_app.core.scoring.record_codec import from_json, to_json
from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.core.scoring.retries import RetryQueue
from stream_app.records import Features, Output, Record, Score, Target, quick
from stream_app.resilience import Retry

NEVER = -(2**62)  # a watermark before anything was seen
TOPIC = "score.state"
TALLIES_KEY = b"t"
ENTRY_PREFIX = b"e"
RETRY_PREFIX = b"r"


class PendingPrediction(NamedTuple):
    """A prediction whose label has not come; times are epoch milliseconds. Without `features` it teaches nothing."""

    event_time: int
    score: Score
    model_version: int
    features: Features | None


_output = quick(Output)


class JoinedEvent(NamedTuple):
    """What is left of an event whose label came: enough to recognise it."""

    event_time: int

    def encode(self) -> bytes:
        return orjson.dumps(("j", *self))


class WaitingLabel(NamedTuple):
    """A label that came before its event, with its record untouched."""

    label: Target
    label_time: int
    record: Record

    def encode(self) -> bytes:
        return orjson.dumps(("w", self.label, self.label_time, to_json(self.record)))


Entry = PendingPrediction | JoinedEvent | WaitingLabel


Kept = bytes | int | str
"""An entry in memory: a packed prediction, the time of an event whose label came, a waiting label as encoded."""


def _decode(value: bytes | str) -> JoinedEvent | WaitingLabel:
    """The entry that `encode` wrote."""
    kind, *rest = orjson.loads(value)
    if kind == "j":
        return JoinedEvent(*rest)
    label, label_time, record = rest
    return WaitingLabel(label, label_time, from_json(record))


class PartitionState:
    """Entries by event id, the times at which they fall due, the watermarks and the tallies of one partition.

    `horizon` and `lateness` are milliseconds. An event and its outcome are kept until the clock has passed event time
    + horizon + lateness: that long it is recognised when it comes again. A label waits for its event until the clock
    has passed label time + lateness. The clock is event time: the older of the two inputs' watermarks, so that a
    backlog in one of them never makes the other expire. Events that are to be tried again are in `retries`.
    """

    def __init__(self, partition: int, horizon: int, lateness: int, retry: Retry = Retry()) -> None:
        self.partition = partition
        self.horizon = horizon
        self.lateness = lateness
        self.kept_for = horizon + lateness  # an event and its outcome, after the event's time
        self.entries: dict[str, Kept] = {}
        self._packer = PredictionCodec()
        self._schedule = ExpiryQueue(self._due_time)
        self.tallies = RecordCounts()
        self.event_watermark = NEVER
        self.label_watermark = NEVER
        self.clock = NEVER
        self.positions: dict[str, int] = {}
        self.good_version: int | None = None  # the model version that served well last
        self.actions = CorrectiveActions()
        self.alarms = Alarms()
        self.retries = RetryQueue(retry, TOPIC, partition, RETRY_PREFIX)

    def due_time(self, entry: Entry) -> int:
        """When the entry falls due, on the clock (epoch milliseconds of event time)."""
        if isinstance(entry, WaitingLabel):
            return entry.label_time + self.lateness
        return entry.event_time + self.kept_for

    def find(self, event_id: str) -> Entry | None:
        """What is known of an event."""
        kept = self.entries.get(event_id)
        return None if kept is None else self._entry(kept)

    def pack(self, prediction: Prediction) -> bytes:
        """A prediction as `expect` takes it."""
        return self._packer.pack(prediction)

    def expect(self, event_id: str, event_time: int, packed: bytes) -> Output:
        """Set a prediction; returns its changelog record."""
        before = self.entries.get(event_id)
        if before is not None:
            self._count(before, -1)
        self.entries[event_id] = packed
        self.tallies.pending += 1
        self._schedule.add(event_time + self.kept_for, event_id)
        return _output((TOPIC, self.partition, ENTRY_PREFIX + event_id.encode(), packed, ()))

    def put(
        self, event_id: str, entry: JoinedEvent | WaitingLabel, encoded: bytes | None = None
    ) -> Output:
        """Set another entry, which may have been encoded already; returns its changelog record."""
        if encoded is None:
            encoded = entry.encode()
        self._keep(event_id, entry, encoded)
        return Output(TOPIC, self.partition, ENTRY_PREFIX + event_id.encode(), encoded)

    def pop_due(self) -> Iterable[tuple[str, Entry, Output]]:
        """Remove what has fallen due, oldest first, each with its changelog tombstone."""
        for _, event_id in self._schedule.pop(self.clock):
            yield event_id, *self._remove(event_id)

    def pop_oldest(self) -> tuple[str, Entry, Output]:
        """Remove the entry that would fall due first; the clock moves, so that what is forgotten counts as too late."""
        due, event_id = next(self._schedule.pop(inf))
        self.clock = max(self.clock, due + 1)
        return event_id, *self._remove(event_id)

    def saw_event(self, event_time: int, now: int) -> None:
        """Move the events' watermark; what is ahead of `now` counts as `now`."""
        seen = event_time if event_time < now else now
        if seen > self.event_watermark:
            self.event_watermark = seen

    def advance(self, labels_at_end: bool) -> None:
        """Move the clock; with no label left to read, the events' watermark alone is the time."""
        now = (
            self.event_watermark
            if labels_at_end
            else min(self.event_watermark, self.label_watermark)
        )
        self.clock = max(self.clock, now)

    def checkpoint(self) -> Output:
        """The record that completes a transaction: tallies, watermarks and positions."""
        value = {
            "tallies": self.tallies.as_dict(),
            "event_watermark": self.event_watermark,
            "label_watermark": self.label_watermark,
            "clock": self.clock,
            "positions": self.positions,
            "good_version": self.good_version,
            "entries": len(self.entries),
            "names": self._packer.names,
            "actions": self.actions.as_dict(),
            "alarms": self.alarms.as_dict(),
        }
        return Output(TOPIC, self.partition, TALLIES_KEY, orjson.dumps(value))

    def restore(self, changelog: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Load from the changelog's records, oldest first; the last one of a key holds."""
        for key, value in changelog:
            if key == TALLIES_KEY and value is not None:
                self._restore_checkpoint(orjson.loads(value))
            elif key is not None and key.startswith(RETRY_PREFIX):
                self.retries.restore(key[1:], value)
            elif key is not None and value is None:
                self.entries.pop(key[1:].decode(), None)
            elif key is not None and value is not None and is_packed(value):
                self.expect(key[1:].decode(), event_time_of(value), value)
            elif key is not None and value is not None:
                self._keep(key[1:].decode(), _decode(value), value)
        self.retries.restored()
        self.tallies.waiting = self.tallies.pending = 0
        for kept in self.entries.values():
            self._count(kept, +1)

    def _restore_checkpoint(self, value: dict[str, Any]) -> None:
        self.tallies = RecordCounts.from_dict(value["tallies"])
        self.event_watermark = value["event_watermark"]
        self.label_watermark = value["label_watermark"]
        self.clock = value["clock"]
        self.positions = value["positions"]
        if "alarms" in value:  # not in states of earlier versions
            self.good_version = value.get("good_version")
            self.actions = CorrectiveActions.from_dict(value["actions"])
            self.alarms = Alarms.from_dict(value["alarms"])
        self._packer = PredictionCodec(value.get("names", ()))

    def _keep(self, event_id: str, entry: JoinedEvent | WaitingLabel, encoded: bytes) -> None:
        after: Kept = entry.event_time if isinstance(entry, JoinedEvent) else encoded.decode()
        before = self.entries.get(event_id)
        if before is not None:
            self._count(before, -1)
        self._count(after, +1)
        self.entries[event_id] = after
        if not (
            type(before) is bytes and type(after) is int
        ):  # to join does not change when it is due
            self._schedule.add(self.due_time(entry), event_id)

    def _entry(self, kept: Kept) -> Entry:
        if isinstance(kept, bytes):
            return PendingPrediction(*self._packer.unpack(kept))
        return JoinedEvent(kept) if isinstance(kept, int) else _decode(kept)

    def _due_time(self, event_id: str) -> int | None:
        entry = self.find(event_id)
        return None if entry is None else self.due_time(entry)

    def _remove(self, event_id: str) -> tuple[Entry, Output]:
        kept = self.entries.pop(event_id)
        self._count(kept, -1)
        return self._entry(kept), Output(
            TOPIC, self.partition, ENTRY_PREFIX + event_id.encode(), None
        )

    def _count(self, kept: Kept, change: int) -> None:
        if type(kept) is bytes:
            self.tallies.pending += change
        elif type(kept) is str:
            self.tallies.waiting += change
