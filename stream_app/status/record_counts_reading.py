"""The scorers' books: one record of each partition's state topic, added up."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Message

from stream_app.core.scoring.partition_state import NEVER, TALLIES_KEY
from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.formatting import iso_time
from stream_app.kafka.offsets import Limits
from stream_app.status.newest_records import NewestRecords
from stream_app.status.status_model import PartitionState, RecordCountTotals


class PartitionCounts(NamedTuple):
    """One partition's books as of its last transaction; watermarks and clock are epoch milliseconds.

    `entries` is None if the worker that wrote it did not tell.
    """

    partition: int
    tallies: RecordCounts
    event_watermark: int
    label_watermark: int
    clock: int
    positions: Mapping[str, int]
    entries: int | None

    @property
    def balanced(self) -> bool:
        """Every prediction is joined, expired or pending, and there are not more outcomes than records."""
        tallies = self.tallies
        predictions = tallies.joined + tallies.expired + tallies.pending
        return tallies.scored == predictions and self.without_outcome >= 0

    @property
    def without_outcome(self) -> int:
        """Offsets passed over: markers of transactions, and records that were deleted before they were read."""
        return sum(self.positions.values()) - self.tallies.events - self.tallies.labels


def read_sheets(tail: NewestRecords, limits: Limits) -> dict[int, PartitionCounts]:
    """The newest books of each partition; `limits` are those of the state topic."""
    found = tail.newest(
        limits, lambda message: message.key() == TALLIES_KEY and message.value() is not None
    )
    return {partition: _sheet(partition, message) for (_, partition), message in found.items()}


def _sheet(partition: int, message: Message) -> PartitionCounts:
    value: dict[str, Any] = orjson.loads(message.value() or b"")
    return PartitionCounts(
        partition,
        RecordCounts.from_dict(value["tallies"]),
        value["event_watermark"],
        value["label_watermark"],
        value["clock"],
        {topic: max(offset, 0) for topic, offset in value["positions"].items()},
        value.get("entries"),
    )


def total(sheets: Iterable[PartitionCounts]) -> RecordCounts:
    """All partitions together."""
    added = RecordCounts()
    for sheet in sheets:
        added = added.add(sheet.tallies)
    return added


def books(sheets: Iterable[PartitionCounts]) -> RecordCountTotals:
    """As they are shown."""
    found = list(sheets)
    sums = total(found)
    return RecordCountTotals(
        events=sums.events,
        labels=sums.labels,
        balanced=all(sheet.balanced for sheet in found),
        without_outcome=sum(sheet.without_outcome for sheet in found),
        **sums.as_dict(),
    )


def partition_states(
    sheets: Mapping[int, PartitionCounts], limit: int
) -> tuple[PartitionState, ...]:
    """How full and how far each partition's state is."""
    return tuple(
        PartitionState(
            partition,
            sheet.entries,
            limit,
            _known(sheet.clock),
            _known(sheet.event_watermark),
            _known(sheet.label_watermark),
        )
        for partition, sheet in sorted(sheets.items())
    )


def _known(time: int) -> str | None:
    return None if time == NEVER else iso_time(time)
