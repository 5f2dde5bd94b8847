"""Replaying history no faster than the model learns from it."""

from collections import deque


class RateLimiter:
    """Lets an event pass only if every label that was known `limit` milliseconds of event time before it is learned.

    In real time a model lags behind the labels by seconds; a replay at twenty thousand times that speed would let it
    lag by weeks.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._unlearned: deque[tuple[int, str]] = (
            deque()
        )  # label time and event id, in the order sent
        self._learned: set[str] = set()

    def sent(self, label_time: int, event_id: str) -> None:
        """A label is on its way to the learner."""
        self._unlearned.append((label_time, event_id))

    def learned(self, event_id: str) -> None:
        """The published model knows this event's label."""
        self._learned.add(event_id)

    def allows(self, event_time: int) -> bool:
        """Whether a record of this time may be sent now."""
        unlearned = self._unlearned
        while unlearned and unlearned[0][1] in self._learned:
            self._learned.discard(unlearned.popleft()[1])
        return not unlearned or event_time <= unlearned[0][0] + self._limit
