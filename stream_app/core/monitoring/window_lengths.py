"""Lengths of windows: chosen once from the number of records, and changed by command."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping

from stream_app.core.monitoring.log_alignment import DAY_MS, STEP_MS, floor_time
from stream_app.core.reading.event_time import NEVER

LENGTHS_MS = (STEP_MS, 3_600_000, 6 * 3_600_000, DAY_MS)
"""Lengths of windows in milliseconds; each is a multiple of the one before."""

# Records that a window should have, and the share of windows that should.
ENOUGH_RECORDS = 100
ENOUGH_WINDOWS = 0.9
# Windows, and days, by which a length is chosen.
WINDOWS_NEEDED = 10
DAYS_NEEDED = 1
# Days after which the longest one is chosen, if no other has enough records.
MAX_DAYS = 10


def choose_length(counts: Mapping[int, int], start: int, end: int) -> int | None:
    """Return the shortest length of which nine windows in ten have enough records.

    Args:
        counts: number of records by start of each `STEP_MS`.
        start: Unix milliseconds from which on records are counted.
        end: Unix milliseconds up to which all records are counted.

    Returns:
        The length in milliseconds, None if more time is needed.

    >>> busy = {time: 30 for time in range(0, 2 * DAY_MS, STEP_MS)}
    >>> choose_length(busy, 0, DAY_MS) == LENGTHS_MS[1]
    True
    """
    if end - start < DAYS_NEEDED * DAY_MS:
        return None
    for length in LENGTHS_MS:
        first = -(-start // length) * length
        windows = (end - first) // length
        if windows < WINDOWS_NEEDED:
            continue
        full = _full_windows(counts, length, range(first, first + windows * length))
        if full >= ENOUGH_WINDOWS * windows:
            return length
    return LENGTHS_MS[-1] if end - start >= MAX_DAYS * DAY_MS else None


def _full_windows(counts: Mapping[int, int], length: int, span: range) -> int:
    """Return the number of windows of a span of time that have enough records."""
    found: dict[int, int] = {}
    for time, count in counts.items():
        if span.start <= time < span.stop:
            window = time - time % length
            found[window] = found.get(window, 0) + count
    return sum(count >= ENOUGH_RECORDS for count in found.values())


class WindowLengths:
    """Lengths of the windows by the time from which each applies.

    Args:
        changes: times in Unix milliseconds, multiples of a day, and lengths; oldest first. The
            first one applies to all earlier times too.
    """

    def __init__(self, changes: Iterable[tuple[int, int]] = ()) -> None:
        self.changes = [(start, length) for start, length in changes]

    @property
    def is_known(self) -> bool:
        """True once a length is chosen."""
        return bool(self.changes)

    def change(self, start: int, length: int) -> None:
        """Let a length apply from a time on, instead of any that was to apply later."""
        self.changes = [one for one in self.changes if one[0] < start] + [(start, length)]

    def applies_from(self, time: int) -> int:
        """Return the time from which the length of the window of a time applies.

        `NEVER` stands for the first length, which applies to all earlier times too.
        """
        index = bisect_right(self.changes, time, key=lambda one: one[0]) - 1
        return self.changes[index][0] if index > 0 else NEVER

    def window_of(self, time: int) -> tuple[int, int]:
        """Return start and length of the window of a time; `STEP_MS` while no length is known."""
        index = bisect_right(self.changes, time, key=lambda one: one[0])
        length = self.changes[max(index - 1, 0)][1] if self.changes else STEP_MS
        return time - time % length, length

    def closing_time(self, start: int, length: int) -> int:
        """Return the time at which a window closes.

        That is a quarter of its length after its end. While no length was known, it was a quarter
        of a day after the end of its day. Records may have been read by that rule until the length
        applied, so a window closes by the earlier of both, but not before it applied.
        """
        of_day = day_closing_time(start)
        if not self.changes:
            return of_day
        applied = self.changes[0][0]
        return min(of_day, max(start + length + max(length // 4, STEP_MS), applied))


def day_closing_time(time: int) -> int:
    """Return the time at which all windows of a day close at the latest."""
    return NEVER if time == NEVER else floor_time(time, DAY_MS) + DAY_MS + DAY_MS // 4
