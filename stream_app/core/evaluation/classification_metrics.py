"""Metrics of binary and multiclass predictions, and the baselines that they are compared with.

Only sums and counts are kept; the metrics are computed from them when a window closes. River's
incremental metrics give the same values, but cannot be merged, which windows need, and take
three times as long per example (7.6 against 2.5 µs).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from river import metrics

from stream_app.core.evaluation.roc_auc import RocAuc
from stream_app.core.slots_state import SlotsState

# Probabilities are clamped to this distance from 0 and 1, as by River's LogLoss, so that the loss
# of a certain but wrong prediction is finite.
_CLAMP = 1e-15


def log_loss(label: bool, probability: float) -> float:
    """Return the loss of a probability of True, in nats."""
    clamped = min(max(probability, _CLAMP), 1.0 - _CLAMP)
    return -math.log(clamped if label else 1.0 - clamped)


def class_log_loss(probability: float) -> float:
    """Return the loss of the probability given to the class that came true, in nats."""
    return -math.log(min(max(probability, _CLAMP), 1.0 - _CLAMP))


@dataclass(slots=True)
class BinaryBaseline(SlotsState):
    """Predictions without a model, from the labels so far.

    Attributes:
        seen: number of labels.
        positives: number of labels that are True.
        last: last label, None before the first.
    """

    seen: int = 0
    positives: int = 0
    last: bool | None = None

    def update(self, label: bool) -> None:
        """Count a label."""
        self.seen += 1
        self.positives += label
        self.last = label


@dataclass(slots=True)
class MulticlassBaseline(SlotsState):
    """Predictions without a model, from the labels so far.

    Attributes:
        seen: number of labels.
        counts: number of labels by class.
        majority: most frequent class, None before the first label.
        last: last label, None before the first.
    """

    seen: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    majority: str | None = None
    last: str | None = None

    def update(self, label: str) -> None:
        """Count a label."""
        self.seen += 1
        count = self.counts[label] = self.counts.get(label, 0) + 1
        if self.majority is None or count > self.counts[self.majority]:
            self.majority = label
        self.last = label


@dataclass(slots=True)
class ClassificationMetrics(SlotsState):
    """Sums that binary and multiclass metrics have in common, of one window or the whole stream.

    Attributes:
        n: number of labelled predictions.
        log_loss: sum of the losses of the model, in nats.
        squared_log_loss: sum of their squares.
        majority_correct: number of labels that the majority so far predicts.
        no_change_correct: number of labels that the last label predicts.
        prior_log_loss: sum of the losses of predicting the shares of the labels so far, in nats.
    """

    n: int = 0
    log_loss: float = 0.0
    squared_log_loss: float = 0.0
    majority_correct: int = 0
    no_change_correct: int = 0
    prior_log_loss: float = 0.0

    def merge(self, other: Self) -> None:
        """Add everything that `other` has counted."""
        for one in fields(ClassificationMetrics):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass(slots=True)
class BinaryMetrics(ClassificationMetrics):
    """Sums over labelled predictions of True or False.

    Attributes:
        squared_error, fourth_error: sums of powers of the distance of label and score.
    """

    positives: int = 0
    predicted_positives: int = 0
    true_positives: int = 0
    squared_error: float = 0.0
    fourth_error: float = 0.0
    roc_auc: RocAuc = field(default_factory=RocAuc)

    def update(self, label: bool, score: float, predicted: bool, baseline: BinaryBaseline) -> None:
        """Count a prediction.

        Args:
            label: what came true.
            score: served probability of True.
            predicted: served prediction.
            baseline: labels before this one.
        """
        # Laplace's rule of succession; never 0 or 1, so its loss needs no clamping.
        prior = (baseline.positives + 1.0) / (baseline.seen + 2.0)
        self.n += 1
        self.positives += label
        self.predicted_positives += predicted
        self.true_positives += label and predicted
        loss, error = log_loss(label, score), (score - label) ** 2
        self.log_loss += loss
        self.squared_log_loss += loss * loss
        self.squared_error += error
        self.fourth_error += error * error
        self.majority_correct += (baseline.positives * 2 > baseline.seen) is label
        self.no_change_correct += baseline.last is label
        self.prior_log_loss -= math.log(prior if label else 1.0 - prior)
        self.roc_auc.add(label, score)

    def merge(self, other: Self) -> None:
        """Add everything that `other` has counted."""
        ClassificationMetrics.merge(self, other)
        self.positives += other.positives
        self.predicted_positives += other.predicted_positives
        self.true_positives += other.true_positives
        self.squared_error += other.squared_error
        self.fourth_error += other.fourth_error
        self.roc_auc.merge(other.roc_auc)


@dataclass(slots=True)
class MulticlassMetrics(ClassificationMetrics):
    """Sums over labelled predictions of one class among several.

    Attributes:
        confusion: counts by label and prediction; the prediction of a model that knows no class is
            None, because any text may be a class.
    """

    confusion: dict[tuple[str, str | None], int] = field(default_factory=dict)

    def update(
        self, label: str, probability: float, predicted: str | None, baseline: MulticlassBaseline
    ) -> None:
        """Count a prediction.

        Args:
            label: class that came true.
            probability: served probability of that class.
            predicted: served prediction.
            baseline: labels before this one.
        """
        # Laplace's rule of succession, with one more class than have been seen.
        count = baseline.counts.get(label, 0)
        prior = (count + 1.0) / (baseline.seen + len(baseline.counts) + 1.0)
        self.n += 1
        self._count((label, predicted), 1)
        loss = class_log_loss(probability)
        self.log_loss += loss
        self.squared_log_loss += loss * loss
        self.majority_correct += baseline.majority == label
        self.no_change_correct += baseline.last == label
        self.prior_log_loss += class_log_loss(prior)

    def merge(self, other: Self) -> None:
        """Add everything that `other` has counted."""
        ClassificationMetrics.merge(self, other)
        for pair, count in other.confusion.items():
            self._count(pair, count)

    def _count(self, pair: tuple[str, str | None], count: int) -> None:
        self.confusion[pair] = self.confusion.get(pair, 0) + count


# The annotations are quoted: evaluating one would import River's metrics.
def _river_matrix(counts: Mapping[tuple[Any, Any], int]) -> "metrics.ConfusionMatrix":
    """Return counts by label and prediction as the confusion matrix of River's metrics."""
    matrix = metrics.ConfusionMatrix()
    for (label, predicted), count in counts.items():
        if count:
            matrix.update(label, predicted, w=count)
    return matrix


