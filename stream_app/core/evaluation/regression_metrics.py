"""Sums over labelled predictions of a number, and the metrics that follow from them."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

_LARGEST = 1e150  # the largest difference that counts as it is, so that its square is a number


def apart(label: float, value: float) -> float:
    """By how much the label is above the value."""
    return min(max(label - value, -_LARGEST), _LARGEST)


class RegressionOutcome(NamedTuple):
    """A label, and how far it is above what was served, the mean of the labels before, and the last one."""

    label: float
    served: float
    mean: float
    no_change: float


@dataclass(slots=True)
class RegressionBaseline:
    """What the labels so far say about the next one, without a model: 0 before the first, as in River.

    `typical` is the mean absolute error of predicting the mean of the labels so far.
    """

    seen: int = 0
    mean: float = 0.0
    last: float = 0.0
    typical: float = 0.0

    def judge(self, label: float, value: float) -> RegressionOutcome:
        """A served prediction, its label and what the baselines would have said; then they know the label."""
        off = apart(label, self.mean)
        outcome = RegressionOutcome(label, apart(label, value), off, apart(label, self.last))
        self.seen += 1
        self.mean += off / self.seen
        self.typical += (abs(off) - self.typical) / self.seen
        self.last = label
        return outcome

    def scaled(self, label: float, value: float) -> float:
        """The absolute error e as e / (e + typical): 0 is exact, 0.5 is as bad as no model, 1 is infinitely bad.

        So errors of any unit are from 0 to 1, as ADWIN needs them, and a single large one is no drift.
        """
        error = abs(apart(label, value))
        return error / (error + self.typical) if error else 0.0


@dataclass(slots=True)
class RegressionMetrics:
    """What one window, or the whole stream, adds up to; `center` and `spread` are the mean of the labels and the sum of
    their squared distances from it.
    """

    n: int = 0
    absolute: float = 0.0
    squared: float = 0.0
    mean_absolute: float = 0.0
    mean_squared: float = 0.0
    no_change_absolute: float = 0.0
    center: float = 0.0
    spread: float = 0.0

    def add(self, outcome: RegressionOutcome) -> None:
        """Count one outcome; Welford (1962), "Note on a method for calculating corrected sums of squares"."""
        label, served, mean, no_change = outcome
        self.n += 1
        self.absolute += abs(served)
        self.squared += served * served
        self.mean_absolute += abs(mean)
        self.mean_squared += mean * mean
        self.no_change_absolute += abs(no_change)
        off = apart(label, self.center)
        self.center += off / self.n
        self.spread += off * apart(label, self.center)

    def merge(self, other: "RegressionMetrics") -> None:
        """Count everything that `other` has counted; Chan, Golub, LeVeque (1979), "Updating formulae"."""
        if other.n == 0:
            return
        off, before = apart(other.center, self.center), self.n
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.center += off * other.n / self.n
        self.spread += off * off * before * other.n / self.n


_SUMS = tuple(name for name in RegressionMetrics.__dataclass_fields__ if name != "center")

ValueMetric = Callable[[RegressionMetrics], float | None]

VALUE_METRICS: dict[str, ValueMetric] = {
    "mae": lambda card: card.absolute / card.n,
    "rmse": lambda card: sqrt(card.squared / card.n),
    # The share of the labels' variance that is explained; of no use to tell labels that are all the same.
    "r2": lambda card: 1.0 - card.squared / card.spread if card.spread else None,
}
"""Metrics by name, of a card that is not empty; None where undefined."""

VALUE_BASELINES: dict[str, ValueMetric] = {
    "mean_mae": lambda card: card.mean_absolute / card.n,
    "mean_rmse": lambda card: sqrt(card.mean_squared / card.n),
    "no_change_mae": lambda card: card.no_change_absolute / card.n,
}
"""What no model at all achieves: the mean of the labels so far, the last label."""
