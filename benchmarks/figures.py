"""Medians, ratios per round, and the targets of the benchmarks: plain arithmetic."""

from collections.abc import Sequence
from math import ceil
from statistics import median
from typing import NamedTuple

MAX_CORES_PER_WORKER = 2.0
"""Plausible CPU use of a worker, one core for Python and less than one for its Kafka clients.

More than that is an error of measurement.
"""


class Target(NamedTuple):
    """Bound of a figure: at least or at most `limit`."""

    name: str
    limit: float
    unit: str = ""
    at_least: bool = False

    def met_by(self, value: float) -> bool:
        """Return True if the value meets the target."""
        return value >= self.limit if self.at_least else value <= self.limit


TARGETS = (
    Target("events/s, ours / transactional", 1.2, at_least=True),
    Target("events/s, ours / tuned", 0.85, at_least=True),
    Target("events/s, ours / bytewax", 0.9, at_least=True),
    Target("events/s, ours / quix", 1.8, at_least=True),
    Target("events/s, ours / quix-exactly-once", 2.5, at_least=True),
    Target("events/s, ours / faust", 20, at_least=True),
    Target("events/s, 16 partitions / 1 partition", 0.8, at_least=True),
    Target("events/s, 2 workers / 1 worker, to the baseline's own factor", 0.95, at_least=True),
    Target("examples/s, learner / hand-written River loop, through Kafka", 0.85, at_least=True),
    Target("examples/s, learner / hand-written River loop, core", 1, at_least=True),
    Target("p99 at 1,000/s, 100 ms commits, ours / transactional", 0.6),
    Target("p99 at 1,000/s, 20 ms commits, ours / before", 0.6),
    Target("p99 at 5,000/s, 100 ms commits, ours / transactional", 1),
    Target("p99 at 1,000/s, 100 ms commits, ours", 200, "ms"),
    Target("p99 at 1,000/s, 20 ms commits, ours", 60, "ms"),
    Target("p99 at 5,000/s, 100 ms commits, ours", 250, "ms"),
    Target("memory of a worker with 200,000 pending predictions, ours / before", 0.85),
    Target("memory of a worker with 200,000 pending predictions", 250, "MB"),
    Target("worker start to ready, ours / before", 0.85),
    Target("kill -9 to all partitions served, ours / before", 0.85),
    Target("kill -9 to all partitions served", 5, "s"),
    Target("restore of a million events, 20 % joined, ours / before", 0.65),
    Target("restore of a million events, 80 % joined, ours / before", 0.9),
    Target("events/s, ingest / the scorer", 1.5, at_least=True),
)

RATIOS = (
    "events/s, ours / transactional",
    "events/s, ours / tuned",
    "events/s, ours / bytewax",
    "events/s, ours / quix",
    "events/s, ours / quix-exactly-once",
    "events/s, ours / faust",
    "events/s, ours / before",
    "CPU per event, ours / transactional",
    "CPU per event, ours / tuned",
    "CPU per event, ours / before",
    "examples/s, learner / hand-written River loop, through Kafka",
    "p99 at 1,000/s, 100 ms commits, ours / transactional",
    "p99 at 1,000/s, 100 ms commits, ours / tuned",
    "p99 at 1,000/s, 20 ms commits, ours / tuned",
    "p99 at 1,000/s, 20 ms commits, ours / before",
    "p99 at 5,000/s, 100 ms commits, ours / transactional",
    "p99 at 5,000/s, 100 ms commits, ours / tuned",
    "memory of a worker with 200,000 pending predictions, ours / before",
    "worker start to ready, ours / before",
    "kill -9 to all partitions served, ours / before",
    "events/s, ingest / the scorer",
    "CPU per event, ingest / the scorer",
    "restore of a million events, 20 % joined, ours / before",
    "restore of a million events, 80 % joined, ours / before",
)
"""Figures that a run with `--record` keeps, because ratios of two machines can be compared."""

Figures = dict[str, list[float]]
"""Values of each round by name; a target's figure has the target's name."""


class Spread(NamedTuple):
    """Median with minimum and maximum."""

    median: float
    low: float
    high: float

    def text(self, digits: int = 0) -> str:
        """Returns text such as `12,345 (11,000 to 13,000)`; a single value has no range."""
        middle, low, high = (f"{value:,.{digits}f}" for value in self)
        return middle if low == high else f"{middle} ({low} to {high})"


def spread(values: Sequence[float]) -> Spread:
    """Returns the median and range of one or more values."""
    return Spread(median(values), min(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Returns the ratio of each round, which cancels out what slows down a whole round."""
    return [one / other for one, other in zip(ours, theirs, strict=False) if other]


MIN_SPEEDUPS = {"bytewax": 1.4, "quix": 3.0}
"""Expected minimum speed of the hand-written baseline, as a multiple of these contenders' speed."""


def invalid_reasons(rates: Figures) -> list[str]:
    """Returns the reasons why a comparison is invalid, such as other load on the machine."""
    reasons = []
    for name, expected in MIN_SPEEDUPS.items():
        if rates.get("baseline") and rates.get(name):
            factor = median(ratios(rates["baseline"], rates[name]))
            if factor < expected:
                reasons.append(
                    f"the baseline is only {factor:.2f} times as fast as {name}, "
                    f"expected at least {expected}"
                )
    return reasons


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * share) - 1)]
