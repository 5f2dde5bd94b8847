"""Record counts of the scorers, read from each partition's state topic: all and recent ones."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Message

from stream_app.core.reading.event_time import NEVER
from stream_app.core.scoring.event_clock import EventClock
from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.core.scoring.state_changelog import COUNTS_KEY, STATE_FORMAT
from stream_app.formatting import iso_time
from stream_app.kafka.offsets import OffsetBounds
from stream_app.kafka.partition_reader import PartitionReader, partition_of
from stream_app.status.status_model import PartitionStatus, RecordCountTotals

SHARE_WINDOW_MS = 10 * 60_000
# Newest offsets of a state topic that are searched for record counts of ten minutes ago.
MAX_OFFSETS = 4000
# Offsets before the ten minutes, for the last transaction before them.
_EARLIER_OFFSETS = 64
# Fewer dead letters are an incident, and no share.
MIN_DEAD_LETTERS = 3


class PartitionCounts(NamedTuple):
    """Record counts of a partition as of its last transaction.

    Attributes:
        clock: clock of the partition.
        oldest_event: time of the oldest event that would be accepted, in Unix milliseconds.
        positions: next offset of each input topic.
        entries: entries of the state, None if the worker did not write it.
        replayed_labels: outcomes of replayed labels by replay, see `ReplayedRecords`.
        state_format: format of the state; scorers reject others than `STATE_FORMAT`.
        keyed: True if the state identifies events by K and event id, False by the event id alone.
        former_offsets: offsets of topics that were replaced.
        partitioner: name of the partitioner by which the state's keys are placed.
    """

    partition: int
    counts: RecordCounts
    clock: EventClock
    oldest_event: int
    positions: Mapping[str, int]
    entries: int | None
    replayed_labels: Mapping[str, Mapping[str, int]]
    state_format: int = STATE_FORMAT
    keyed: bool = False
    former_offsets: int = 0
    partitioner: str = "murmur2"

    @property
    def balanced(self) -> bool:
        """True if no event was lost or duplicated.

        Then every prediction is joined, assumed, expired or pending, and there are no more outcomes
        than offsets.
        """
        counts = self.counts
        return counts.scored == counts.closed_or_pending and self.without_outcome >= 0

    @property
    def without_outcome(self) -> int:
        """Number of processed offsets of transaction markers, and of records deleted unread."""
        offsets = sum(self.positions.values()) + self.former_offsets
        return offsets - self.counts.events - self.counts.labels


def read_record_counts(reader: PartitionReader, bounds: OffsetBounds) -> dict[int, PartitionCounts]:
    """Return the newest record counts by partition; `bounds` are those of the state topic."""
    found = reader.newest(bounds, is_counts)
    return {partition: decode_counts(message) for (_, partition), message in found.items()}


def is_counts(message: Message) -> bool:
    """Return True for a record of the state topic that contains the record counts."""
    return message.key() == COUNTS_KEY and message.value() is not None


def decode_counts(message: Message) -> PartitionCounts:
    """Return the record counts of a record for which `is_counts` is true."""
    value: dict[str, Any] = orjson.loads(message.value() or b"")
    return PartitionCounts(
        message.partition() or 0,
        RecordCounts.from_dict(value["record_counts"]),
        _clock(value),
        max(value.get("forgotten_before", NEVER), value.get("evicted_before", NEVER)),
        {topic: max(offset, 0) for topic, offset in value["positions"].items()},
        value.get("entries"),
        value.get("replayed_labels", {}),
        value.get("format", 1),
        value.get("keyed", False),
        value.get("former_offsets", 0),
        value.get("partitioner", "murmur2"),
    )


def total(partitions: Iterable[PartitionCounts]) -> RecordCounts:
    """Return the sum of the record counts of all partitions."""
    added = RecordCounts()
    for one in partitions:
        added = added.add(one.counts)
    return added


def record_count_totals(partitions: Iterable[PartitionCounts]) -> RecordCountTotals:
    """Return the record counts of all partitions for the status."""
    found = list(partitions)
    sums = total(found)
    return RecordCountTotals(
        events=sums.events,
        labels=sums.labels,
        balanced=all(one.balanced for one in found),
        without_outcome=sum(one.without_outcome for one in found),
        **sums.as_dict(),
    )


def partition_statuses(
    counts: Mapping[int, PartitionCounts], limit: int
) -> tuple[PartitionStatus, ...]:
    """Return the state of each partition; `limit` is the largest number of entries."""
    return tuple(
        PartitionStatus(
            partition,
            one.entries,
            limit,
            _time(one.clock.time),
            _time(one.clock.events.watermark),
            _time(one.clock.labels.watermark),
            iso_time(one.clock.moved_at) if one.clock.moved_at else None,
            held_by(one.clock),
            dict(one.counts.evicted),
        )
        for partition, one in sorted(counts.items())
    )


def held_by(clock: EventClock) -> str | None:
    """Return what holds back a clock, in words; None if both of its inputs are idle."""
    holder = clock.holder()
    if holder is None:
        return None
    if holder.source is not None:
        return f"{holder.input}, by part {holder.part} of source {holder.source!r}"
    return holder.input if holder.watermark != NEVER else f"{holder.input}, too few so far"


def _clock(value: Mapping[str, Any]) -> EventClock:
    """Return the clock of a checkpoint; of another format, one that has not moved."""
    found = value["clock"]
    if not isinstance(found, dict):
        return EventClock(0)
    clock = EventClock(found["idle_after"])
    clock.restore(found)
    return clock


def _time(milliseconds: int) -> str | None:
    return None if milliseconds == NEVER else iso_time(milliseconds)


class RecentOutcomes(NamedTuple):
    """Records that got an outcome recently, and how many of them became dead letters."""

    events: int
    dead_events: int
    labels: int
    dead_labels: int

    def problems(self, max_share: float) -> Iterator[str]:
        """Yield a problem for each input with a larger share of dead letters."""
        for name, count, dead in (
            ("events", self.events, self.dead_events),
            ("labels", self.labels, self.dead_labels),
        ):
            if dead >= MIN_DEAD_LETTERS and dead > max_share * count:
                yield (
                    f"{dead:,} of {count:,} recent {name} became dead letters "
                    f"({dead / count:.1%}, the limit is {max_share:.1%}): "
                    "see `stream-app dead-letters groups PIPELINE`"
                )


class OutcomeHistory:
    """Record counts of the last ten minutes, of all partitions together."""

    def __init__(self) -> None:
        self._counts: deque[tuple[int, RecordCounts]] = deque()

    def begin(self, earlier: RecordCounts, now: int) -> None:
        """Set the counts of ten minutes ago; `now` is in Unix milliseconds."""
        self._counts.append((now, earlier))

    @property
    def is_empty(self) -> bool:
        """True before `begin`."""
        return not self._counts

    def add(self, counts: RecordCounts, now: int) -> RecentOutcomes:
        """Add the present counts, and return what was counted in the last minutes."""
        while len(self._counts) > 1 and self._counts[0][0] < now - SHARE_WINDOW_MS:
            self._counts.popleft()
        self._counts.append((now, counts))
        before = self._counts[0][1]
        return RecentOutcomes(
            max(0, _finished_events(counts) - _finished_events(before)),
            max(0, counts.dead.total() - before.dead.total()),
            max(0, _finished_labels(counts) - _finished_labels(before)),
            max(0, counts.label_dead.total() - before.label_dead.total()),
        )


def _finished_events(counts: RecordCounts) -> int:
    return counts.events - counts.retrying


def _finished_labels(counts: RecordCounts) -> int:
    return counts.labels - counts.waiting


def earlier_counts(
    reader: PartitionReader,
    bounds: OffsetBounds,
    newest: Mapping[int, PartitionCounts],
    since: int,
) -> RecordCounts:
    """Return the record counts as of a time, or as of the oldest later transaction that is found.

    Args:
        bounds: bounds of the state topic.
        newest: present counts, which count for partitions without earlier ones.
        since: Unix milliseconds.
    """
    ends = {one: end for one, (low, end) in bounds.items() if low < end}
    starts = reader.offsets_since(ends, since) if ends else {}
    searched = {
        one: (max(bounds[one][0], starts[one] - _EARLIER_OFFSETS, end - MAX_OFFSETS), end)
        for one, end in ends.items()
    }
    found: dict[int, PartitionCounts] = {}
    for message in filter(is_counts, reader.records(searched)):
        one = partition_of(message)
        # If the search begins with the log, the first counts are those of its first transaction.
        is_oldest = searched[one][0] > 0 and one[1] not in found
        if message.timestamp()[1] < since or is_oldest:
            found[one[1]] = decode_counts(message)
    new = {number for (_, number), (start, _) in searched.items() if start == 0} - found.keys()
    return total(found.get(number, one) for number, one in newest.items() if number not in new)
