"""Medians, ratios of rounds, and the targets that they are held against: plain arithmetic."""

from collections.abc import Sequence
from math import ceil
from statistics import median
from typing import NamedTuple

CORES_TO_ONE_WORKER = 2.0
"""A worker's interpreter takes one core, its clients' threads less than another: more is a fault of the measurement."""


class Target(NamedTuple):
    """What a figure should be: at least `limit`, or at most."""

    name: str
    limit: float
    unit: str = ""
    at_least: bool = False

    def met_by(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


TARGETS = (
    Target("events/s, ours / transactional", 1.0, at_least=True),
    Target("events/s, ours / bare", 0.6, at_least=True),
    Target("events/s, ours / faust", 20, at_least=True),
    Target("events/s, ours / quix", 2.5, at_least=True),
    Target("events/s, 16 partitions / 1 partition", 0.8, at_least=True),
    Target("events/s, 2 workers / 1 worker, to the bare loop's own factor", 0.95, at_least=True),
    Target("memory of a worker with 4 partitions", 250, "MB"),
    Target("latency at 1,000/s, p99", 200, "ms"),
    Target("latency at 1,000/s, 20 ms interval, p99", 60, "ms"),
    Target("latency at 5,000/s, p99", 250, "ms"),
    Target("examples/s, learner / bare River loop, through Kafka", 0.8, at_least=True),
    Target("examples/s, learner / bare River loop, core", 0.8, at_least=True),
    Target("recovery after kill -9", 5, "s"),
)

Figures = dict[str, list[float]]
"""Values of each round, by name; those of targets by the target's."""


class Spread(NamedTuple):
    """A median and the range around it."""

    middle: float
    low: float
    high: float

    def text(self, digits: int = 0) -> str:
        """As `12,345 (11,000 to 13,000)`; one value alone has no range."""
        middle, low, high = (f"{value:,.{digits}f}" for value in self)
        return middle if low == high else f"{middle} ({low} to {high})"


def spread(values: Sequence[float]) -> Spread:
    """Of one or more values."""
    return Spread(median(values), min(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round, so that what slows a whole round down leaves them alone."""
    return [one / other for one, other in zip(ours, theirs, strict=False) if other]


LEAST = {"bytewax": 1.4, "quix": 3.0}
"""How many times as fast as these the bare loop is at least."""


def distortions(rates: Figures) -> list[str]:
    """Why a race is worth nothing, by what is known of the contenders: the machine was busy with something else."""
    wrong = []
    for name, least in LEAST.items():
        if rates.get("bare") and rates.get(name):
            factor = median(ratios(rates["bare"], rates[name]))
            if factor < least:
                wrong.append(
                    f"the bare loop is only {factor:.2f} times as fast as {name}, and should be {least}"
                )
    return wrong


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * share) - 1)]
