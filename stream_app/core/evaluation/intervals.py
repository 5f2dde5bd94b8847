"""Confidence intervals of the metrics of a window, as if its labels were independent of each other.

They take the metric that was computed, and the sums that it was computed from.
"""

from collections.abc import Callable
from math import sqrt
from typing import Any

from stream_app.core.evaluation.classification_metrics import (
    BinaryMetrics,
    ClassificationMetrics,
    MulticlassMetrics,
)
from stream_app.core.evaluation.regression_metrics import RegressionMetrics
from stream_app.core.published_records import ValueInterval

IntervalFunction = Callable[[float, Any], ValueInterval | None]

# Quantile of the normal distribution for 95 %.
_Z = 1.959964


def mean_interval(mean: float, squares: float, n: int) -> ValueInterval | None:
    """Return the interval of the mean of values that are not negative, None for fewer than two.

    Normal approximation with the variance of the sample.

    Args:
        mean: mean of the values.
        squares: sum of their squares.
        n: their number.

    >>> [round(bound, 4) for bound in mean_interval(0.5, 50.0, 100)]
    [0.4015, 0.5985]
    """
    if n < 2:
        return None
    variance = max(0.0, squares / n - mean * mean) * n / (n - 1)
    half = _Z * sqrt(variance / n)
    return ValueInterval(max(0.0, mean - half), mean + half)


def share_interval(share: float, n: int) -> ValueInterval | None:
    """Return the interval of a share of `n`, None if that is 0.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference", Journal
    of the American Statistical Association 22.

    >>> [round(bound, 4) for bound in share_interval(0.9, 10)]
    [0.5958, 0.9821]
    >>> [round(bound, 4) for bound in share_interval(1.0, 10)]
    [0.7225, 1.0]
    """
    if n < 1:
        return None
    z2 = _Z * _Z / n
    middle, half = share + z2 / 2, _Z * sqrt(share * (1 - share) / n + z2 / (4 * n))
    return ValueInterval(max(0.0, (middle - half) / (1 + z2)), min(1.0, (middle + half) / (1 + z2)))


def auc_interval(auc: float, positives: int, negatives: int) -> ValueInterval | None:
    """Return the interval of a ROC AUC; None if it is 0 or 1, where the formula knows no error.

    Hanley and McNeil (1982), "The meaning and use of the area under a receiver operating
    characteristic curve", Radiology 143.

    >>> [round(bound, 4) for bound in auc_interval(0.8, 50, 50)]
    [0.7128, 0.8872]
    """
    if not 0.0 < auc < 1.0:
        return None
    square = auc * auc
    positive, negative = auc / (2 - auc), 2 * square / (1 + auc)
    variance = (
        auc * (1 - auc)
        + (positives - 1) * (positive - square)
        + (negatives - 1) * (negative - square)
    ) / (positives * negatives)
    half = _Z * sqrt(max(0.0, variance))
    return ValueInterval(max(0.0, auc - half), min(1.0, auc + half))


def _log_loss(value: float, sums: ClassificationMetrics) -> ValueInterval | None:
    return mean_interval(value, sums.squared_log_loss, sums.n)


def _accuracy(value: float, sums: ClassificationMetrics) -> ValueInterval | None:
    return share_interval(value, sums.n)


def _brier(value: float, sums: BinaryMetrics) -> ValueInterval | None:
    return mean_interval(value, sums.fourth_error, sums.n)


def _precision(value: float, sums: BinaryMetrics) -> ValueInterval | None:
    return share_interval(value, sums.predicted_positives)


def _recall(value: float, sums: BinaryMetrics) -> ValueInterval | None:
    return share_interval(value, sums.positives)


def _roc_auc(value: float, sums: BinaryMetrics) -> ValueInterval | None:
    return auc_interval(value, sums.positives, sums.n - sums.positives)


def _mae(value: float, sums: RegressionMetrics) -> ValueInterval | None:
    return mean_interval(value, sums.squared, sums.n)


INTERVALS: dict[type, dict[str, IntervalFunction]] = {
    BinaryMetrics: {
        "log_loss": _log_loss,
        "accuracy": _accuracy,
        "brier": _brier,
        "precision": _precision,
        "recall": _recall,
        "roc_auc": _roc_auc,
    },
    MulticlassMetrics: {"log_loss": _log_loss, "accuracy": _accuracy},
    RegressionMetrics: {"mae": _mae},
}
"""Functions by class of the sums and by metric. The other metrics (F1, macro F1, kappa, kappa
temporal, RMSE, R²) have no simple interval, and get none."""


def intervals_of(sums: Any, values: dict[str, float]) -> dict[str, ValueInterval]:
    """Return the intervals of those of the metrics that have one."""
    found: dict[str, ValueInterval] = {}
    for name, function in INTERVALS.get(type(sums), {}).items():
        if name in values:
            interval = function(values[name], sums)
            if interval is not None:
                found[name] = interval
    return found
