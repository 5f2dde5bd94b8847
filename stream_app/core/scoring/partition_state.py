"""Keyed state of one partition: known events, waiting labels, watermarks and record counts.

It is kept in memory. Every change is also a record for a compacted changelog topic, from which it
is restored. Entries have a compact form: as objects they would take a multiple of the memory, and
of the garbage collector's time.
"""

from collections.abc import Iterable
from math import inf
from typing import Any, TypeGuard

import orjson

from stream_app.core.monitoring.alarms import CorrectiveActions, LastingAlarms
from stream_app.core.reading.event_time import NEVER
from stream_app.core.scoring.event_clock import EventClock
from stream_app.core.scoring.expiry_queue import ExpiryQueue
from stream_app.core.scoring.prediction_blocks import BLOCK_LIMITS, BlockLimits, PredictionBlocks
from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.core.scoring.replay_headers import ReplayedRecords
from stream_app.core.scoring.retries import RetryQueue
from stream_app.core.scoring.state_changelog import (
    COUNTS_KEY,
    ENTRY_PREFIX,
    RETRY_PREFIX,
    STATE_FORMAT,
    TOPIC,
    AssumedEvent,
    BlockChange,
    CheckpointChange,
    CompactEntry,
    EntryChange,
    FloorChange,
    IdentityChangedError,
    JoinedEvent,
    PlacementChangedError,
    RetryChange,
    StateFormatError,
    WaitingLabel,
    decode_change,
    decode_text,
    is_waiting,
)
from stream_app.core.scoring.state_codec import (
    PendingPrediction,
    PredictionCodec,
    is_single,
    packed_event_time,
    to_single,
)
from stream_app.records import Output
from stream_app.resilience import Retry

# A restore with fewer entries drops those that were removed only at its end.
CLEANED_AFTER = 200_000

_HOUR_MS = 3_600_000

Entry = PendingPrediction | JoinedEvent | AssumedEvent | WaitingLabel


