"""Circuit breaker over the outcomes of one partition's events."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, NamedTuple

from stream_app.error_codes import ERROR_CODES, ErrorClass
from stream_app.resilience import Breaker

_MILLISECOND = timedelta(milliseconds=1)
_MAX_PROBE = 10_000  # events


class IndexedFailure(NamedTuple):
    """A failed event: its position among the events processed together, and the error code."""

    position: int
    code: str


class CircuitBreaker:
    """Closed while events succeed, open while none may be processed, half-open during a probe.

    Times are Unix milliseconds of the wall clock. If the clock is set back, a pause ends early.

    Args:
        limits: declared limits.

    Attributes:
        state: state of the breaker.
        cause: most frequent error code of the failures that opened it, "" before.
        opened_at: time at which it opened last; a failed probe does not count.
    """

    def __init__(self, limits: Breaker) -> None:
        self.state: Literal["closed", "open", "half-open"] = "closed"
        self.cause = ""
        self.opened_at = 0
        self._limits = limits
        self._streak = 0  # consecutive failures
        self._pause = self._first_pause = limits.pause // _MILLISECOND
        self._until = 0
        self._probe = limits.probe
        self._probe_left = 0  # events of the probe that are still to come
        self._start_window()

    def allowed(self, now: int) -> int | None:
        """Return the number of events that may be processed now, or None without a limit."""
        if self.state == "closed":
            return None
        if self.state == "open" and not now < self._until <= now + self._pause:
            self.state, self._probe_left = "half-open", self._probe
            self._start_window()
        return self._probe_left if self.state == "half-open" else 0

    def update(self, count: int, failures: Sequence[IndexedFailure], now: int) -> None:
        """Count processed events.

        Args:
            count: number of events, processed in order.
            failures: failures among them, in the order of their positions.
            now: wall-clock time in Unix milliseconds.
        """
        self._seen += count
        if failures:
            self._codes.update([failure.code for failure in failures])
        if self.state == "half-open":
            self._probe_left -= count
            if self._probe_left <= 0:
                self._finish_probe(now)
        elif self._must_open(count, failures):
            self.opened_at = now
            self._open(now)
        elif self._seen >= self._limits.window:
            self._start_window()

    def _must_open(self, count: int, failures: Sequence[IndexedFailure]) -> bool:
        longest = self._longest_streak(count, failures)
        return (
            longest >= self._limits.consecutive
            or self._codes.total() >= self._limits.ratio * self._limits.window
        )

    def _longest_streak(self, count: int, failures: Sequence[IndexedFailure]) -> int:
        longest, after = 0, 0  # index after the last failure
        for failure in failures:
            if failure.position != after:
                self._streak = 0
            self._streak += 1
            after = failure.position + 1
            longest = max(longest, self._streak)
        if after != count:
            self._streak = 0
        return longest

    def _finish_probe(self, now: int) -> None:
        if self._codes.total() >= self._limits.ratio * self._seen:
            if ERROR_CODES[self._most_frequent()].error_class is ErrorClass.CONTRACT:
                self._probe = min(self._probe * 4, _MAX_PROBE)
            else:
                self._pause = min(self._pause * 2, self._limits.max_pause // _MILLISECOND)
            self._open(now)
            return
        self.state, self._streak = "closed", 0
        self._pause, self._probe = self._first_pause, self._limits.probe
        self._start_window()

    def _open(self, now: int) -> None:
        self.state, self.cause = "open", self._most_frequent()
        self._until = now + self._pause

    def _most_frequent(self) -> str:
        return self._codes.most_common(1)[0][0]

    def _start_window(self) -> None:
        self._seen = 0
        self._codes = Counter[str]()
