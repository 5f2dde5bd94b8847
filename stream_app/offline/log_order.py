"""Several logs as one: each in its own order, merged by time, in bounded memory.

A record with a wrong time moves nothing but itself: the time by which a log is merged is that of
its next record, or the lower median of its next records if that is earlier.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

# Unix milliseconds; with this clock no record is in the future.
END_OF_TIME = 2**62
# Next records of a log whose times decide when its first one comes.
LOOKAHEAD = 31


class Timed(NamedTuple, Generic[T]):
    """Item with its time in Unix milliseconds, None if it has none.

    The time of an event is its event time, that of a label the time at which it became known.
    """

    time: int | None
    item: T


class LogBuffer(Generic[T]):
    """Next items of one log, which is read piece by piece.

    >>> log = LogBuffer()
    >>> for time in [3, 9_999, 4, 5, 6]:
    ...     log.add(Timed(time, time))
    >>> [(log.place(), log.pop().item) for _ in range(3)]
    [(3, 3), (5, 9999), (4, 4)]

    Attributes:
        is_ended: True once no further item is added.
    """

    def __init__(self) -> None:
        self.is_ended = False
        self._items: deque[Timed[T]] = deque()
        self._place: int | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def needs_more(self) -> bool:
        """True if further items may change the place of the next one."""
        return not self.is_ended and len(self._items) < LOOKAHEAD

    def add(self, item: Timed[T]) -> None:
        """Add the item after all others."""
        self._items.append(item)

    def place(self) -> int:
        """Return the time by which the next item is merged; one without a time comes at once."""
        if self._place is None:
            own = self._items[0].time
            if own is None:
                self._place = -END_OF_TIME
            else:
                ahead = islice(self._items, LOOKAHEAD)
                times = sorted(time for time, _ in ahead if time is not None)
                self._place = min(own, times[(len(times) - 1) // 2])
        return self._place

    def pop(self) -> Timed[T]:
        """Return the next item, and remove it."""
        self._place = None
        return self._items.popleft()


def merged_logs(logs: Sequence[LogBuffer[T]], read_more: Callable[[], None]) -> Iterator[Timed[T]]:
    """Yield the items of all logs; of those with the same time that of the first log.

    Args:
        logs: the logs.
        read_more: adds items to the logs that need more, or ends them.
    """
    while True:
        if any(log.needs_more for log in logs):
            read_more()
        left = [log for log in logs if len(log)]
        if not left:
            return
        yield min(left, key=LogBuffer.place).pop()


def sorted_ahead(
    items: Iterable[Timed[T]], ahead: int, at_end: Callable[[int], None]
) -> Iterator[tuple[int, Timed[T]]]:
    """Yield items in the order of their time, with that time, in bounded memory.

    An item whose place is more than `ahead` items before its own comes late. One without a time
    comes with the one before it.

    >>> times = [Timed(time, "") for time in (5, 3, 9, 1, 7)]
    >>> [time for time, _ in sorted_ahead(times, 2, lambda left: None)]
    [3, 1, 5, 7, 9]

    Args:
        items: items in the order of their log.
        ahead: number of items that are kept in memory.
        at_end: called with the number of items left, before each one once all have been read.
    """
    kept: list[tuple[int, int, Timed[T]]] = []
    last = -END_OF_TIME
    for number, item in enumerate(items):
        last = last if item.time is None else item.time
        heappush(kept, (last, number, item))
        if len(kept) > ahead:
            time, _, first = heappop(kept)
            yield time, first
    while kept:
        at_end(len(kept))
        time, _, first = heappop(kept)
        yield time, first