def _binary_matrix(sums: BinaryMetrics) -> "metrics.ConfusionMatrix":
    false_negatives = sums.positives - sums.true_positives
    false_positives = sums.predicted_positives - sums.true_positives
    counts = {
        (True, True): sums.true_positives,
        (True, False): false_negatives,
        (False, True): false_positives,
    }
    counts[False, False] = sums.n - sum(counts.values())
    return _river_matrix(counts)


def _precision(sums: BinaryMetrics) -> float | None:
    """Return the share of predicted positives that came true; None without any of the two."""
    if not sums.positives or not sums.predicted_positives:
        return None
    return float(metrics.Precision(_binary_matrix(sums)).get())


def _recall(sums: BinaryMetrics) -> float | None:
    """Return the share of positives that were predicted; None without a positive label."""
    return float(metrics.Recall(_binary_matrix(sums)).get()) if sums.positives else None


def _binary_f1(sums: BinaryMetrics) -> float | None:
    return float(metrics.F1(_binary_matrix(sums)).get()) if sums.positives else None


def _binary_kappa(sums: BinaryMetrics) -> float | None:
    if not 0 < sums.positives < sums.n:
        return None
    return float(metrics.CohenKappa(_binary_matrix(sums)).get())


def _multiclass_kappa(sums: MulticlassMetrics) -> float | None:
    if len({label for label, _ in sums.confusion}) < 2:
        return None
    return float(metrics.CohenKappa(_river_matrix(sums.confusion)).get())


def _binary_accuracy(sums: BinaryMetrics) -> float:
    return float(metrics.Accuracy(_binary_matrix(sums)).get())


def _multiclass_accuracy(sums: MulticlassMetrics) -> float:
    counts = sums.confusion.items()
    return sum(count for (label, predicted), count in counts if label == predicted) / sums.n


def _kappa_temporal(accuracy: float, sums: ClassificationMetrics) -> float | None:
    """Return the accuracy above that of repeating the last label; None if that is always right.

    Źliobaitė et al. (2015), "Evaluation methods and decision theory for classification of streaming
    data with temporal dependence", Machine Learning 98. Accuracy alone misleads where labels come
    in runs.
    """
    no_change = sums.no_change_correct / sums.n
    return None if no_change == 1.0 else (accuracy - no_change) / (1.0 - no_change)


def _macro_f1(sums: MulticlassMetrics) -> float:
    """Return the mean F1 score of the classes that came true or were predicted.

    The F1 score is the harmonic mean of precision and recall.
    """
    correct: dict[str | None, int] = {}
    total: dict[str | None, int] = {}
    for (label, predicted), count in sums.confusion.items():
        for name in (label, predicted):
            total[name] = total.get(name, 0) + count
        if label == predicted:
            correct[label] = count
    total.pop(None, None)
    return sum(2 * correct.get(name, 0) / count for name, count in total.items()) / len(total)


BINARY_METRICS: dict[str, Callable[[BinaryMetrics], float | None]] = {
    "log_loss": lambda sums: sums.log_loss / sums.n,
    "roc_auc": lambda sums: sums.roc_auc.auc(),
    "accuracy": _binary_accuracy,
    "precision": _precision,
    "recall": _recall,
    "f1": _binary_f1,
    # Brier (1950), "Verification of forecasts expressed in terms of probability", Monthly Weather
    # Review 78.
    "brier": lambda sums: sums.squared_error / sums.n,
    # Cohen (1960), "A coefficient of agreement for nominal scales".
    "kappa": _binary_kappa,
    "kappa_temporal": lambda sums: _kappa_temporal(_binary_accuracy(sums), sums),
}
"""Metrics by name, of sums that are not empty.

A metric is None where it is undefined: where it would divide by zero, or where the labels alone fix
its value, so that it says nothing about the model. Without a positive label these are precision,
recall and F1; with labels of one kind only, the kappa and the ROC AUC.
"""

MULTICLASS_METRICS: dict[str, Callable[[MulticlassMetrics], float | None]] = {
    "log_loss": lambda sums: sums.log_loss / sums.n,
    "accuracy": _multiclass_accuracy,
    "macro_f1": _macro_f1,
    # Cohen (1960), "A coefficient of agreement for nominal scales".
    "kappa": _multiclass_kappa,
    "kappa_temporal": lambda sums: _kappa_temporal(_multiclass_accuracy(sums), sums),
}
"""Metrics by name, of sums that are not empty; None where undefined. A class that the model did not
know has the probability 0, which costs 34.5 nats."""

CLASSIFICATION_BASELINES: dict[str, Callable[[ClassificationMetrics], float | None]] = {
    "majority_accuracy": lambda sums: sums.majority_correct / sums.n,
    "no_change_accuracy": lambda sums: sums.no_change_correct / sums.n,
    "prior_log_loss": lambda sums: sums.prior_log_loss / sums.n,
}
"""Metrics without a model: the majority so far, the last label, the shares so far."""
