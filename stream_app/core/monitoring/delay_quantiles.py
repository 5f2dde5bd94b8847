"""Quantiles of durations in bounded memory."""

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

# Ratio of neighbouring bin edges, for a relative error of 2 %.
_RATIO = 1.02 / 0.98


class DelayQuantiles:
    """Sketch of durations in milliseconds: quantiles are within 2 %, the maximum is exact.

    Quantiles of up to `exact` different durations are exact too.

    Masson, Rim, Lee (2019), "DDSketch: a fast and fully-mergeable quantile sketch with
    relative-error guarantees".

    >>> delays = DelayQuantiles()
    >>> for minutes in range(1, 101):
    ...     delays.add(minutes * 60_000)
    >>> 49 < delays.quantile(0.5) / 60_000 < 51, delays.largest / 60_000
    (True, 100.0)

    Args:
        exact: number of different durations that are kept as they are; the state has none of them.

    Attributes:
        n: number of durations.
        largest: largest duration in milliseconds.
    """

    __slots__ = ("_bins", "_exact", "_log", "_values", "largest", "n")

    def __init__(self, exact: int = 0) -> None:
        self.n = 0
        self.largest = 0
        self._exact = exact
        self._values: dict[int, int] = {}
        self._bins: dict[int, int] = {}
        self._log = math.log(_RATIO)

    def add(self, milliseconds: int) -> None:
        """Add a duration; less than one millisecond counts as one."""
        index = math.ceil(math.log(max(milliseconds, 1)) / self._log)
        self._bins[index] = self._bins.get(index, 0) + 1
        self.n += 1
        self.largest = max(self.largest, milliseconds)
        if self._exact:
            self._values[milliseconds] = self._values.get(milliseconds, 0) + 1
            if len(self._values) > self._exact:
                self._exact = 0
                self._values.clear()

    def merge(self, other: "DelayQuantiles") -> None:
        """Add the durations of another sketch; they are not exact any more."""
        self._exact = 0
        self._values.clear()
        self.n += other.n
        self.largest = max(self.largest, other.largest)
        for index, count in other._bins.items():
            self._bins[index] = self._bins.get(index, 0) + count

    def quantile(self, share: float) -> float:
        """Return the duration in milliseconds that this share does not exceed; 0 without any."""
        if not self.n:
            return 0.0
        rank = share * (self.n - 1)
        if self._values:
            return float(_value_at(rank, self._values))
        return 2 * _RATIO ** _value_at(rank, self._bins) / (_RATIO + 1)

    def summary(self) -> dict[str, float]:
        """Return median, 95th percentile and maximum in milliseconds."""
        return {"p50": self.quantile(0.5), "p95": self.quantile(0.95), "max": float(self.largest)}

    def to_state(self) -> dict[str, Any]:
        """Return JSON data."""
        return {
            "largest": self.largest,
            "bins": {str(index): count for index, count in self._bins.items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "DelayQuantiles":
        """Return the sketch of `to_state`."""
        delays = cls()
        delays.largest = state["largest"]
        delays._bins = {int(index): count for index, count in state["bins"].items()}
        delays.n = sum(delays._bins.values())
        return delays


def _value_at(rank: float, counts: Mapping[int, int]) -> int:
    """Return the value at a rank, from 0, of values with their counts; there is at least one."""
    values = sorted(counts)
    seen = accumulate(counts[value] for value in values)
    return next(value for value, number in zip(values, seen, strict=True) if number > rank)
