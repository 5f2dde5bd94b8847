"""When which event falls due: cheap to add to, for most events are answered long before."""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush

_SPAN = 60_000  # milliseconds


class ExpiryQueue:
    """Event ids by the time at which they fall due (epoch milliseconds).

    They lie unsorted in spans of a minute; only the ids of a span that has begun are put in order. Nothing is ever
    taken out early: `due_time` says when an id is due by now, None if never, and what was noted before does not count.
    What is popped must have no due time any more when the next is asked for.
    """

    def __init__(self, due_time: Callable[[str], int | None]) -> None:
        self._due_time = due_time
        self._spans: dict[int, list[str]] = {}
        self._order: list[int] = []  # a heap of the spans
        self._near: list[
            tuple[int, str]
        ] = []  # a heap of what is left of the spans that were opened
        self._opened: int | None = None  # the last of them

    def add(self, due: int, event_id: str) -> None:
        """Note when an event is due; again if that changes."""
        span = due // _SPAN
        if self._opened is not None and span <= self._opened:
            heappush(self._near, (due, event_id))
            return
        ids = self._spans.get(span)
        if ids is None:
            self._spans[span] = [event_id]
            heappush(self._order, span)
        else:
            ids.append(event_id)

    def pop(self, before: float) -> Iterator[tuple[int, str]]:
        """Take out what is due before a time, oldest first; the caller may stop at any time."""
        while True:
            while not self._near and self._order and self._order[0] * _SPAN < before:
                self._open_next()
            if not self._near or self._near[0][0] >= before:
                return
            due, event_id = heappop(self._near)
            if self._due_time(event_id) == due:
                yield due, event_id

    def _open_next(self) -> None:
        self._opened = heappop(self._order)
        ids = self._spans.pop(self._opened)
        found = ((self._due_time(event_id), event_id) for event_id in set(ids))
        self._near = [
            (due, event_id)
            for due, event_id in found
            if due is not None and due // _SPAN == self._opened
        ]
        heapify(self._near)
