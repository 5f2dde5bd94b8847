"""How far each role has come in what it reads, and how fast."""

from collections.abc import Mapping
from typing import NamedTuple

from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.kafka.offsets import Limits, Place
from stream_app.status.cluster_view import ConsumerGroup
from stream_app.status.newest_records import NewestRecords
from stream_app.status.role_status import worker_name
from stream_app.status.status_model import InputStatus, Rates


class GroupProgress(NamedTuple):
    """Where a role stands in a partition; `next` is None before it has ever committed there."""

    role: str
    place: Place
    next: int | None
    low: int
    end: int

    @property
    def position(self) -> int:
        """The offset that it will read next, if that is still there."""
        return self.low if self.next is None else min(max(self.next, self.low), self.end)

    @property
    def lost(self) -> int:
        """Records that were deleted before they were read."""
        return 0 if self.next is None else max(0, self.low - self.next)


def oldest_times(
    tail: NewestRecords, standings: list[GroupProgress]
) -> dict[tuple[str, Place], int]:
    """When the oldest unread record was written, epoch milliseconds; nothing where none is left to read.

    Two roles may stand at different places of one partition, and a consumer reads a partition once: so role by role.
    """
    times = {}
    for role in {standing.role for standing in standings}:
        behind = {
            s.place: (s.position, s.end) for s in standings if s.role == role and s.position < s.end
        }
        found = tail.first(behind) if behind else {}
        times.update({(role, place): message.timestamp()[1] for place, message in found.items()})
    return times


def input_status(
    standing: GroupProgress, group: ConsumerGroup, oldest: int | None, now: int
) -> InputStatus:
    """As it is shown; `oldest` is the time of the oldest unread record, `now` too in epoch milliseconds."""
    owner = group.owner(standing.place)
    topic, partition = standing.place
    return InputStatus(
        role=standing.role,
        topic=topic,
        partition=partition,
        worker=None if owner is None else worker_name(group, standing.role, owner),
        position=standing.position,
        end=standing.end,
        lag_records=0 if oldest is None else standing.end - standing.position,
        lag_seconds=0.0 if oldest is None else round(max(0, now - oldest) / 1000, 1),
        lost=standing.lost,
    )


class ProgressSample(NamedTuple):
    """What rates are made of: a moment (monotonic seconds), the ends of both inputs added up, and the books."""

    at: float
    raw: int
    labels: int
    books: RecordCounts


def sample(at: float, limits: Limits, raw: str, labels: str, books: RecordCounts) -> ProgressSample:
    """A sample from the topics' limits; `raw` and `labels` are their names."""

    def ends(topic: str) -> int:
        return sum(end for (name, _), (_, end) in limits.items() if name == topic)

    return ProgressSample(at, ends(raw), ends(labels), books)


def rates(before: ProgressSample, after: ProgressSample) -> Rates:
    """Per second between two samples."""
    seconds = max(after.at - before.at, 1e-3)

    def per_second(change: int) -> float:
        return round(max(0, change) / seconds, 1)

    dead = _dead(after.books) - _dead(before.books)
    return Rates(
        seconds=round(seconds, 3),
        events_in=per_second(after.raw - before.raw),
        labels_in=per_second(after.labels - before.labels),
        events_done=per_second(after.books.events - before.books.events),
        scored=per_second(after.books.scored - before.books.scored),
        joined=per_second(after.books.joined - before.books.joined),
        dead_letters=per_second(dead),
    )


def _dead(books: RecordCounts) -> int:
    return books.dead.total() + books.label_dead.total()


def next_offsets(group: ConsumerGroup, positions: Mapping[Place, int]) -> dict[Place, int]:
    """Where a role goes on: what its group has committed, or what its state says if that has expired."""
    return {**positions, **group.offsets}
