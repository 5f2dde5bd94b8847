"""Histograms that compare: bins come from a reference sample, later values are only counted."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MISSING = object()
TOP = 20  # categories that have a bin of their own
_DECILES = [i / 10 for i in range(1, 10)]


@dataclass(slots=True)
class ReferenceSample:
    """Values of one variable, thinned evenly to at most `limit`: every stride-th, the stride doubling when it is full.

    `seen` counts all values offered.
    """

    limit: int
    values: list[float | str] = field(default_factory=list)
    stride: int = 1
    seen: int = 0

    def add(self, value: float | bool | str) -> None:
        """Offer a value; strings and booleans are categories."""
        if self.seen % self.stride == 0:
            self.values.append(_text(value) if isinstance(value, bool | str) else value)
            if len(self.values) > self.limit:
                self.values = self.values[::2]
                self.stride *= 2
        self.seen += 1


@dataclass(slots=True)
class Bins:
    """The bins of one variable, with the counts of its reference sample; the last bin takes missing and odd values.

    Numbers: `edges` are the distinct deciles of the sample, bin i has edges[i - 1] < value <= edges[i]. Otherwise
    `categories` has the bins of the commonest values, and one more is for all others.
    """

    edges: list[float]
    categories: dict[str, int]
    counts: list[int]

    @classmethod
    def of(cls, sample: ReferenceSample, offered: int) -> "Bins":
        """Bins for a sample of a variable that could have been in `offered` records."""
        numbers = [value for value in sample.values if not isinstance(value, str)]
        if len(numbers) * 2 > len(sample.values):
            edges = np.unique(np.quantile(numbers, _DECILES, method="inverted_cdf")).tolist()
            bins = cls(edges, {}, [0] * (len(edges) + 2))
        else:
            bins = cls([], _commonest(sample), [])
            bins.counts = [0] * (len(bins.categories) + 2)
        for value in sample.values:
            bins.counts[bins.index(value)] += 1
        bins.counts[-1] += round((offered - sample.seen) * len(sample.values) / max(sample.seen, 1))
        return bins

    def index(self, value: Any) -> int:
        """The bin of a value; `MISSING` is one."""
        if value is MISSING:
            return len(self.counts) - 1
        if self.categories:
            return self.categories.get(_text(value), len(self.categories))
        return len(self.counts) - 1 if isinstance(value, str) else bisect_left(self.edges, value)

    def to_state(self) -> dict[str, Any]:
        """As JSON."""
        return {"edges": self.edges, "categories": self.categories, "counts": self.counts}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Bins":
        """From `to_state`."""
        return cls(state["edges"], state["categories"], state["counts"])


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value).lower()


def _commonest(sample: ReferenceSample) -> dict[str, int]:
    """The most frequent categories; of equals the one that is first in the alphabet."""
    counts: dict[str, int] = {}
    for value in sample.values:
        counts[_text(value)] = counts.get(_text(value), 0) + 1
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    return {name: index for index, name in enumerate(ranked[:TOP])}
