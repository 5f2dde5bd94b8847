"""Clock of a partition: event time, from the watermarks of its events and labels."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from stream_app.core.reading.event_time import NEVER
from stream_app.core.reading.robust_watermark import RobustWatermark
from stream_app.core.scoring.source_watermarks import SourceWatermarks

# Successive records that move the watermark of an input.
EVENTS_NEEDED = 12
LABELS_NEEDED = 4
# Least time at the end of an input after which it is committed.
_IDLE_COMMIT_MS = 60_000
# Longest time between two looks that counts as one at the end of an input.
_MAX_LOOK_MS = 60_000

InputName = Literal["events", "labels"]
ClockMover = Literal["events", "labels", "idle inputs"]
"""Cause of the last advance of a clock: the watermark that decided it, or idle inputs."""


def idle_commit_step(idle_after: int) -> int:
    """Return the time at the end of an input after which it is committed, in milliseconds.

    A crash then loses little of the time after which the input is idle.

    >>> idle_commit_step(3_600_000), idle_commit_step(86_400_000)
    (72000, 1728000)
    """
    return max(_IDLE_COMMIT_MS, idle_after // 50)


class ClockHolder(NamedTuple):
    """Input that holds back the clock.

    Attributes:
        input: the input.
        source: source whose part holds it back, None if its own records do.
        part: number of that part, None without a source.
        watermark: watermark of the input, `NEVER` before it has any.
    """

    input: InputName
    source: str | None
    part: int | None
    watermark: int


class InputClock:
    """Watermark of one input of a partition, and the time that it spent at its end.

    Args:
        needed: successive records that move the watermark.

    Attributes:
        own: watermark of the input's own records.
        sources: watermarks of its sources, as completeness records state them.
        watermark: watermark of the input, as of the last `advance`; it never goes back.
        idle_ms: wall time at the end of the input since its last record.
    """

    def __init__(self, needed: int) -> None:
        self._needed = needed
        self.own = RobustWatermark(needed)
        self.sources = SourceWatermarks()
        self.watermark = NEVER
        self.idle_ms = 0
        self._looked_at: int | None = None

    def advance(self) -> int:
        """Take new records into account, and return the watermark."""
        own, sources = self.own.advance(), self.sources
        if sources.held is not None:
            own = sources.held
        elif sources.merged:
            own = NEVER
        self.watermark = max(self.watermark, own, sources.promised)
        return self.watermark

    def promise(self, until: int) -> None:
        """Move the watermark: the input is known to be complete until a time."""
        self.watermark = max(self.watermark, until)

    def received(self) -> None:
        """End the time without records."""
        self.idle_ms, self._looked_at = 0, None

    def look(self, now: int, at_end: bool) -> None:
        """Count the time since the last look if the input was at its end all the time."""
        if at_end and self._looked_at is not None:
            self.idle_ms += min(max(now - self._looked_at, 0), _MAX_LOOK_MS)
        self._looked_at = now if at_end else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for the changelog."""
        return {
            "watermark": self.watermark,
            "own": self.own.value,
            "recent": self.own.recent(),
            "sources": self.sources.as_dict(),
            "idle_ms": self.idle_ms,
        }

    def restore(self, value: Mapping[str, Any]) -> None:
        """Set what `as_dict` returned."""
        self.own = RobustWatermark(self._needed, value["own"], value["recent"])
        self.sources = SourceWatermarks(value["sources"])
        self.watermark, self.idle_ms = value["watermark"], value["idle_ms"]


class EventClock:
    """Clock of a partition: the least of the watermarks of events and labels.

    An input that is idle holds nothing back. When both are, the clock runs on with the wall clock
    from the newer watermark. It never goes back.

    Args:
        idle_after: time in milliseconds after which an input at its end is idle.

    Attributes:
        events, labels: watermarks of the inputs.
        time: event time in Unix milliseconds, `NEVER` before both inputs have a watermark.
        mover: cause of its last advance.
        moved_at: wall-clock time of its last advance in Unix milliseconds, 0 before the first.
    """

    def __init__(self, idle_after: int) -> None:
        self.idle_after = idle_after
        self.events = InputClock(EVENTS_NEEDED)
        self.labels = InputClock(LABELS_NEEDED)
        self.time = NEVER
        self.mover: ClockMover = "events"
        self.moved_at = 0

    def is_idle(self, one: InputClock) -> bool:
        """Return True if an input holds nothing back."""
        return one.idle_ms >= self.idle_after

    def advance(self, now: int) -> int:
        """Move the clock as far as the inputs allow; `now` is in Unix milliseconds."""
        events, labels = self.events.advance(), self.labels.advance()
        no_events, no_labels = self.is_idle(self.events), self.is_idle(self.labels)
        if no_events and no_labels:
            newest = max(events, labels)
            idle = min(self.events.idle_ms, self.labels.idle_ms)
            if newest != NEVER:
                self._move(min(newest + idle, max(now, newest)), "idle inputs", now)
        elif no_labels or (events <= labels and not no_events):
            self._move(events, "events", now)
        else:
            self._move(labels, "labels", now)
        return self.time

    def holder(self) -> ClockHolder | None:
        """Return what holds back the clock, None if both inputs are idle."""
        inputs: tuple[tuple[InputName, InputClock], ...] = (
            ("events", self.events),
            ("labels", self.labels),
        )
        held = [(name, one) for name, one in inputs if not self.is_idle(one)]
        if not held:
            return None
        name, one = min(held, key=lambda item: item[1].watermark)
        source, part = one.sources.holding or (None, None)
        return ClockHolder(name, source, part, one.watermark)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for the changelog."""
        return {
            "time": self.time,
            "mover": self.mover,
            "moved_at": self.moved_at,
            "idle_after": self.idle_after,
            "events": self.events.as_dict(),
            "labels": self.labels.as_dict(),
        }

    def restore(self, value: Mapping[str, Any]) -> None:
        """Set what `as_dict` returned."""
        self.time, self.mover, self.moved_at = value["time"], value["mover"], value["moved_at"]
        self.events.restore(value["events"])
        self.labels.restore(value["labels"])

    def _move(self, time: int, mover: ClockMover, now: int) -> None:
        if time > self.time:
            self.time, self.mover, self.moved_at = time, mover, now
