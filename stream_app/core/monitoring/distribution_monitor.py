"""Monitors the distributions of variables per window, against a fixed and a trailing reference.

A window may be counted in parts, each with a start of its own, so that they can be looked at before
the window is complete.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from stream_app.core.monitoring.drift import stability
from stream_app.core.monitoring.hashed_sample import HashedRecord, HashedSample
from stream_app.core.monitoring.log_alignment import DAY_MS, floor_time

# Value of a variable that a record does not have.
MISSING = object()

# Categories with a bin of their own.
MAX_CATEGORIES = 20

# Records that a reference needs.
REFERENCE_MIN = 500

# Records that a window needs to be compared.
WINDOW_MIN = 100

_DECILES = [i / 10 for i in range(1, 10)]


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
    def of(cls, values: Sequence[Any]) -> "Bins":
        """Return the bins for the sampled values of a variable, which may be `MISSING`."""
        known = [value for value in values if value is not MISSING]
        numbers = [value for value in known if type(value) is float or type(value) is int]
        if len(numbers) * 2 > len(known):
            # Imported when it is needed: numpy costs a command 0.1 s of CPU.
            import numpy as np

            edges = np.unique(np.quantile(numbers, _DECILES, method="inverted_cdf")).tolist()
            bins = cls(edges, {}, [0] * (len(edges) + 2))
        else:
            bins = cls([], _most_frequent(known), [])
            bins.counts = [0] * (len(bins.categories) + 2)
        for value in values:
            bins.counts[bins.index(value)] += 1
        return bins

    def index(self, value: Any) -> int:
        """Return the bin of a value, which may be `MISSING`."""
        kind = type(value)
        if self.categories:
            if value is MISSING:
                return len(self.counts) - 1
            return self.categories.get(_category(value), len(self.categories))
        if kind is float or kind is int:
            return bisect_left(self.edges, value)
        return len(self.counts) - 1

    def to_state(self) -> dict[str, Any]:
        """Return JSON data."""
        return {"edges": self.edges, "categories": self.categories, "counts": self.counts}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Bins":
        """Return the bins of `to_state`."""
        return cls(state["edges"], state["categories"], state["counts"])


class InputCounts(NamedTuple):
    """Counts of one variable in a part of a window.

    Attributes:
        values: number of present values by bin; the bins of a variable never change.
        missing: number of records without the variable, or with a value of another type.
        unseen: number of values that are none of the frequent categories of the reference sample;
            0 for numbers.
    """

    values: Sequence[int]
    missing: int = 0
    unseen: int = 0


class DriftFinding(NamedTuple):
    """Comparison of one variable of a window with a reference."""

    name: str
    reference: Literal["fixed", "trailing"]
    n: int
    stability: float


class DistributionMonitor:
    """Monitors variables that come together, such as the features of a record.

    Records are a reference sample at first. At the first midnight at which there are at least 500
    of them, the reference is fixed for good. A day later, records begin to be counted per window;
    those in between belong to neither, because the logs may have been read in any order. The
    trailing reference is the last window that was large enough, if it had the same length.

    Attributes:
        counted_from: time from which records are counted, in Unix milliseconds; None before the
            reference is fixed.
    """

    def __init__(self) -> None:
        self.counted_from: int | None = None
        # Samples by the day that the watermark of the records' partition had reached.
        self._samples: dict[int, HashedSample] = {}
        self._bins: dict[str, Bins] = {}
        # Counts by variable, by the start of the part.
        self._parts: dict[int, dict[str, list[int]]] = {}
        self._trailing: dict[str, list[int]] = {}
        self._trailing_length = 0

    def sample(self, reached: int, record: HashedRecord) -> None:
        """Offer a record to the reference, while there is none.

        Args:
            reached: watermark that holds for the record, in Unix milliseconds.
        """
        day = floor_time(reached, DAY_MS)
        sample = self._samples.get(day)
        if sample is None:
            sample = self._samples[day] = HashedSample()
        sample.add(record)

    @property
    def parts(self) -> list[int]:
        """Starts of the parts of windows that are not complete."""
        return list(self._parts)

    def count(self, part: int, variables: Mapping[str, Any]) -> None:
        """Count a record of the part of a window that starts at `part`."""
        counts = self._parts.get(part)
        if counts is None:
            counts = self._parts[part] = {
                name: [0] * len(bins.counts) for name, bins in self._bins.items()
            }
        get = variables.get
        for name, bins in self._bins.items():
            counts[name][bins.index(get(name, MISSING))] += 1

    def pass_midnight(self, time: int) -> None:
        """Fix the reference if there are enough records from before a midnight."""
        if self.counted_from is not None or not self._samples:
            return
        before = [sample for day, sample in self._samples.items() if day < time]
        if sum(sample.seen for sample in before) < REFERENCE_MIN:
            return
        merged = HashedSample()
        for sample in before:
            merged.merge(sample)
        variables = [record.variables for record in merged.records]
        names = sorted({name for one in variables for name in one})
        self._bins = {
            name: Bins.of([one.get(name, MISSING) for one in variables]) for name in names
        }
        self._samples = {}
        self.counted_from = time + DAY_MS

    def change_windows(self, start: int) -> None:
        """Forget what was counted from a time on, where windows get another length."""
        self._parts = {one: counts for one, counts in self._parts.items() if one < start}

    def counts(self, part: int) -> dict[str, InputCounts]:
        """Return the counts of a part, by variable."""
        found = {}
        for name, counts in self._parts.get(part, {}).items():
            *values, missing = counts
            categories = self._bins[name].categories
            found[name] = InputCounts(values, missing, values[len(categories)] if categories else 0)
        return found

    def close(self, window: int, length: int) -> list[DriftFinding]:
        """Compare and forget a complete window.

        Args:
            window: start of the window in Unix milliseconds.
            length: length of the window in milliseconds.
        """
        parts = [part for part in self._parts if window <= part < window + length]
        counts = _summed([self._parts.pop(part) for part in parts])
        if not counts or sum(next(iter(counts.values()))) < WINDOW_MIN:
            return []
        if length != self._trailing_length:
            self._trailing, self._trailing_length = {}, length
        findings = [finding for name in counts for finding in self._compare(name, counts[name])]
        self._trailing = counts
        return findings

    def to_state(self) -> dict[str, Any]:
        """Return JSON data."""
        return {
            "counted_from": self.counted_from,
            "samples": {
                str(day): [sample.seen, [list(one) for one in sample.records]]
                for day, sample in self._samples.items()
            },
            "bins": {name: bins.to_state() for name, bins in self._bins.items()},
            "parts": {str(part): counts for part, counts in self._parts.items()},
            "trailing": [self._trailing_length, self._trailing],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "DistributionMonitor":
        """Return the monitor of `to_state`."""
        monitor = cls()
        monitor.counted_from = state["counted_from"]
        monitor._samples = {
            int(day): HashedSample([HashedRecord(*record) for record in records], seen)
            for day, (seen, records) in state["samples"].items()
        }
        monitor._bins = {name: Bins.from_state(bins) for name, bins in state["bins"].items()}
        monitor._parts = {int(part): counts for part, counts in state["parts"].items()}
        monitor._trailing_length, monitor._trailing = state["trailing"]
        return monitor

    def _compare(self, name: str, counts: list[int]) -> list[DriftFinding]:
        n = sum(counts)
        found = [DriftFinding(name, "fixed", n, stability(self._bins[name].counts, counts))]
        if name in self._trailing:
            found.append(DriftFinding(name, "trailing", n, stability(self._trailing[name], counts)))
        return found


def _summed(parts: Sequence[dict[str, list[int]]]) -> dict[str, list[int]]:
    """Return the sums of counts by variable; all parts have the same ones."""
    if len(parts) == 1:
        return parts[0]
    names = parts[0] if parts else ()
    return {
        name: [sum(counts) for counts in zip(*(part[name] for part in parts), strict=True)]
        for name in names
    }


def _category(value: object) -> str:
    return value if isinstance(value, str) else str(value).lower()


def _most_frequent(values: Sequence[Any]) -> dict[str, int]:
    """Return the most frequent categories, in alphabetical order if equally frequent."""
    counts = Counter(map(_category, values))
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    return {name: index for index, name in enumerate(ranked[:MAX_CATEGORIES])}
