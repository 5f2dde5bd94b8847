"""Sums over labelled predictions of yes or no, and the metrics that follow from them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from river import metrics

from stream_app.core.evaluation.roc_auc import RocAuc

_SMALLEST = (
    1e-15  # as River's LogLoss, which keeps the loss of a certain but wrong prediction finite
)


class BinaryOutcome(NamedTuple):
    """A served prediction with its label, and what the baselines would have said.

    `score` and `prior` are probabilities of True; `decided`, `majority` and `last` are predictions. `last` is None
    before the first label.
    """

    label: bool
    score: float
    decided: bool
    prior: float
    majority: bool
    last: bool | None


@dataclass(slots=True)
class BinaryBaseline:
    """What the labels so far say about the next one, without a model."""

    seen: int = 0
    positives: int = 0
    last: bool | None = None

    def judge(self, label: bool, score: float, decided: bool) -> BinaryOutcome:
        """A served prediction, its label and what the baselines would have said; then they know the label."""
        prior = (self.positives + 1.0) / (self.seen + 2.0)  # Laplace's rule of succession
        outcome = BinaryOutcome(
            label, score, decided, prior, self.positives * 2 > self.seen, self.last
        )
        self.seen += 1
        self.positives += label
        self.last = label
        return outcome


def loss_of(probability: float) -> float:
    """Negative logarithm of the probability given to what happened (nats)."""
    return -math.log(min(max(probability, _SMALLEST), 1.0 - _SMALLEST))


def log_loss(label: bool, probability: float) -> float:
    """Loss of a probability of True (nats)."""
    clamped = min(max(probability, _SMALLEST), 1.0 - _SMALLEST)
    return -math.log(clamped if label else 1.0 - clamped)


@dataclass(slots=True)
class BinaryMetrics:
    """What one window, or the whole stream, adds up to."""

    n: int = 0
    positives: int = 0
    decided: int = 0
    true_positives: int = 0
    log_loss: float = 0.0
    squared_error: float = 0.0
    majority_right: int = 0
    no_change_right: int = 0
    prior_log_loss: float = 0.0
    ranks: RocAuc = field(default_factory=RocAuc)

    def add(self, outcome: BinaryOutcome) -> None:
        """Count one outcome."""
        label, score, decided, prior, majority, last = outcome
        self.n += 1
        self.positives += label
        self.decided += decided
        self.true_positives += label and decided
        self.log_loss += log_loss(label, score)
        self.squared_error += (score - label) ** 2
        self.majority_right += majority is label
        self.no_change_right += last is label
        self.prior_log_loss += log_loss(label, prior)
        self.ranks.add(label, score)

    def merge(self, other: "BinaryMetrics") -> None:
        """Count everything that `other` has counted."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.ranks.merge(other.ranks)


_SUMS = tuple(name for name in BinaryMetrics.__dataclass_fields__ if name != "ranks")


def _confusion(card: BinaryMetrics) -> metrics.ConfusionMatrix:
    missed = card.positives - card.true_positives
    wrong = card.decided - card.true_positives
    counts = {(True, True): card.true_positives, (True, False): missed, (False, True): wrong}
    counts[False, False] = card.n - sum(counts.values())
    return confusion(counts)


def confusion(counts: Mapping[tuple[Any, Any], int]) -> metrics.ConfusionMatrix:
    """River's confusion matrix with these counts by label and decision, so that its metrics apply."""
    matrix = metrics.ConfusionMatrix()
    for (label, decided), count in counts.items():
        if count:
            matrix.update(label, decided, w=count)
    return matrix


def accuracy(card: BinaryMetrics) -> float:
    """Share of right decisions."""
    return float(metrics.Accuracy(_confusion(card)).get())


def kappa_temporal(accuracy: float, no_change: float) -> float | None:
    """Accuracy above that of repeating the last label, `no_change`; None if repeating is always right.

    Źliobaitė et al. (2015), "Evaluation methods and decision theory for classification of streaming data with temporal
    dependence", Machine Learning 98. Accuracy alone misleads where labels come in runs.
    """
    return None if no_change == 1.0 else (accuracy - no_change) / (1.0 - no_change)


Metric = Callable[[BinaryMetrics], float | None]

METRICS: dict[str, Metric] = {
    "log_loss": lambda card: card.log_loss / card.n,
    "roc_auc": lambda card: card.ranks.auc(),
    "accuracy": accuracy,
    "precision": lambda card: float(metrics.Precision(_confusion(card)).get()),
    "recall": lambda card: float(metrics.Recall(_confusion(card)).get()),
    "f1": lambda card: float(metrics.F1(_confusion(card)).get()),
    # Brier (1950), "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78.
    "brier": lambda card: card.squared_error / card.n,
    # Cohen (1960), "A coefficient of agreement for nominal scales".
    "kappa": lambda card: float(metrics.CohenKappa(_confusion(card)).get()),
    "kappa_temporal": lambda card: kappa_temporal(accuracy(card), card.no_change_right / card.n),
}
"""Metrics by name, of a card that is not empty; None where undefined."""

BASELINES: dict[str, Metric] = {
    "majority_accuracy": lambda card: card.majority_right / card.n,
    "no_change_accuracy": lambda card: card.no_change_right / card.n,
    "prior_log_loss": lambda card: card.prior_log_loss / card.n,
}
"""What no model at all achieves: the majority so far, the last label, the share of positives so far."""
