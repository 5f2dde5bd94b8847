"""The tasks, and which of them a pipeline has."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

from river import base

from stream_app.core.evaluation.binary_metrics import (
    BASELINES,
    METRICS,
    BinaryBaseline,
    BinaryMetrics,
    log_loss,
    loss_of,
)
from stream_app.core.evaluation.multiclass_metrics import (
    CLASS_BASELINES,
    CLASS_METRICS,
    NO_CLASS,
    MulticlassBaseline,
    MulticlassMetrics,
)
from stream_app.core.evaluation.prediction_task import Ask, Metrics, PredictionTask
from stream_app.core.evaluation.regression_metrics import (
    VALUE_BASELINES,
    VALUE_METRICS,
    RegressionBaseline,
    RegressionMetrics,
    apart,
)
from stream_app.core.evaluation.roc_auc import RocAuc
from stream_app.pipeline import Pipeline, parsed
from stream_app.records import Features, Fields

_CUMULATIVE_SCORES = (
    10_000  # kept exactly for the ROC AUC since the start, which is in every checkpoint
)
_ROUNDING = 1e-9

Probabilities = dict[str, float]


@dataclass(frozen=True)
class BinaryTask(PredictionTask):
    """True or false. A score is the probability of true; from `decision` on the prediction is true."""

    decision: float = 0.5

    name = "binary classification"
    answer = "a probability"
    labels = frozenset({"boolean"})
    metrics: ClassVar[Metrics] = METRICS
    baselines: ClassVar[Metrics] = BASELINES
    usual = ("log_loss", "roc_auc", "accuracy")

    def refusal(self, model: Any) -> tuple[str, str] | None:
        return _no_classifier(model)

    def asking(self, model: Any) -> Ask:
        predict = model.predict_proba_one

        def ask(features: Features) -> float:
            probabilities = predict(features)
            if True in probabilities:
                return _rounded(probabilities[True])
            return (
                _rounded(1.0 - probabilities[False]) if False in probabilities else 0.5
            )  # without any evidence

        return ask

    def checked(self, score: object) -> float | None:
        number = (
            isinstance(score, float) or type(score) is int
        )  # in place, for it is done with every event
        return float(score) if number and 0.0 <= score <= 1.0 else None  # type: ignore[arg-type,operator]  # a number

    def takes(self, label: object) -> bool:
        return type(label) is bool

    def shown(self, score: float) -> tuple[Any, ...]:
        decision = self.decision
        return score >= decision, score, decision, None

    def watched(self, scored: Mapping[str, Any]) -> Fields:
        return {"score": scored["score"]}

    def loss(self, label: bool, score: float) -> float:
        return log_loss(label, score)

    def known(self) -> BinaryBaseline:
        return BinaryBaseline()

    def card(self, *, cumulative: bool = False) -> BinaryMetrics:
        return BinaryMetrics(ranks=RocAuc(_CUMULATIVE_SCORES)) if cumulative else BinaryMetrics()

    def judge(self, known: BinaryBaseline, card: BinaryMetrics, label: bool, score: float) -> None:
        card.add(known.judge(label, score, score >= self.decision))

    def error(self, known: BinaryBaseline, label: bool, score: float) -> float:
        return (score >= self.decision) is not label


@dataclass(frozen=True)
class MulticlassTask(PredictionTask):
    """One of several classes. A score has the probability of each class that the model knows; the largest decides."""

    name = "multi-class classification"
    answer = "a mapping of class to probability"
    labels = frozenset({"string", "enum"})
    metrics: ClassVar[Metrics] = CLASS_METRICS
    baselines: ClassVar[Metrics] = CLASS_BASELINES
    usual = ("log_loss", "accuracy", "macro_f1")

    def refusal(self, model: Any) -> tuple[str, str] | None:
        if found := _no_classifier(model):
            return found
        remedy = "Wrap it in river.multiclass.OneVsRestClassifier, or choose another one"
        return None if model._multiclass else ("which tells only two classes apart", remedy)

    def asking(self, model: Any) -> Ask:
        predict = model.predict_proba_one
        return lambda features: {
            name: _rounded(probability) for name, probability in predict(features).items()
        }

    def checked(self, score: object) -> Probabilities | None:
        if not isinstance(score, Mapping):
            return None
        right = all(
            isinstance(name, str) and _is_number(p) and 0.0 <= p <= 1.0 for name, p in score.items()
        )
        return {name: float(probability) for name, probability in score.items()} if right else None

    def takes(self, label: object) -> bool:
        return type(label) is str

    def shown(self, score: Probabilities) -> tuple[Any, ...]:
        decided = _likeliest(score)
        return decided, score.get(decided, 0.0), None, score

    def watched(self, scored: Mapping[str, Any]) -> Fields:
        return {"score": scored["score"], "prediction": scored["prediction"]}

    def loss(self, label: str, score: Probabilities) -> float:
        return loss_of(score.get(label, 0.0))

    def known(self) -> MulticlassBaseline:
        return MulticlassBaseline()

    def card(self, *, cumulative: bool = False) -> MulticlassMetrics:
        return MulticlassMetrics()

    def judge(
        self, known: MulticlassBaseline, card: MulticlassMetrics, label: str, score: Probabilities
    ) -> None:
        card.add(known.judge(label, score, _likeliest(score)))

    def error(self, known: MulticlassBaseline, label: str, score: Probabilities) -> float:
        return _likeliest(score) != label


@dataclass(frozen=True)
class RegressionTask(PredictionTask):
    """A number, which is the score."""

    name = "regression"
    answer = "a finite number"
    labels = frozenset({"int", "long", "float", "double"})
    metrics: ClassVar[Metrics] = VALUE_METRICS
    baselines: ClassVar[Metrics] = VALUE_BASELINES
    usual = ("mae", "rmse", "r2")
    alarm = "scaled_error"

    def refusal(self, model: Any) -> tuple[str, str] | None:
        if isinstance(model, base.Regressor):
            return None
        return (
            "no regressor",
            "End it with a regressor of River, or declare another type for the label's field",
        )

    def asking(self, model: Any) -> Ask:
        predict = model.predict_one
        return lambda features: float(predict(features))

    def checked(self, score: object) -> float | None:
        return float(score) if _is_number(score) and isfinite(score) else None  # type: ignore[arg-type]  # likewise

    def takes(self, label: object) -> bool:
        return self.checked(label) is not None

    def shown(self, score: float) -> tuple[Any, ...]:
        return score, score, None, None

    def watched(self, scored: Mapping[str, Any]) -> Fields:
        return {"score": scored["score"]}

    def loss(self, label: float, score: float) -> float:
        return abs(apart(label, score))

    def known(self) -> RegressionBaseline:
        return RegressionBaseline()

    def card(self, *, cumulative: bool = False) -> RegressionMetrics:
        return RegressionMetrics()

    def judge(
        self, known: RegressionBaseline, card: RegressionMetrics, label: float, score: float
    ) -> None:
        card.add(known.judge(label, score))

    def error(self, known: RegressionBaseline, label: float, score: float) -> float:
        return known.scaled(label, score)


TASKS = (BinaryTask, MulticlassTask, RegressionTask)
LABEL_TYPES = frozenset[str]().union(*(task.labels for task in TASKS))
"""Avro types that a label may have."""


def task_of(pipeline: Pipeline) -> PredictionTask:
    """That of a loaded pipeline."""
    label = pipeline.label
    kind = next(
        field["type"] for field in parsed(label.schema)["fields"] if field["name"] == label.field
    )
    while not isinstance(kind, str):
        kind = kind["type"] if isinstance(kind, Mapping) else kind[0]
    if kind in BinaryTask.labels:
        return BinaryTask(pipeline.thresholds.decision)
    return (
        RegressionTask() if kind in RegressionTask.labels else MulticlassTask()
    )  # a string or an enum, perhaps of a name of its own


def _no_classifier(model: Any) -> tuple[str, str] | None:
    if not isinstance(model, base.Classifier):
        return "no classifier", "End it with a classifier of River"
    if type(model).predict_proba_one is base.Classifier.predict_proba_one:
        return "which gives no probabilities", "Choose a classifier with predict_proba_one"
    return None


def _likeliest(probabilities: Probabilities) -> str:
    """The class that River would predict: of equals the first."""
    return max(probabilities, key=probabilities.__getitem__) if probabilities else NO_CLASS


def _is_number(value: object) -> bool:
    return isinstance(value, float) or type(value) is int


def _rounded(probability: float) -> float:
    """Takes rounding errors beyond [0, 1] away; what is further out is left for the scorer to refuse."""
    if 0.0 <= probability <= 1.0:
        return float(probability)
    nearest = 0.0 if probability < 0.0 else 1.0
    return nearest if abs(probability - nearest) < _ROUNDING else float(probability)
