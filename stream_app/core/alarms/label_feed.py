"""Labels in the order of their times, whatever the order in which they are read."""

from heapq import heappop, heappush, heappushpop
from typing import Any, NamedTuple

from stream_app.core.alarms.evidence import HOUR_MS, PlainState
from stream_app.core.reading.event_time import NEVER

# Labels that wait for the watermark; with more, the earliest one is released at once.
MAX_WAITING = 20_000
# Hours of label time for which offsets are kept.
_KEPT_HOURS = 30 * 24


class ServedLabel(NamedTuple):
    """Label with the prediction that was served, in the order in which detectors take them.

    Attributes:
        label_time: time at which the label became known in Unix milliseconds.
        event_time: time of the event in Unix milliseconds.
        partition: partition of the scorer.
        offset: offset in the log from which it was read.
        label: the label: a truth value, a class or a number.
        score: the served probability, probabilities by class, or number.
    """

    label_time: int
    event_time: int
    partition: int
    offset: int
    label: Any
    score: Any


class LabelFeed:
    """Sorts labels by (label time, event time, partition, offset), in a bounded buffer.

    What is released is a function of the order of the calls of `add` and `release`. So a caller
    calls `release` where its log says so, not where a chunk of it happens to end.

    >>> feed = LabelFeed()
    >>> for time in (30, 10, 20):
    ...     feed.add(ServedLabel(time, 0, 0, time, True, 0.5))
    >>> [label.label_time for label in feed.release(watermark=20)], feed.waiting
    ([10, 20], 1)

    Args:
        limit: number of labels that wait; with more, the earliest one comes with the next release.

    Attributes:
        late: number of labels that were read after later ones had been released.
        forced: number of labels that were released before the watermark, because too many waited.
        batched: number of labels that came in batches: labels that share one time, of events of
            more than an hour.
    """

    def __init__(self, limit: int = MAX_WAITING) -> None:
        self._limit: int = limit
        self._waiting: list[ServedLabel] = []
        self._forced: list[ServedLabel] = []
        self._released: int = NEVER
        # Time that the newest labels share, their events, their number, and True for a batch.
        self._batch_time: int = NEVER
        self._first_event: int = 0
        self._last_event: int = 0
        self._size: int = 0
        self._batch: bool = False
        self.late: int = 0
        self.forced: int = 0
        self.batched: int = 0

    @property
    def waiting(self) -> int:
        """Number of labels that wait for the watermark."""
        return len(self._waiting)

    def add(self, label: ServedLabel) -> None:
        """Add a label."""
        if label.label_time < self._released:
            self.late += 1
        if len(self._waiting) < self._limit:
            heappush(self._waiting, label)
            return
        earliest = heappushpop(self._waiting, label)
        self._forced.append(earliest)
        self._released = max(self._released, earliest.label_time)
        self.forced += 1

    def release(self, watermark: int) -> list[ServedLabel]:
        """Return the labels up to the least watermark of the partitions, in their order."""
        released, self._forced = self._forced, []
        waiting = self._waiting
        while waiting and waiting[0].label_time <= watermark:
            released.append(heappop(waiting))
        for label in released:
            self._count_batch(label)
        if released:
            self._released = max(self._released, released[-1].label_time)
        return released

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        events = [self._first_event, self._last_event]
        batch = [self._batch_time, *events, self._size, self._batch]
        counts = [self.late, self.forced, self.batched]
        waiting = [list(label) for label in sorted(self._waiting)]
        return [self._released, *batch, *counts, [list(label) for label in self._forced], waiting]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        self._released, self._batch_time = state[0], state[1]
        self._first_event, self._last_event = state[2], state[3]
        self._size, self._batch = state[4], state[5]
        self.late, self.forced, self.batched = state[6], state[7], state[8]
        self._forced = [ServedLabel(*label) for label in state[9]]
        self._waiting = [ServedLabel(*label) for label in state[10]]

    def _count_batch(self, label: ServedLabel) -> None:
        event = label.event_time
        if label.label_time != self._batch_time:
            self._batch_time = label.label_time
            self._first_event = self._last_event = event
            self._size, self._batch = 1, False
            return
        self._size += 1
        self._first_event = min(self._first_event, event)
        self._last_event = max(self._last_event, event)
        if self._batch:
            self.batched += 1
        elif self._last_event - self._first_event > HOUR_MS:
            self._batch = True
            self.batched += self._size


class LabelOffsets:
    """Smallest offset of the labels since a label time, for the last 30 days of it.

    >>> offsets = LabelOffsets()
    >>> offsets.add(5 * HOUR_MS, 70)
    >>> offsets.add(6 * HOUR_MS, 60)
    >>> offsets.since(5 * HOUR_MS), offsets.since(7 * HOUR_MS)
    (60, None)
    """

    def __init__(self) -> None:
        self._hours: dict[int, int] = {}
        self._newest: int = NEVER

    def add(self, label_time: int, offset: int) -> None:
        """Add a label that was released."""
        hour = label_time // HOUR_MS
        smallest = self._hours.get(hour)
        if smallest is None or offset < smallest:
            self._hours[hour] = offset
        if hour > self._newest:
            self._newest = hour
            if len(self._hours) > _KEPT_HOURS:
                oldest = hour - _KEPT_HOURS
                self._hours = {key: kept for key, kept in self._hours.items() if key > oldest}

    def since(self, label_time: int) -> int | None:
        """Return the smallest offset of a label since a label time, None without any."""
        first = label_time // HOUR_MS
        found = [offset for hour, offset in self._hours.items() if hour >= first]
        return min(found) if found else None

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        return [self._newest, [[hour, offset] for hour, offset in sorted(self._hours.items())]]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        self._newest = state[0]
        self._hours = dict(state[1])
