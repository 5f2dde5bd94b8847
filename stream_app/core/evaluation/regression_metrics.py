"""Metrics of predicted numbers, and the baselines that they are compared with.

As in `classification_metrics`, only sums are kept, which can be merged.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import sqrt

# Larger differences are clamped to this, so that the sums of their squares are finite.
_MAX_DIFFERENCE = 1e140


def difference(label: float, value: float) -> float:
    """Return label - value, clamped so that sums of its square are finite."""
    return min(max(label - value, -_MAX_DIFFERENCE), _MAX_DIFFERENCE)


@dataclass(slots=True)
class RegressionBaseline:
    """Predictions without a model, from the labels so far; 0 before the first, as in River.

    Attributes:
        seen: number of labels.
        mean: mean of the labels.
        last: last label.
    """

    seen: int = 0
    mean: float = 0.0
    last: float = 0.0

    def update(self, label: float) -> None:
        """Count a label."""
        self.seen += 1
        self.mean += difference(label, self.mean) / self.seen
        self.last = label


@dataclass(slots=True)
class RegressionMetrics:
    """Sums over labelled predictions of a number, of one window or the whole stream.

    Attributes:
        n: number of labelled predictions.
        absolute, squared: sums of the errors of the model.
        mean_absolute, mean_squared: sums of the errors of predicting the mean of the labels so far.
        no_change_absolute: sum of the errors of predicting the last label.
        label_deviation: sum of the squared distances of the labels from their mean.
        label_mean: mean of the labels.
    """

    n: int = 0
    absolute: float = 0.0
    squared: float = 0.0
    mean_absolute: float = 0.0
    mean_squared: float = 0.0
    no_change_absolute: float = 0.0
    label_deviation: float = 0.0
    label_mean: float = 0.0

    def update(self, label: float, value: float, baseline: RegressionBaseline) -> None:
        """Count a prediction.

        Welford (1962), "Note on a method for calculating corrected sums of squares".

        Args:
            label: what came true.
            value: served prediction.
            baseline: labels before this one.
        """
        error, mean_error = difference(label, value), difference(label, baseline.mean)
        self.n += 1
        self.absolute += abs(error)
        self.squared += error * error
        self.mean_absolute += abs(mean_error)
        self.mean_squared += mean_error * mean_error
        self.no_change_absolute += abs(difference(label, baseline.last))
        off = difference(label, self.label_mean)
        self.label_mean += off / self.n
        self.label_deviation += off * difference(label, self.label_mean)

    def merge(self, other: "RegressionMetrics") -> None:
        """Add everything that `other` has counted.

        Chan, Golub, LeVeque (1979), "Updating formulae and a pairwise algorithm for computing
        sample variances".
        """
        if other.n == 0:
            return
        off, before = difference(other.label_mean, self.label_mean), self.n
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.label_mean += off * other.n / self.n
        self.label_deviation += off * off * before * other.n / self.n


_SUMS = tuple(one.name for one in fields(RegressionMetrics) if one.name != "label_mean")

RegressionMetric = Callable[[RegressionMetrics], float | None]

REGRESSION_METRICS: dict[str, RegressionMetric] = {
    "mae": lambda sums: sums.absolute / sums.n,
    "rmse": lambda sums: sqrt(sums.squared / sums.n),
    # Share of the variance of the labels that is explained; undefined if they are all the same.
    "r2": lambda sums: 1.0 - sums.squared / sums.label_deviation if sums.label_deviation else None,
}
"""Metrics by name, of sums that are not empty; None where undefined."""

REGRESSION_BASELINES: dict[str, RegressionMetric] = {
    "mean_mae": lambda sums: sums.mean_absolute / sums.n,
    "mean_rmse": lambda sums: sqrt(sums.mean_squared / sums.n),
    "no_change_mae": lambda sums: sums.no_change_absolute / sums.n,
}
"""Metrics of predictions without a model: the mean of the labels so far, the last label."""
