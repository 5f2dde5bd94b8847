"""Intervals of metrics contain the true value as often as they say, if labels are independent."""

import random
from collections.abc import Callable
from statistics import NormalDist, fmean, stdev

import pytest

from stream_app.core.evaluation.classification_metrics import (
    BINARY_METRICS,
    MULTICLASS_METRICS,
    BinaryBaseline,
    BinaryMetrics,
    MulticlassBaseline,
    MulticlassMetrics,
    log_loss,
)
from stream_app.core.evaluation.intervals import (
    INTERVALS,
    auc_interval,
    intervals_of,
    mean_interval,
    share_interval,
)
from stream_app.core.evaluation.prediction_tasks import TASKS
from stream_app.core.evaluation.regression_metrics import RegressionBaseline, RegressionMetrics

N = 300
WINDOWS = 400
Prediction = tuple[bool, float]


def sums_of(predictions: list[Prediction]) -> BinaryMetrics:
    sums, baseline = BinaryMetrics(), BinaryBaseline()
    for label, score in predictions:
        sums.update(label, score, score >= 0.5, baseline)
        baseline.update(label)
    return sums


def predictions(chance: random.Random, n: int = N) -> list[Prediction]:
    """Return labels that come true with the served probability."""
    scores = [chance.betavariate(2, 3) for _ in range(n)]
    return [(chance.random() < score, score) for score in scores]


def values_of(sums: BinaryMetrics) -> dict[str, float]:
    found = {name: function(sums) for name, function in BINARY_METRICS.items()}
    return {name: value for name, value in found.items() if value is not None}


def test_intervals_contain_the_true_value_in_about_95_percent_of_windows() -> None:
    chance = random.Random(5)
    truth = values_of(sums_of(predictions(chance, 40_000)))
    inside = dict.fromkeys(INTERVALS[BinaryMetrics], 0)
    for _ in range(WINDOWS):
        sums = sums_of(predictions(chance))
        for name, (low, high) in intervals_of(sums, values_of(sums)).items():
            inside[name] += low <= truth[name] <= high
    for name, count in inside.items():
        assert 0.91 <= count / WINDOWS <= 0.985, (name, count)


def test_the_interval_of_a_mean_is_that_of_its_values() -> None:
    found = predictions(random.Random(1))
    sums = sums_of(found)
    values: dict[str, Callable[[bool, float], float]] = {
        "log_loss": log_loss,
        "brier": lambda label, score: (score - label) ** 2,
    }
    for name, function in values.items():
        losses = [function(*one) for one in found]
        half = NormalDist().inv_cdf(0.975) * stdev(losses) / N**0.5
        expected = pytest.approx((fmean(losses) - half, fmean(losses) + half))
        assert intervals_of(sums, values_of(sums))[name] == expected


def test_the_interval_of_the_absolute_error_is_that_of_its_values() -> None:
    chance, sums, baseline = random.Random(2), RegressionMetrics(), RegressionBaseline()
    errors = [chance.gauss(0, 3) for _ in range(N)]
    for error in errors:
        sums.update(10 + error, 10.0, baseline)
    sizes = [abs(error) for error in errors]
    half = NormalDist().inv_cdf(0.975) * stdev(sizes) / N**0.5
    found = intervals_of(sums, {"mae": fmean(sizes), "rmse": 3.0})
    assert found == {"mae": pytest.approx((fmean(sizes) - half, fmean(sizes) + half))}


def test_merged_sums_have_the_interval_of_all_predictions() -> None:
    found = predictions(random.Random(3))
    first, second, both = sums_of(found[:100]), sums_of(found[100:]), sums_of(found)
    first.merge(second)
    assert first.squared_log_loss == pytest.approx(both.squared_log_loss)
    assert first.fourth_error == pytest.approx(both.fourth_error)


def test_classes_have_the_intervals_of_log_loss_and_accuracy() -> None:
    sums, baseline = MulticlassMetrics(), MulticlassBaseline()
    for number in range(60):
        sums.update("abc"[number % 3], 0.2 + 0.2 * (number % 4), "a", baseline)
    values = {name: function(sums) or 0.0 for name, function in MULTICLASS_METRICS.items()}
    found = intervals_of(sums, values)
    assert found.keys() == {"log_loss", "accuracy"}
    assert all(found[name].low < values[name] < found[name].high for name in found)


def test_few_labels_have_wide_intervals_or_none() -> None:
    assert mean_interval(0.3, 0.09, 1) is None
    assert share_interval(0.0, 0) is None
    assert auc_interval(1.0, 3, 3) is None
    found = intervals_of(sums_of([(True, 0.7)]), {"log_loss": 0.36, "accuracy": 1.0})
    assert found == {"accuracy": pytest.approx((0.2065, 1.0), abs=1e-4)}


def test_every_interval_is_of_a_metric_of_its_task() -> None:
    for task in TASKS:
        assert INTERVALS[type(task().new_metrics())].keys() <= task.metrics.keys()
