"""The keyed state of one partition: which events are known, what was predicted, which labels wait.

It lives in memory; every change is also a record for a compacted changelog topic, from which it is restored. Entries
are kept as the bytes of their changelog record: objects would take twice the memory, and the garbage collector's time.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Any, NamedTuple

import orjson

from stream_app.core.records import Features, Output, RawRecord, Record
from stream_app.core.tallies import Tallies

NEVER = -(2**62)  # a watermark before anything was seen
TOPIC = "score.state"
TALLIES_KEY = b"t"


class Pending(NamedTuple):
    """A prediction whose label has not come; times are epoch milliseconds."""

    event_time: int
    score: float
    model_version: int
    features: Features

    def encode(self) -> bytes:
        return orjson.dumps(("p", *self))


class Joined(NamedTuple):
    """What is left of an event whose label came: enough to recognise it."""

    event_time: int

    def encode(self) -> bytes:
        return orjson.dumps(("j", *self))


class Waiting(NamedTuple):
    """A label that came before its event, with its record untouched."""

    label: bool
    label_time: int
    record: RawRecord

    def encode(self) -> bytes:
        topic, partition, offset, timestamp, key, value, headers = self.record
        texts = [(name, _text(content)) for name, content in headers]
        return orjson.dumps(
            ("w", self.label, self.label_time, topic, partition, offset, timestamp, _text(key), _text(value), texts)
        )


Entry = Pending | Joined | Waiting


def plain(record: Record) -> RawRecord:
    """A copy that does not hold on to the fetched batch."""
    return RawRecord(
        record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers)
    )


def _text(content: bytes | None) -> str | None:
    return None if content is None else b64encode(content).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)


_KIND = 2  # where in an encoded entry the letter of its kind is
_PENDING, _JOINED, _WAITING = b"pjw"


def decode_entry(value: bytes) -> Entry:
    """The entry that `encode` wrote."""
    kind, *rest = orjson.loads(value)
    if kind == "p":
        return Pending(*rest)
    if kind == "j":
        return Joined(*rest)
    label, label_time, topic, partition, offset, timestamp, key, content, headers = rest
    originals = tuple((name, _bytes(text) or b"") for name, text in headers)
    record = RawRecord(topic, partition, offset, timestamp, _bytes(key), _bytes(content), originals)
    return Waiting(label, label_time, record)


class State:
    """Entries by event id, the times at which they fall due, the watermarks and the tallies of one partition.

    `horizon` and `lateness` are milliseconds. An event and its outcome are kept until the clock has passed event time
    + horizon + lateness: that long it is recognised when it comes again. A label waits for its event until the clock
    has passed label time + lateness. The clock is event time: the older of the two inputs' watermarks, so that a
    backlog in one of them never makes the other expire.
    """

    def __init__(self, partition: int, horizon: int, lateness: int) -> None:
        self.partition = partition
        self.horizon = horizon
        self.lateness = lateness
        self.entries: dict[str, bytes] = {}
        self.due: list[tuple[int, str]] = []
        self.tallies = Tallies()
        self.event_watermark = NEVER
        self.label_watermark = NEVER
        self.clock = NEVER
        self.positions: dict[str, int] = {}

    def due_time(self, entry: Entry) -> int:
        """When the entry falls due, on the clock (epoch milliseconds of event time)."""
        if isinstance(entry, Waiting):
            return entry.label_time + self.lateness
        return entry.event_time + self.horizon + self.lateness

    def find(self, event_id: str) -> Entry | None:
        """What is known of an event."""
        encoded = self.entries.get(event_id)
        return None if encoded is None else decode_entry(encoded)

    def put(self, event_id: str, entry: Entry, encoded: bytes | None = None) -> Output:
        """Set an entry, which may have been encoded already; returns its changelog record."""
        before, after = self.entries.get(event_id), encoded or entry.encode()
        if before is not None:
            self._count(before, -1)
        self._count(after, +1)
        self.entries[event_id] = bytes(memoryview(after))  # a copy: what the encoder gives lies in a larger block
        joins = before is not None and before[_KIND] == _PENDING and after[_KIND] == _JOINED
        if not joins:  # which does not change when it is due
            heappush(self.due, (self.due_time(entry), event_id))
        return Output(TOPIC, self.partition, b"e" + event_id.encode(), after)

    def pop_due(self) -> Iterable[tuple[str, Entry, Output]]:
        """Remove what has fallen due, oldest first, each with its changelog tombstone."""
        while self.due and self.due[0][0] < self.clock:
            due, event_id = heappop(self.due)
            entry = self.find(event_id)
            if entry is not None and self.due_time(entry) == due:
                yield event_id, entry, self._remove(event_id)

    def pop_oldest(self) -> tuple[str, Entry, Output]:
        """Remove the entry that would fall due first; the clock moves, so that what is forgotten counts as too late."""
        while True:
            due, event_id = heappop(self.due)
            entry = self.find(event_id)
            if entry is not None and self.due_time(entry) == due:
                self.clock = max(self.clock, due + 1)
                return event_id, entry, self._remove(event_id)

    def advance(self, labels_at_end: bool) -> None:
        """Move the clock; with no label left to read, the events' watermark alone is the time."""
        now = self.event_watermark if labels_at_end else min(self.event_watermark, self.label_watermark)
        self.clock = max(self.clock, now)

    def checkpoint(self) -> Output:
        """The record that completes a transaction: tallies, watermarks and positions."""
        value = {
            "tallies": self.tallies.as_dict(),
            "event_watermark": self.event_watermark,
            "label_watermark": self.label_watermark,
            "clock": self.clock,
            "positions": self.positions,
            "entries": len(self.entries),
        }
        return Output(TOPIC, self.partition, TALLIES_KEY, orjson.dumps(value))

    def restore(self, changelog: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Load from the changelog's records, oldest first; the last one of a key holds."""
        for key, value in changelog:
            if key == TALLIES_KEY and value is not None:
                self._restore_checkpoint(orjson.loads(value))
            elif key is not None and value is None:
                self.entries.pop(key[1:].decode(), None)
            elif key is not None and value is not None:
                self.entries[key[1:].decode()] = value
        self.due = sorted((self.due_time(decode_entry(entry)), event_id) for event_id, entry in self.entries.items())
        self.tallies.waiting = self.tallies.pending = 0
        for entry in self.entries.values():
            self._count(entry, +1)

    def _restore_checkpoint(self, value: dict[str, Any]) -> None:
        self.tallies = Tallies.from_dict(value["tallies"])
        self.event_watermark = value["event_watermark"]
        self.label_watermark = value["label_watermark"]
        self.clock = value["clock"]
        self.positions = value["positions"]

    def _remove(self, event_id: str) -> Output:
        self._count(self.entries.pop(event_id), -1)
        return Output(TOPIC, self.partition, b"e" + event_id.encode(), None)

    def _count(self, entry: bytes, change: int) -> None:
        kind = entry[_KIND]
        if kind == _PENDING:
            self.tallies.pending += change
        elif kind == _WAITING:
            self.tallies.waiting += change
