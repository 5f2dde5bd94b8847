"""Record counts of the scorers, read from one record of each partition's state topic."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Message

from stream_app.core.reading.event_time import NEVER
from stream_app.core.scoring.partition_state import COUNTS_KEY
from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.formatting import iso_time
from stream_app.kafka.offsets import OffsetBounds
from stream_app.kafka.reader import PartitionReader
from stream_app.status.status_model import PartitionStatus, RecordCountTotals


class PartitionCounts(NamedTuple):
    """Record counts of a partition as of its last transaction.

    Attributes:
        event_watermark: Unix milliseconds, as `label_watermark` and `clock`.
        positions: next offset of each input topic.
        entries: entries of the state, None if the worker did not write it.
        replayed_labels: outcomes of replayed labels by replay, see `ReplayedLabels`.
    """

    partition: int
    counts: RecordCounts
    event_watermark: int
    label_watermark: int
    clock: int
    positions: Mapping[str, int]
    entries: int | None
    replayed_labels: Mapping[str, Mapping[str, int]]

    @property
    def balanced(self) -> bool:
        """True if no event was lost or duplicated.

        Then every prediction is joined, expired or pending, and there are no more outcomes than
        offsets.
        """
        counts = self.counts
        predictions = counts.joined + counts.expired + counts.pending
        return counts.scored == predictions and self.without_outcome >= 0

    @property
    def without_outcome(self) -> int:
        """Number of processed offsets of transaction markers, and of records deleted unread."""
        return sum(self.positions.values()) - self.counts.events - self.counts.labels


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
        value["event_watermark"],
        value["label_watermark"],
        value["clock"],
        {topic: max(offset, 0) for topic, offset in value["positions"].items()},
        value.get("entries"),
        value.get("replayed_labels", {}),
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
            _time(one.clock),
            _time(one.event_watermark),
            _time(one.label_watermark),
        )
        for partition, one in sorted(counts.items())
    )


def _time(milliseconds: int) -> str | None:
    return None if milliseconds == NEVER else iso_time(milliseconds)
