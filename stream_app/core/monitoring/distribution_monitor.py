"""Monitors the distributions of variables per window, against a fixed and a trailing reference."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from stream_app.core.monitoring.drift import StabilityIndex, stability

# Value of a variable that a record does not have.
MISSING = object()

# Categories with a bin of their own.
MAX_CATEGORIES = 20

# Records that a reference needs.
REFERENCE_MIN = 500
# Values that a reference sample keeps, of one variable and of all variables together.
REFERENCE_MAX = 2000
MAX_SAMPLED_VALUES = 20_000

# Records that a window needs to be compared.
WINDOW_MIN = 100

_DECILES = [i / 10 for i in range(1, 10)]


@dataclass(slots=True)
class ReferenceSample:
    """Evenly thinned sample of the values of one variable.

    Every stride-th value is kept; the stride doubles when the sample is full.

    Attributes:
        limit: largest number of values.
        values: sampled values; categories are strings.
        stride: distance of the sampled values.
        seen: number of values offered.
    """

    limit: int
    values: list[float | str] = field(default_factory=list)
    stride: int = 1
    seen: int = 0

    def add(self, value: float | bool | str) -> None:
        """Offer a value; strings and booleans are categories."""
        if self.seen % self.stride == 0:
            self.values.append(_category(value) if isinstance(value, bool | str) else value)
            if len(self.values) > self.limit:
                self.values = self.values[::2]
                self.stride *= 2
        self.seen += 1


@dataclass(slots=True)
class Bins:
    """Bins of one variable, made from a reference sample; later values are only counted.

    The last bin takes missing values and values of another type.

    Attributes:
        edges: distinct deciles of a numeric sample; bin i has edges[i - 1] < value <= edges[i].
        categories: bins of the most frequent categories; the next bin takes all others.
        counts: counts of the reference sample.
    """

    edges: list[float]
    categories: dict[str, int]
    counts: list[int]

    @classmethod
    def of(cls, sample: ReferenceSample, offered: int) -> "Bins":
        """Return the bins for a sample of a variable that could have been in `offered` records."""
        numbers = [value for value in sample.values if not isinstance(value, str)]
        if len(numbers) * 2 > len(sample.values):
            # Imported when it is needed: numpy costs a command 0.1 s of CPU.
            import numpy as np

            edges = np.unique(np.quantile(numbers, _DECILES, method="inverted_cdf")).tolist()
            bins = cls(edges, {}, [0] * (len(edges) + 2))
        else:
            bins = cls([], _most_frequent(sample), [])
            bins.counts = [0] * (len(bins.categories) + 2)
        for value in sample.values:
            bins.counts[bins.index(value)] += 1
        bins.counts[-1] += round((offered - sample.seen) * len(sample.values) / max(sample.seen, 1))
        return bins

    def index(self, value: Any) -> int:
        """Return the bin of a value, which may be `MISSING`."""
        if value is MISSING:
            return len(self.counts) - 1
        if self.categories:
            return self.categories.get(_category(value), len(self.categories))
        return len(self.counts) - 1 if isinstance(value, str) else bisect_left(self.edges, value)

    def to_state(self) -> dict[str, Any]:
        """Return JSON data."""
        return {"edges": self.edges, "categories": self.categories, "counts": self.counts}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Bins":
        """Return the bins of `to_state`."""
        return cls(state["edges"], state["categories"], state["counts"])


class DriftFinding(NamedTuple):
    """Comparison of one variable of a window with a reference."""

    name: str
    reference: Literal["fixed", "trailing"]
    n: int
    stability: StabilityIndex


class DistributionMonitor:
    """Monitors variables that come together, such as the features of a record.

    Records are a reference sample until a window closes with at least 500 of them. Then the
    reference is fixed for good, and later records are counted per window. The trailing reference is
    the last window that was large enough.

    Args:
        significance: probability of a false alarm per comparison.
    """

    def __init__(self, significance: float) -> None:
        self._significance = significance
        self._offered = 0
        self._samples: dict[str, ReferenceSample] = {}
        self._bins: dict[str, Bins] = {}
        self._windows: dict[int, dict[str, list[int]]] = {}
        self._trailing: dict[str, list[int]] = {}

    def add(self, window: int, variables: Mapping[str, Any]) -> None:
        """Count a record of the window that starts at `window`."""
        if not self._bins:
            self._sample(variables)
            return
        counts = self._windows.get(window)
        if counts is None:
            counts = self._windows[window] = {
                name: [0] * len(bins.counts) for name, bins in self._bins.items()
            }
        for name, bins in self._bins.items():
            counts[name][bins.index(variables.get(name, MISSING))] += 1

    def close(self, window: int) -> list[DriftFinding]:
        """Compare and forget a complete window, or make the reference if there is none yet."""
        counts = self._windows.pop(window, None)
        if counts is None:
            if not self._bins and self._offered >= REFERENCE_MIN:
                self._bins = {
                    name: Bins.of(sample, self._offered) for name, sample in self._samples.items()
                }
                self._samples = {}
            return []
        if sum(next(iter(counts.values()))) < WINDOW_MIN:
            return []
        findings = [finding for name in counts for finding in self._compare(name, counts[name])]
        self._trailing = counts
        return findings

    def to_state(self) -> dict[str, Any]:
        """Return JSON data."""
        return {
            "offered": self._offered,
            "samples": {
                name: [s.limit, s.values, s.stride, s.seen] for name, s in self._samples.items()
            },
            "bins": {name: bins.to_state() for name, bins in self._bins.items()},
            "windows": {str(window): counts for window, counts in self._windows.items()},
            "trailing": self._trailing,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], significance: float) -> "DistributionMonitor":
        """Return the monitor of `to_state`."""
        monitor = cls(significance)
        monitor._offered = state["offered"]
        monitor._samples = {
            name: ReferenceSample(*values) for name, values in state["samples"].items()
        }
        monitor._bins = {name: Bins.from_state(bins) for name, bins in state["bins"].items()}
        monitor._windows = {int(window): counts for window, counts in state["windows"].items()}
        monitor._trailing = state["trailing"]
        return monitor

    def _sample(self, variables: Mapping[str, Any]) -> None:
        self._offered += 1
        for name, value in variables.items():
            sample = self._samples.get(name)
            if sample is None:
                sample = self._samples[name] = ReferenceSample(
                    min(REFERENCE_MAX, MAX_SAMPLED_VALUES // len(variables))
                )
            sample.add(value)

    def _compare(self, name: str, counts: list[int]) -> list[DriftFinding]:
        n = sum(counts)
        fixed = stability(self._bins[name].counts, counts, self._significance)
        findings = [DriftFinding(name, "fixed", n, fixed)]
        if name in self._trailing:
            trailing = stability(self._trailing[name], counts, self._significance)
            findings.append(DriftFinding(name, "trailing", n, trailing))
        return findings


def _category(value: object) -> str:
    return value if isinstance(value, str) else str(value).lower()


def _most_frequent(sample: ReferenceSample) -> dict[str, int]:
    """Return the most frequent categories, in alphabetical order if equally frequent."""
    counts: dict[str, int] = {}
    for value in sample.values:
        counts[_category(value)] = counts.get(_category(value), 0) + 1
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    return {name: index for index, name in enumerate(ranked[:MAX_CATEGORIES])}
