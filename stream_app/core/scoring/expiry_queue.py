"""Expiry queue: cheap to add to, because most events get their label long before they expire."""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush

_SPAN_MS = 60_000


class ExpiryQueue:
    """Event ids by the time at which they expire, in Unix milliseconds of event time.

    Ids are kept unsorted in spans of one minute; only a span that has begun is sorted. Nothing is
    removed early: an id that expires at another time by now, or never, is skipped. The caller must
    remove the entry of a popped id before it asks for the next one.

    Args:
        expiry_time: returns the time at which an id expires by now, or None for never.
    """

    def __init__(self, expiry_time: Callable[[str], int | None]) -> None:
        self._expiry_time = expiry_time
        self._spans: dict[int, list[str]] = {}
        self._span_heap: list[int] = []
        self._sorted: list[tuple[int, str]] = []  # heap of the ids of the spans that have begun
        self._last_begun: int | None = None

    def add(self, time: int, event_id: str) -> None:
        """Add an id that expires at a time; again if the time changes."""
        span = time // _SPAN_MS
        if self._last_begun is not None and span <= self._last_begun:
            heappush(self._sorted, (time, event_id))
            return
        ids = self._spans.get(span)
        if ids is None:
            self._spans[span] = [event_id]
            heappush(self._span_heap, span)
        else:
            ids.append(event_id)

    def pop(self, before: float) -> Iterator[tuple[int, str]]:
        """Remove and yield what expires before a time, oldest first; the caller may stop early."""
        while True:
            heap = self._span_heap
            while not self._sorted and heap and heap[0] * _SPAN_MS < before:
                self._begin_next_span()
            if not self._sorted or self._sorted[0][0] >= before:
                return
            time, event_id = heappop(self._sorted)
            if self._expiry_time(event_id) == time:
                yield time, event_id

    def _begin_next_span(self) -> None:
        self._last_begun = heappop(self._span_heap)
        ids = self._spans.pop(self._last_begun)
        found = ((self._expiry_time(event_id), event_id) for event_id in set(ids))
        self._sorted = [
            (time, event_id)
            for time, event_id in found
            if time is not None and time // _SPAN_MS == self._last_begun
        ]
        heapify(self._sorted)
