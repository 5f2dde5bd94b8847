"""Distance of the events of a file from being sorted by their time."""

from collections.abc import Iterable

from stream_app.formatting import counted, duration


class EventOrder:
    """Counts the events that come after one of a later time.

    Attributes:
        events: number of events with a time.
        displaced: number of them that come after one of a later time.
        milliseconds: largest distance of such an event to the latest time before it.

    >>> str(EventOrder.of([1000, 3000, 2000, 4000]))
    '1 event of 4 comes after one of a later time, by up to 1.0 s'
    """

    def __init__(self) -> None:
        self.events = 0
        self.displaced = 0
        self.milliseconds = 0
        self._latest: int | None = None

    @classmethod
    def of(cls, times: Iterable[int | None]) -> "EventOrder":
        """Return the order of times; those of None are left out."""
        order = cls()
        for time in times:
            if time is not None:
                order.add(time)
        return order

    @classmethod
    def sum(cls, parts: Iterable["EventOrder"]) -> "EventOrder":
        """Return the order of events that are in several parts, each in its own order."""
        total = cls()
        for part in parts:
            total.events += part.events
            total.displaced += part.displaced
            total.milliseconds = max(total.milliseconds, part.milliseconds)
        return total

    def add(self, time: int) -> None:
        """Add the time of the next event, in Unix milliseconds."""
        self.events += 1
        if self._latest is None or time >= self._latest:
            self._latest = time
            return
        self.displaced += 1
        self.milliseconds = max(self.milliseconds, self._latest - time)

    def __str__(self) -> str:
        if not self.displaced:
            return "the events are in order of time"
        come = "comes" if self.displaced == 1 else "come"
        return (
            f"{counted(self.displaced, 'event')} of {self.events:,} {come} after one of a later "
            f"time, by up to {duration(self.milliseconds / 1000)}"
        )
