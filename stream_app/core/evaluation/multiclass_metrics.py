"""Sums over labelled predictions of one class among several, and the metrics that follow from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from river import metrics

from stream_app.core.evaluation.binary_metrics import confusion, kappa_temporal, loss_of

NO_CLASS = ""
"""The decision of a model that knows no class yet."""

Probabilities = Mapping[str, float]


class MulticlassOutcome(NamedTuple):
    """A served prediction with its label, and what the baselines would have said.

    `probability` and `prior` are of the class that came true. `majority` and `last` are None before the first label.
    """

    label: str
    decided: str
    probability: float
    prior: float
    majority: str | None
    last: str | None


@dataclass(slots=True)
class MulticlassBaseline:
    """What the labels so far say about the next one, without a model."""

    seen: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    majority: str | None = None
    last: str | None = None

    def judge(self, label: str, probabilities: Probabilities, decided: str) -> MulticlassOutcome:
        """A served prediction, its label and what the baselines would have said; then they know the label.

        Laplace's rule of succession, with one more class than have been seen.
        """
        count = self.counts.get(label, 0)
        prior = (count + 1.0) / (self.seen + len(self.counts) + 1.0)
        outcome = MulticlassOutcome(
            label, decided, probabilities.get(label, 0.0), prior, self.majority, self.last
        )
        self.seen += 1
        self.counts[label] = count + 1
        if self.majority is None or count + 1 > self.counts[self.majority]:
            self.majority = label
        self.last = label
        return outcome


@dataclass(slots=True)
class MulticlassMetrics:
    """What one window, or the whole stream, adds up to; `decided` counts by label and decision."""

    n: int = 0
    decided: dict[tuple[str, str], int] = field(default_factory=dict)
    log_loss: float = 0.0
    majority_right: int = 0
    no_change_right: int = 0
    prior_log_loss: float = 0.0

    def add(self, outcome: MulticlassOutcome) -> None:
        """Count one outcome."""
        label, decided, probability, prior, majority, last = outcome
        self.n += 1
        self._count((label, decided), 1)
        self.log_loss += loss_of(probability)
        self.majority_right += majority == label
        self.no_change_right += last == label
        self.prior_log_loss += loss_of(prior)

    def merge(self, other: "MulticlassMetrics") -> None:
        """Count everything that `other` has counted."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for pair, count in other.decided.items():
            self._count(pair, count)

    def _count(self, pair: tuple[str, str], count: int) -> None:
        self.decided[pair] = self.decided.get(pair, 0) + count


_SUMS = tuple(name for name in MulticlassMetrics.__dataclass_fields__ if name != "decided")


def accuracy(card: MulticlassMetrics) -> float:
    """Share of right decisions."""
    return (
        sum(count for (label, decided), count in card.decided.items() if label == decided) / card.n
    )


def macro_f1(card: MulticlassMetrics) -> float:
    """Mean over the classes that came or were decided for of each one's F1 score, the harmonic mean of precision and
    recall.
    """
    right: dict[str, int] = {}
    all_of: dict[str, int] = {}
    for (label, decided), count in card.decided.items():
        for name in (label, decided):
            all_of[name] = all_of.get(name, 0) + count
        if label == decided:
            right[label] = count
    all_of.pop(NO_CLASS, None)
    return sum(2 * right.get(name, 0) / count for name, count in all_of.items()) / len(all_of)


ClassMetric = Callable[[MulticlassMetrics], float | None]

CLASS_METRICS: dict[str, ClassMetric] = {
    "log_loss": lambda card: card.log_loss / card.n,
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    # Cohen (1960), "A coefficient of agreement for nominal scales".
    "kappa": lambda card: float(metrics.CohenKappa(confusion(card.decided)).get()),
    "kappa_temporal": lambda card: kappa_temporal(accuracy(card), card.no_change_right / card.n),
}
"""Metrics by name, of a card that is not empty; None where undefined. A class that the model did not know has had the
probability 0, which costs 34.5 nats.
"""

CLASS_BASELINES: dict[str, ClassMetric] = {
    "majority_accuracy": lambda card: card.majority_right / card.n,
    "no_change_accuracy": lambda card: card.no_change_right / card.n,
    "prior_log_loss": lambda card: card.prior_log_loss / card.n,
}
"""What no model at all achieves: the majority so far, the last label, the shares of the classes so far."""
