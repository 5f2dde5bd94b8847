"""Expiry queue: cheap to add to, because most events get their label long before they expire."""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush

_HOUR_MS = 3_600_000
_MINUTE_MS = 60_000


class ExpiryQueue:
    """Identities of events by the time at which they expire, in Unix milliseconds of event time.

    Ids are kept unsorted in spans of one hour, and those of an hour that has begun in spans of one
    minute; only a minute that has begun is sorted. So a list takes little memory with few ids per
    minute, and sorting with many. Nothing is removed early: an id that expires at another time by
    now, or never, is skipped. The caller must remove the entry of a popped id before it asks for
    the next one.

    Args:
        expiry_time: returns the time at which an id expires by now, or None for never.
    """

    def __init__(self, expiry_time: Callable[[str], int | None]) -> None:
        self._expiry_time = expiry_time
        self._hours = _Spans(_HOUR_MS)
        self._minutes = _Spans(_MINUTE_MS)
        self._sorted: list[tuple[int, str]] = []  # heap of the ids of the minutes that have begun

    def add(self, time: int, identity: str) -> None:
        """Add an id that expires at a time; again if the time changes."""
        if not (self._hours.add(time, identity) or self._minutes.add(time, identity)):
            heappush(self._sorted, (time, identity))

    def pop(self, before: float) -> Iterator[tuple[int, str]]:
        """Remove and yield what expires before a time, oldest first; the caller may stop early."""
        while True:
            while not self._sorted and self._begin_next_span(before):
                pass
            if not self._sorted or self._sorted[0][0] >= before:
                return
            time, identity = heappop(self._sorted)
            if self._expiry_time(identity) == time:
                yield time, identity

    def _begin_next_span(self, before: float) -> bool:
        """Begin the next minute, or hour, if it starts before a time; return False if not."""
        ids = self._minutes.begin_next(before)
        if ids is not None:
            self._sorted = list(self._present(ids, self._minutes))
            heapify(self._sorted)
            return True
        ids = self._hours.begin_next(before)
        if ids is None:
            return False
        for time, identity in self._present(ids, self._hours):
            self._minutes.add(time, identity)
        return True

    def _present(self, ids: list[str], spans: "_Spans") -> Iterator[tuple[int, str]]:
        """Yield those of some ids that still expire in the span that has begun last."""
        for identity in set(ids):
            time = self._expiry_time(identity)
            if time is not None and time // spans.length == spans.last_begun:
                yield time, identity


class _Spans:
    """Unsorted ids by spans of time.

    Args:
        length: length of a span in milliseconds.

    Attributes:
        last_begun: number of the span that has begun last, None before the first.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.last_begun: int | None = None
        self._ids: dict[int, list[str]] = {}
        self._heap: list[int] = []

    def add(self, time: int, identity: str) -> bool:
        """Add an id to the span of a time; return False if that span has begun."""
        span = time // self.length
        if self.last_begun is not None and span <= self.last_begun:
            return False
        ids = self._ids.get(span)
        if ids is None:
            self._ids[span] = [identity]
            heappush(self._heap, span)
        else:
            ids.append(identity)
        return True

    def begin_next(self, before: float) -> list[str] | None:
        """Remove and return the ids of the next span, None if it does not start before a time."""
        if not self._heap or self._heap[0] * self.length >= before:
            return None
        self.last_begun = heappop(self._heap)
        return self._ids.pop(self.last_begun)
