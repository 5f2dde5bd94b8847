"""Alignment of the partitions of all sources: those that are ahead wait for those behind.

What runs ahead of the clock is state of the scorers: predictions that wait for labels, and labels
that wait for events. `docs/sources.md` has the interleavings that the rules are made for.
"""

from collections.abc import Callable, Mapping
from threading import Lock
from time import monotonic
from typing import NamedTuple

from stream_app.core.reading.event_time import NEVER
from stream_app.records import InputPartition
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import NOT_AWAITED

log = get_logger(__name__)

# A partition is awaited only if its watermark advances faster than the wall clock, measured over
# this time. So nothing waits for longer for a partition that is not read, or has wrong times.
PATIENCE_SECONDS = 30.0
# Records that a partition may read beyond the limit: taking turns more often costs more than the
# state of so few. More of them if it is ahead of another worker's, whose progress is known late.
OWN_RECORDS_AHEAD = 500
RECORDS_AHEAD = 5_000
_LEAST_BOUND_MS = 60_000
# Longest age of the limits, in seconds.
_REFRESH_SECONDS = 0.01
# A partition whose task has said nothing for so long has another owner, or none.
_OWN_SECONDS = 5.0


def alignment_bound(kept_ms: int) -> int:
    """Return by how much a watermark may be ahead, given the time that predictions are kept.

    >>> alignment_bound(8 * 3_600_000), alignment_bound(1000)
    (7200000, 60000)
    """
    return max(kept_ms // 4, _LEAST_BOUND_MS)


class PartitionProgress(NamedTuple):
    """Progress of a partition of a source, as far as it is known here.

    Attributes:
        watermark: in Unix milliseconds, `NEVER` before it has any.
        has_more: True if it has records to read.
    """

    watermark: int
    has_more: bool


class _Pace:
    """Progress of one partition, and whether the others wait for it.

    Attributes:
        own_at: monotonic time at which a task of this worker last said something about it.
        since, start: monotonic time and watermark at which the present measurement began.
        is_slow: True if it advanced less than the wall clock in the last measurement.
        is_reported: True once that is in the log.
    """

    __slots__ = ("is_reported", "is_slow", "own_at", "progress", "since", "start")

    def __init__(self, progress: PartitionProgress, now: float) -> None:
        self.progress = progress
        self.own_at = float("-inf")
        self.is_slow = self.is_reported = False
        self.measure(now)

    def measure(self, now: float) -> None:
        """Begin a new measurement."""
        self.since, self.start = now, self.progress.watermark

    def update(self, now: float) -> None:
        """End the measurement if its time is over."""
        elapsed = now - self.since
        if elapsed >= PATIENCE_SECONDS:
            self.is_slow = self.progress.watermark - self.start < elapsed * 1000
            self.measure(now)


class SourceAlignment:
    """Progress of the partitions of all sources, and the limits that follow from it.

    A partition waits while its watermark is further than a bound ahead of another one that has
    records to read and advances. The one that is furthest behind never waits, so something is read
    whatever the others do. A partition that is close to the present never waits either: waiting
    would delay it without making the state smaller. Thread-safe.

    Args:
        bound: milliseconds that a watermark may be ahead.
        seconds: monotonic clock.
    """

    def __init__(self, bound: int, seconds: Callable[[], float] = monotonic) -> None:
        self._bound = bound
        self._seconds = seconds
        self._paces: dict[InputPartition, _Pace] = {}
        self._lock = Lock()
        # Least watermarks of awaited partitions of this worker and of others, None without any.
        self._own: int | None = None
        self._others: int | None = None
        self._computed_at = float("-inf")
        # True if the partition that is furthest behind has moved since then.
        self._is_stale = False
        self._waited_at = float("-inf")
        self._catching_up: dict[InputPartition, float] = {}

    def report(self, source: InputPartition, progress: PartitionProgress, now_ms: int) -> None:
        """Take the progress of a partition of this worker into account."""
        now = self._seconds()
        with self._lock:
            pace = self._set(source, progress, now)
            pace.own_at = now
            if progress.has_more and not self._is_live(progress.watermark, now_ms):
                self._catching_up[source] = now
            else:
                self._catching_up.pop(source, None)

    def learn(self, found: Mapping[InputPartition, PartitionProgress]) -> None:
        """Take the progress of partitions into account of which other workers have written it.

        What this worker's own task says counts more, as it is newer.
        """
        now = self._seconds()
        with self._lock:
            for source, progress in found.items():
                pace = self._paces.get(source)
                if pace is None or not self._is_own(pace, now):
                    self._set(source, progress, now)

    def may_read(self, watermark: int, records_ahead: int, now_ms: int) -> bool:
        """Return True if a partition of this worker need not wait.

        Args:
            watermark: its watermark.
            records_ahead: records that it has read beyond the limit.
            now_ms: wall-clock time in Unix milliseconds.
        """
        if self._is_live(watermark, now_ms):
            return True
        now = self._seconds()
        with self._lock:
            if self._computed_at + _REFRESH_SECONDS < now:
                self._compute(now)
            if self._is_within(watermark, records_ahead):
                return True
            if self._is_stale:
                # Otherwise all would wait until the limits are computed again.
                self._compute(now)
                if self._is_within(watermark, records_ahead):
                    return True
            self._waited_at = now
            return False

    def is_ahead(self, watermark: int) -> bool:
        """Return True if a watermark is beyond the limits, as of their last computation."""
        return self._exceeds(watermark, self._own) or self._exceeds(watermark, self._others)

    @property
    def is_catching_up(self) -> bool:
        """True if partitions of this worker have records to read that are far from the present."""
        oldest = self._seconds() - _OWN_SECONDS
        with self._lock:
            return any(at > oldest for at in self._catching_up.values())

    def others_behind(self) -> list[InputPartition]:
        """Return the partitions of other workers that may be awaited, or are not known to be."""
        now = self._seconds()
        with self._lock:
            own = [
                pace.progress.watermark for pace in self._paces.values() if self._is_own(pace, now)
            ]
            newest = max(own, default=NEVER)
            return [
                source
                for source, pace in self._paces.items()
                if not self._is_own(pace, now) and pace.progress.watermark + self._bound < newest
            ]

    def _is_within(self, watermark: int, records_ahead: int) -> bool:
        """Return True if the limits let a partition read on."""
        return (records_ahead < OWN_RECORDS_AHEAD or not self._exceeds(watermark, self._own)) and (
            records_ahead < RECORDS_AHEAD or not self._exceeds(watermark, self._others)
        )

    def _set(self, source: InputPartition, progress: PartitionProgress, now: float) -> _Pace:
        pace = self._paces.get(source)
        if pace is not None and pace.progress.watermark in (self._own, self._others):
            self._is_stale = True
        if pace is None:
            pace = self._paces[source] = _Pace(progress, now)
            self._computed_at = float("-inf")
        elif progress.has_more and not pace.progress.has_more:
            # It had nothing to read until now.
            pace.progress, pace.is_slow = progress, False
            pace.measure(now)
        else:
            pace.progress = progress
        return pace

    def _compute(self, now: float) -> None:
        """Compute the limits, and find out which partitions are not awaited."""
        unread = [pace for pace in self._paces.values() if pace.progress.has_more]
        least = min((pace.progress.watermark for pace in unread if not pace.is_slow), default=None)
        for pace in unread:
            if self._exceeds(pace.progress.watermark, least):
                # It waits itself, perhaps.
                pace.measure(now)
            else:
                pace.update(now)
        awaited = [pace for pace in unread if not pace.is_slow]
        own = [pace.progress.watermark for pace in awaited if self._is_own(pace, now)]
        others = [pace.progress.watermark for pace in awaited if not self._is_own(pace, now)]
        self._own, self._others = min(own, default=None), min(others, default=None)
        self._computed_at, self._is_stale = now, False
        self._report_slow(now)

    def _report_slow(self, now: float) -> None:
        slow = [
            (source, pace)
            for source, pace in self._paces.items()
            if pace.is_slow and pace.progress.has_more
        ]
        NOT_AWAITED.set(len(slow))
        if now - self._waited_at > 2 * PATIENCE_SECONDS:
            return
        for source, pace in slow:
            if not pace.is_reported:
                pace.is_reported = True
                log.warning(
                    "partitions of sources wait no longer for one that does not advance",
                    partition=f"{source.topic}[{source.partition}]",
                    action="check the times in its records, and that its worker runs",
                )

    def _exceeds(self, watermark: int, least: int | None) -> bool:
        return least is not None and watermark > least + self._bound

    def _is_live(self, watermark: int, now_ms: int) -> bool:
        return watermark >= now_ms - self._bound

    def _is_own(self, pace: _Pace, now: float) -> bool:
        return now - pace.own_at < _OWN_SECONDS
