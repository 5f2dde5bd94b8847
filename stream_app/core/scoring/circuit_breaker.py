"""The circuit breaker over the outcomes of one partition's events."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, NamedTuple

from stream_app.error_codes import ERROR_CODES, ErrorClass
from stream_app.resilience import Breaker

_MILLISECOND = timedelta(milliseconds=1)
_LARGEST_PROBE = 10_000


class IndexedFailure(NamedTuple):
    """An event that failed: its place among those processed together, and the code."""

    at: int
    code: str


class CircuitBreaker:
    """Closed while events pass, open while none is to be read, half-open while a few are tried.

    Times are epoch milliseconds of the clock on the wall; should that be set back, a pause ends early.
    """

    def __init__(self, limits: Breaker) -> None:
        self.state: Literal["closed", "open", "half-open"] = "closed"
        self.cause = ""  # the commonest code of the failures that opened it
        self.opened_at = 0
        self._limits = limits
        self._streak = 0  # failures since the last event that passed
        self._pause = self._first_pause = limits.pause // _MILLISECOND
        self._until = 0
        self._probe = limits.probe
        self._left = 0  # events of the probe still to come
        self._forget()

    def allowed(self, now: int) -> int | None:
        """How many events may be processed now; None if there is no limit."""
        if self.state == "closed":
            return None
        if self.state == "open" and not now < self._until <= now + self._pause:
            self.state, self._left = "half-open", self._probe
            self._forget()
        return self._left if self.state == "half-open" else 0

    def note(self, count: int, failed: Sequence[IndexedFailure], now: int) -> None:
        """Of `count` events, processed in order, these failed."""
        self._seen += count
        self._codes.update(failure.code for failure in failed)
        if self.state == "half-open":
            self._left -= count
            if self._left <= 0:
                self._judge_probe(now)
        elif self._is_too_much(count, failed):
            self.opened_at = now
            self._open(now)
        elif self._seen >= self._limits.window:
            self._forget()

    def _is_too_much(self, count: int, failed: Sequence[IndexedFailure]) -> bool:
        longest = self._longest_streak(count, failed)
        return (
            longest >= self._limits.consecutive
            or self._codes.total() >= self._limits.ratio * self._limits.window
        )

    def _longest_streak(self, count: int, failed: Sequence[IndexedFailure]) -> int:
        longest, after = 0, 0  # index after the last failure
        for failure in failed:
            if failure.at != after:
                self._streak = 0
            self._streak += 1
            after = failure.at + 1
            longest = max(longest, self._streak)
        if after != count:
            self._streak = 0
        return longest

    def _judge_probe(self, now: int) -> None:
        if self._codes.total() >= self._limits.ratio * self._seen:
            if ERROR_CODES[self._commonest()].error_class is ErrorClass.CONTRACT:
                self._probe = min(self._probe * 4, _LARGEST_PROBE)
            else:
                self._pause = min(self._pause * 2, self._limits.max_pause // _MILLISECOND)
            self._open(now)
            return
        self.state, self._streak, self._pause, self._probe = (
            "closed",
            0,
            self._first_pause,
            self._limits.probe,
        )
        self._forget()

    def _open(self, now: int) -> None:
        self.state, self.cause = "open", self._commonest()
        self._until = now + self._pause

    def _commonest(self) -> str:
        return self._codes.most_common(1)[0][0]

    def _forget(self) -> None:
        self._seen = 0
        self._codes = Counter[str]()
