"""Watermark that records with wrong times do not move: what n successive records have reached."""

from collections.abc import Iterable

from stream_app.core.reading.event_time import NEVER


class RobustWatermark:
    """Largest time that a number of successive records have reached; it never goes back.

    Fewer successive records than that may have any time without moving it. It depends on the times
    and their order only, not on when `advance` is called. `docs/clock.md` compares it with others.

    >>> watermark = RobustWatermark(3)
    >>> watermark.times += [1, 2, 3, 999, 998, 4, 5]
    >>> watermark.advance(), watermark.recent()
    (4, [4, 5])

    Args:
        needed: number of successive records, at least 2.
        value: watermark of an earlier one, `NEVER` before the first records.
        recent: times of its last records.

    Attributes:
        value: the watermark in Unix milliseconds, as of the last `advance`.
        times: times of the last records and of the new ones, oldest first; callers append to it.
    """

    __slots__ = ("_needed", "times", "value")

    def __init__(self, needed: int, value: int = NEVER, recent: Iterable[int] = ()) -> None:
        self._needed = needed
        self.value = value
        self.times: list[int] = list(recent)

    def advance(self) -> int:
        """Take the new times into account, and return the watermark."""
        times, needed, value = self.times, self._needed, self.value
        excess = len(times) - needed + 1
        if excess <= 0:
            return value
        # Of records in order the last ones have the result; then none of the others is above it.
        last = min(times[-needed:])
        value = max(value, last)
        above = 0
        for end, time in enumerate(times, 1):
            if time <= value:
                above = 0
                continue
            above += 1
            if above == needed:
                value = min(times[end - needed : end])
                above = _successive(times, end, value)
        del times[:excess]
        self.value = value
        return value

    def recent(self) -> list[int]:
        """Return the times of the last records, which determine how it continues."""
        return self.times[-self._needed + 1 :]


def _successive(times: list[int], end: int, value: int) -> int:
    """Return the number of successive times before an index that are above a value."""
    start = end
    while start and times[start - 1] > value:
        start -= 1
    return end - start