class PartitionState:
    """Keyed state of one partition.

    An event and its outcome are kept until the clock has passed event time + horizon + lateness;
    that long a duplicate is recognised. A label waits for its event until the clock has passed
    label time + lateness. An event whose label was assumed is kept for as long again, to recognise
    a label that contradicts. `docs/clock.md` describes the clock.

    Args:
        partition: number of the partition.
        horizon: time in milliseconds in which the label of an event may become known.
        lateness: time in milliseconds by which records may be out of order.
        retry: declared retries.
        limits: limits of a block of the changelog.
        idle_after: time in milliseconds after which an input at its end is idle; None for the
            horizon, at least an hour.
        keyed: True if events are identified by K and event id, False if K is the event id.

    Attributes:
        partitioner: name of the partitioner by which keys are placed; set before `restore`.
        entries: compact entries by the identity of their event.
        blocks: predictions that have no single record.
        retention: time in milliseconds from an event's time to its expiry.
        counts: record counts.
        clock: event time, and the watermarks of events and labels.
        forgotten_before: largest value that clock - retention has ever had in Unix milliseconds,
            whatever horizon and lateness were; an older event is too late.
        evicted_before: no evicted prediction or joined event is newer; nor may an event be older.
        positions: next offset of each input.
        former_offsets: offsets of inputs that were replaced or are not declared any more.
        source_id: id of the topic that is read directly; None before it is known.
        good_version: version that last scored a whole batch without a failure.
        actions: corrective actions.
        alarms: open alarms.
        retries: events that wait for a retry.
        replayed_labels: outcomes of replayed labels.
    """

    def __init__(
        self,
        partition: int,
        horizon: int,
        lateness: int,
        retry: Retry = Retry(),
        limits: BlockLimits = BLOCK_LIMITS,
        idle_after: int | None = None,
        keyed: bool = False,
    ) -> None:
        self.partition = partition
        self.keyed = keyed
        self.partitioner = "murmur2"
        self.horizon = horizon
        self.lateness = lateness
        self.retention = horizon + lateness
        self.entries: dict[str, CompactEntry] = {}
        self.blocks = PredictionBlocks(partition, self.retention, limits)
        self._codec = PredictionCodec()
        self._expiry = ExpiryQueue(self._expiry_time)
        self.counts = RecordCounts()
        self.clock = EventClock(max(horizon, _HOUR_MS) if idle_after is None else idle_after)
        self.forgotten_before = NEVER
        self.evicted_before = NEVER
        # Least time of an event that may be scored.
        self.oldest_event = NEVER
        self.positions: dict[str, int] = {}
        self.former_offsets = 0
        self.source_id: str | None = None
        self.good_version: int | None = None
        self.actions = CorrectiveActions()
        self.alarms = LastingAlarms()
        self.retries = RetryQueue(retry, TOPIC, partition, RETRY_PREFIX)
        self.replayed_labels = ReplayedRecords()

    def find(self, identity: str) -> Entry | None:
        """Return the entry of an event, or None."""
        compact = self.entries.get(identity)
        return None if compact is None else self._entry(compact)

    def pack(self, prediction: PendingPrediction) -> bytes:
        """Return a prediction in the form that `expect` takes."""
        return self._codec.pack(prediction)

    def expect(self, identity: str, event_time: int, packed: bytes) -> list[Output]:
        """Set a prediction that waits for its label.

        Returns:
            The changelog record of an id that had one, for a label that came first. Others are
            written in blocks, by `full_blocks` or `final_records`.
        """
        before = self.entries.get(identity)
        self.counts.pending += 1
        self._expiry.add(event_time + self.retention, identity)
        if before is None:
            self.entries[identity] = packed
            blocks = self.blocks
            blocks.unwritten[identity] = event_time, packed
            blocks.unwritten_bytes += len(packed)
            return []
        self._count(before, -1)
        return [self._write_single(identity, packed)]

    def put(
        self,
        identity: str,
        entry: JoinedEvent | AssumedEvent | WaitingLabel,
        encoded: bytes | None = None,
    ) -> Output:
        """Set another entry, which may have been encoded already; return the changelog record."""
        if encoded is None:
            encoded = entry.encode()
        before = self.entries.get(identity)
        if before is not None:
            self._count(before, -1)
            # In one transaction with its prediction, which is not written any more.
            self.blocks.unwritten.pop(identity, None)
        if isinstance(entry, JoinedEvent):
            self.entries[identity] = entry.event_time
        else:
            self.entries[identity] = encoded.decode()
            self.counts.waiting += isinstance(entry, WaitingLabel)
        # A prediction that becomes a joined event keeps its expiry time.
        if type(before) is not bytes:
            self._expiry.add(self._expiry_of(self.entries[identity]), identity)
        return Output(TOPIC, self.partition, ENTRY_PREFIX + identity.encode(), encoded)

    def pop_expired(self) -> Iterable[tuple[str, Entry, list[Output]]]:
        """Remove and yield expired entries by identity, oldest first, and changelog records.

        `floor_records` completes them.
        """
        for _, identity in self._expiry.pop(self.clock.time):
            yield identity, *self._remove(identity)

    def pop_oldest(self) -> tuple[str, Entry, list[Output]]:
        """Remove the entry that expires first, as `pop_expired` does, because the state is full.

        Events that are not newer than a removed one are too late, because its id is forgotten. A
        removed label moves nothing.
        """
        _, identity = next(self._expiry.pop(inf))
        entry, outputs = self._remove(identity)
        if not isinstance(entry, WaitingLabel):
            self.evicted_before = max(self.evicted_before, entry.event_time + 1)
            self.oldest_event = max(self.oldest_event, self.evicted_before)
        return identity, entry, outputs

    def floor_records(self) -> list[Output]:
        """Return the changelog records that let blocks forget what was removed."""
        return self.blocks.floor_records()

    def full_blocks(self) -> list[Output]:
        """Return the changelog records of unwritten predictions if they are enough for a block."""
        return self._write_predictions() if self.blocks.is_full else []

    def advance(self, now: int) -> None:
        """Move the clock as far as the inputs allow; `now` is in Unix milliseconds."""
        time = self.clock.advance(now)
        if time - self.retention > self.forgotten_before and time != NEVER:
            self.forgotten_before = time - self.retention
            self.oldest_event = max(self.oldest_event, self.forgotten_before)

    def final_records(self) -> list[Output]:
        """Return the changelog records that complete a transaction, at last the checkpoint."""
        return [*self.floor_records(), *self._write_predictions(), self.checkpoint()]

    def restore(self, changelog: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Load the state from the keys and values of its changelog, oldest first.

        Raises:
            StateFormatError: another version of this program has written the changelog.
            IdentityChangedError: a pipeline with another key has written it.
            PlacementChangedError: a pipeline with another partitioner has written it.
        """
        most = CLEANED_AFTER
        for key, value in changelog:
            change = decode_change(key, value)
            if isinstance(change, EntryChange):
                identity, entry = change
                if entry is None:
                    self.entries.pop(identity, None)
                else:
                    self.entries[identity] = entry
            elif isinstance(change, BlockChange):
                self.blocks.set_block(change.number, change.last)
                self.entries.update(zip(change.ids, change.packed, strict=True))
                if len(self.entries) > most:
                    self._drop_removed()
                    most = max(CLEANED_AFTER, 2 * len(self.entries))
            elif isinstance(change, FloorChange):
                self.blocks.restore_floor(change.floor)
            elif isinstance(change, RetryChange):
                self.retries.restore(change.name, change.value)
            elif isinstance(change, CheckpointChange):
                self._restore_checkpoint(change.value)
        self._finish_restore()
        self.retries.finish_restore()

    def _finish_restore(self) -> None:
        """Drop what was removed; set what depends on all entries: expiry, counts and rows."""
        add, retention = self._expiry.add, self.retention
        pending, removed = list[bytes](), list[str]()
        self.counts.waiting = 0
        # In place instead of `_expiry_of`: called for millions of entries.
        for identity, compact in self.entries.items():
            if type(compact) is int:
                add(compact + retention, identity)
            elif type(compact) is bytes:
                time = packed_event_time(compact)
                if self._is_removed(identity, time, compact):
                    removed.append(identity)
                else:
                    pending.append(compact)
                    add(time + retention, identity)
            elif isinstance(compact, str):
                self.counts.waiting += is_waiting(compact)
                add(self._expiry_of(compact), identity)
        for identity in removed:
            del self.entries[identity]
        self.counts.pending = len(pending)
        self._codec = self._codec.without_unused(pending)

    def _drop_removed(self) -> None:
        """Drop the predictions of blocks that were removed."""
        removed = [
            identity
            for identity, compact in self.entries.items()
            if type(compact) is bytes
            and self._is_removed(identity, packed_event_time(compact), compact)
        ]
        for identity in removed:
            del self.entries[identity]

    def _is_removed(self, identity: str, event_time: int, packed: bytes) -> bool:
        """Return True for a prediction of the changelog that is in a block and was removed."""
        return self.blocks.is_removed(event_time, identity) and not is_single(packed)

    def checkpoint(self) -> Output:
        """Return the record of what is written in each transaction."""
        value = {
            "format": STATE_FORMAT,
            "keyed": self.keyed,
            "record_counts": self.counts.as_dict(),
            "clock": self.clock.as_dict(),
            "forgotten_before": self.forgotten_before,
            "evicted_before": self.evicted_before,
            "positions": self.positions,
            "former_offsets": self.former_offsets,
            "source_id": self.source_id,
            "partitioner": self.partitioner,
            "good_version": self.good_version,
            "entries": len(self.entries),
            "rows": self._codec.as_list(),
            "next_block": self.blocks.next_number,
            "actions": self.actions.as_dict(),
            "alarms": self.alarms.as_dict(),
            "replayed_labels": self.replayed_labels.as_dict(),
        }
        return Output(TOPIC, self.partition, COUNTS_KEY, orjson.dumps(value))

    def _restore_checkpoint(self, value: dict[str, Any]) -> None:
        if value.get("format") != STATE_FORMAT:
            raise StateFormatError(f"format {value.get('format', 1)}, expected {STATE_FORMAT}")
        if value["keyed"] is not self.keyed:
            raise IdentityChangedError
        if value["partitioner"] != self.partitioner:
            raise PlacementChangedError(value["partitioner"])
        self.counts = RecordCounts.from_dict(value["record_counts"])
        self.clock.restore(value["clock"])
        self.forgotten_before = value["forgotten_before"]
        self.evicted_before = value["evicted_before"]
        self.oldest_event = max(self.forgotten_before, self.evicted_before)
        self.positions = value["positions"]
        self.former_offsets = value["former_offsets"]
        self.source_id = value["source_id"]
        self.good_version = value["good_version"]
        self.actions = CorrectiveActions.from_dict(value["actions"])
        self.alarms = LastingAlarms.from_dict(value["alarms"])
        self.replayed_labels = ReplayedRecords(value["replayed_labels"])
        self._codec = PredictionCodec(value["rows"])
        self.blocks.next_number = value["next_block"]

    def _write_predictions(self) -> list[Output]:
        if not self.blocks.unwritten:
            return []
        blocks, singles = self.blocks.write()
        return blocks + [self._write_single(identity, packed) for identity, packed in singles]

    def _write_single(self, identity: str, packed: bytes) -> Output:
        """Make a prediction one that has a single record; return the record."""
        self.entries[identity] = single = to_single(packed)
        return Output(TOPIC, self.partition, ENTRY_PREFIX + identity.encode(), single)

    def _entry(self, compact: CompactEntry) -> Entry:
        if isinstance(compact, bytes):
            return self._codec.unpack(compact)
        return JoinedEvent(compact) if isinstance(compact, int) else decode_text(compact)

    def _expiry_time(self, identity: str) -> int | None:
        compact = self.entries.get(identity)
        return None if compact is None else self._expiry_of(compact)

    def _expiry_of(self, compact: CompactEntry) -> int:
        """Return when an entry expires, in Unix milliseconds of event time."""
        if isinstance(compact, bytes):
            return packed_event_time(compact) + self.retention
        if isinstance(compact, int):
            return compact + self.retention
        entry = decode_text(compact)
        if isinstance(entry, AssumedEvent):
            return entry.event_time + 2 * self.retention
        return entry.label_time + self.lateness

    def _remove(self, identity: str) -> tuple[Entry, list[Output]]:
        compact = self.entries.pop(identity)
        self._count(compact, -1)
        entry = self._entry(compact)
        if isinstance(entry, PendingPrediction | JoinedEvent):
            self.blocks.raise_floor(entry.event_time, identity)
        if _is_in_block(compact):
            self.blocks.unwritten.pop(identity, None)
            return entry, []
        return entry, [Output(TOPIC, self.partition, ENTRY_PREFIX + identity.encode(), None)]

    def _count(self, compact: CompactEntry, change: int) -> None:
        if type(compact) is bytes:
            self.counts.pending += change
        elif type(compact) is str:
            self.counts.waiting += change * is_waiting(compact)


def _is_in_block(compact: CompactEntry) -> TypeGuard[bytes]:
    """Return True for a prediction that is in a block, or not written yet."""
    return type(compact) is bytes and not is_single(compact)


def eviction_kind(entry: Entry) -> str:
    """Return the kind of an entry that is evicted, as it is counted and reported."""
    if isinstance(entry, PendingPrediction):
        return "open predictions"
    return "waiting labels" if isinstance(entry, WaitingLabel) else "known ids"
