"""Progress of each role in the partitions that it reads, and rates."""

from collections.abc import Mapping
from typing import NamedTuple

from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.kafka.offsets import OffsetBounds, PartitionId
from stream_app.kafka.partition_reader import PartitionReader
from stream_app.status.cluster_view import ConsumerGroup
from stream_app.status.status_model import InputStatus, Rates
from stream_app.status.worker_status import worker_name


class GroupProgress(NamedTuple):
    """Progress of a role in a partition.

    Attributes:
        next: offset of the next record, None before the first commit.
        low: beginning offset of the partition.
        end: end offset of the partition.
    """

    role: str
    partition_id: PartitionId
    next: int | None
    low: int
    end: int

    @property
    def position(self) -> int:
        """Offset of the next record that still exists."""
        return self.low if self.next is None else min(max(self.next, self.low), self.end)

    @property
    def lost(self) -> int:
        """Number of records that were deleted before they were read."""
        return 0 if self.next is None else max(0, self.low - self.next)


def oldest_times(
    reader: PartitionReader, progress: list[GroupProgress]
) -> dict[tuple[str, PartitionId], int]:
    """Return the timestamps (Unix milliseconds) of the oldest unread records.

    Partitions without an unread record are left out. Each role is read separately, because two
    roles may have different positions in one partition, and a consumer reads a partition once.
    """
    times = {}
    for role in {one.role for one in progress}:
        unread = {
            one.partition_id: (one.position, one.end)
            for one in progress
            if one.role == role and one.position < one.end
        }
        found = reader.first(unread) if unread else {}
        times.update(
            {
                (role, partition_id): message.timestamp()[1]
                for partition_id, message in found.items()
            }
        )
    return times


def input_status(
    progress: GroupProgress, group: ConsumerGroup, oldest: int | None, now: int
) -> InputStatus:
    """Return the status of one partition that a role reads.

    Args:
        oldest: timestamp of the oldest unread record in Unix milliseconds, None without one.
        now: Unix milliseconds.
    """
    owner = group.owner(progress.partition_id)
    topic, partition = progress.partition_id
    return InputStatus(
        role=progress.role,
        topic=topic,
        partition=partition,
        worker=None if owner is None else worker_name(group, progress.role, owner),
        position=progress.position,
        end=progress.end,
        lag_records=0 if oldest is None else progress.end - progress.position,
        lag_seconds=0.0 if oldest is None else round(max(0, now - oldest) / 1000, 1),
        lost=progress.lost,
    )


def next_offsets(
    group: ConsumerGroup, positions: Mapping[PartitionId, int]
) -> dict[PartitionId, int]:
    """Return the next offset by partition: as committed by the group, else as in the state."""
    return {**positions, **group.offsets}


class ProgressSample(NamedTuple):
    """Sample from which rates are computed.

    Attributes:
        at: monotonic seconds.
        raw: sum of the end offsets of the events; `labels` likewise.
        counts: record counts of all partitions.
    """

    at: float
    raw: int
    labels: int
    counts: RecordCounts


def take_sample(
    at: float, bounds: OffsetBounds, raw: str, labels: str, counts: RecordCounts
) -> ProgressSample:
    """Return a sample; `raw` and `labels` are names of topics."""

    def end_sum(topic: str) -> int:
        return sum(end for (name, _), (_, end) in bounds.items() if name == topic)

    return ProgressSample(at, end_sum(raw), end_sum(labels), counts)


def rates(before: ProgressSample, after: ProgressSample) -> Rates:
    """Return the rates between two samples."""
    seconds = max(after.at - before.at, 1e-3)

    def per_second(change: int) -> float:
        return round(max(0, change) / seconds, 1)

    old, new = before.counts, after.counts
    return Rates(
        seconds=round(seconds, 3),
        events_in=per_second(after.raw - before.raw),
        labels_in=per_second(after.labels - before.labels),
        events_done=per_second(new.events - old.events),
        scored=per_second(new.scored - old.scored),
        joined=per_second(new.joined - old.joined),
        dead_letters=per_second(_dead_letters(new) - _dead_letters(old)),
    )


def _dead_letters(counts: RecordCounts) -> int:
    return counts.dead.total() + counts.label_dead.total()
