"""Prediction tasks: binary classification, multiclass classification and regression."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, nextafter
from typing import Any, ClassVar

from river import base

from stream_app.core.evaluation.classification_metrics import (
    BINARY_METRICS,
    CLASSIFICATION_BASELINES,
    MULTICLASS_METRICS,
    BinaryBaseline,
    BinaryMetrics,
    MulticlassBaseline,
    MulticlassMetrics,
    class_log_loss,
    log_loss,
)
from stream_app.core.evaluation.regression_metrics import (
    REGRESSION_BASELINES,
    REGRESSION_METRICS,
    RegressionBaseline,
    RegressionMetrics,
    difference,
)
from stream_app.core.evaluation.roc_auc import RocAuc
from stream_app.core.published_records import ScoredRecord
from stream_app.core.reading.label_values import NUMBER_TYPES, label_type
from stream_app.pipeline import Pipeline
from stream_app.records import Features, Fields, Score

ScoreFunction = Callable[[Features], Score]
Metrics = Mapping[str, Callable[[Any], float | None]]
Probabilities = dict[str, float]

# Scores that are kept exactly for the ROC AUC since the start, which is in every checkpoint.
_CUMULATIVE_SCORES = 10_000

_LARGEST = nextafter(inf, 0.0)

# Rounding error of a probability that is corrected.
_ROUNDING = 1e-9


class PredictionTask(ABC):
    """Kind of prediction that a pipeline makes, decided by the type of the label's field.

    A model returns a *score*; the served *prediction* follows from it.

    Attributes:
        name: name of the task, for messages.
        score_type: type of a score, for messages.
        score_range: least and greatest float that is a score; empty if scores are not floats.
        label_types: Avro types that a label may have.
        metrics: metrics by name, as functions of sums that are not empty.
        baselines: likewise, for predictions without a model.
        default_metrics: metrics of a pipeline that declares none.
    """

    name: ClassVar[str]
    score_type: ClassVar[str]
    score_range: ClassVar[tuple[float, float]]
    label_types: ClassVar[frozenset[str]]
    metrics: ClassVar[Metrics]
    baselines: ClassVar[Metrics]
    default_metrics: ClassVar[tuple[str, ...]]

    @abstractmethod
    def model_problem(self, model: Any) -> tuple[str, str] | None:
        """Return why the last step of a model does not fit, with a remedy; None if it fits."""

    @abstractmethod
    def score_function(self, model: Any) -> ScoreFunction:
        """Return a function from features to the model's score; it raises what the model raises."""

    @abstractmethod
    def valid_score(self, score: object) -> Score | None:
        """Return a score in its own type, or None if the value is not a score of this task."""

    @abstractmethod
    def is_label(self, label: object) -> bool:
        """Return True if the value is a label of this task."""

    def is_declared_label(self, label: object) -> bool:
        """Return True if the value is a label of this task that its schema allows."""
        return self.is_label(label)

    @abstractmethod
    def prediction_fields(self, score: Any) -> tuple[Any, ...]:
        """Return the values of the fields `PREDICTION_FIELDS` of a scored record."""

    @abstractmethod
    def monitored(self, scored: ScoredRecord) -> Fields:
        """Return the variables of a scored record that are monitored for drift."""

    @abstractmethod
    def loss(self, label: Any, score: Any) -> float:
        """Return the loss of a score: log loss in nats, or the absolute error of a number."""

    @abstractmethod
    def prior(self, baseline: Any) -> Score:
        """Return the score without a model: shares or mean of the labels that a baseline has seen.

        Before the first label: 0.5, the same probability for each declared class, or 0.
        """

    @abstractmethod
    def new_baseline(self) -> Any:
        """Return a baseline that has seen no label."""

    @abstractmethod
    def new_metrics(self, *, cumulative: bool = False) -> Any:
        """Return empty sums, of one window or, if cumulative, of the whole stream."""

    @abstractmethod
    def evaluate(self, baseline: Any, metrics: Any, label: Any, score: Any) -> None:
        """Count a served score and its label in the metrics, then the label in the baseline."""


@dataclass(frozen=True)
class BinaryTask(PredictionTask):
    """True or False. A score is the probability of True; scores from `decision` on predict True."""

    decision: float = 0.5

    name = "binary classification"
    score_type = "a probability"
    score_range = (0.0, 1.0)
    label_types = frozenset({"boolean"})
    metrics: ClassVar[Metrics] = BINARY_METRICS
    baselines: ClassVar[Metrics] = CLASSIFICATION_BASELINES
    default_metrics = ("log_loss", "roc_auc", "accuracy")

    def model_problem(self, model: Any) -> tuple[str, str] | None:
        return _classifier_problem(model)

    def score_function(self, model: Any) -> ScoreFunction:
        predict = model.predict_proba_one

        def score(features: Features) -> float:
            probabilities = predict(features)
            if True in probabilities:
                return _rounded(probabilities[True])
            # A model without any evidence returns no probability.
            return _rounded(1.0 - probabilities[False]) if False in probabilities else 0.5

        return score

    def valid_score(self, score: object) -> float | None:
        return _number_between(score, *self.score_range)

    def is_label(self, label: object) -> bool:
        return type(label) is bool

    def prediction_fields(self, score: float) -> tuple[Any, ...]:
        decision = self.decision
        return score >= decision, score, decision, None

    def monitored(self, scored: ScoredRecord) -> Fields:
        return {"score": scored["score"]}

    def loss(self, label: bool, score: float) -> float:
        return log_loss(label, score)

    def prior(self, baseline: BinaryBaseline) -> float:
        return baseline.positives / baseline.seen if baseline.seen else 0.5

    def new_baseline(self) -> BinaryBaseline:
        return BinaryBaseline()

    def new_metrics(self, *, cumulative: bool = False) -> BinaryMetrics:
        return BinaryMetrics(roc_auc=RocAuc(_CUMULATIVE_SCORES)) if cumulative else BinaryMetrics()

    def evaluate(
        self, baseline: BinaryBaseline, metrics: BinaryMetrics, label: bool, score: float
    ) -> None:
        metrics.update(label, score, score >= self.decision, baseline)
        baseline.update(label)


@dataclass(frozen=True)
class MulticlassTask(PredictionTask):
    """One of several classes. A score maps each class that the model knows to its probability.

    Attributes:
        classes: classes that the schema declares, none if it allows any text.
    """

    classes: tuple[str, ...] = ()

    name = "multi-class classification"
    score_type = "a mapping of class to probability"
    score_range = (1.0, 0.0)
    label_types = frozenset({"string", "enum"})
    metrics: ClassVar[Metrics] = MULTICLASS_METRICS
    baselines: ClassVar[Metrics] = CLASSIFICATION_BASELINES
    default_metrics = ("log_loss", "accuracy", "macro_f1")

    def model_problem(self, model: Any) -> tuple[str, str] | None:
        if found := _classifier_problem(model):
            return found
        remedy = (
            "Wrap it in river.multiclass.OneVsRestClassifier, or choose another one; if the label "
            'has only two values, add positive="yes", negative="no" to Label'
        )
        return None if model._multiclass else ("which tells only two classes apart", remedy)

    def score_function(self, model: Any) -> ScoreFunction:
        predict = model.predict_proba_one
        return lambda features: {
            name: _rounded(probability) for name, probability in predict(features).items()
        }

    def valid_score(self, score: object) -> Probabilities | None:
        if not isinstance(score, Mapping):
            return None
        valid = all(
            isinstance(name, str) and _number_between(p, 0.0, 1.0) is not None
            for name, p in score.items()
        )
        return {name: float(probability) for name, probability in score.items()} if valid else None

    def is_label(self, label: object) -> bool:
        return type(label) is str

    def is_declared_label(self, label: object) -> bool:
        return type(label) is str and (not self.classes or label in self.classes)

    def prediction_fields(self, score: Probabilities) -> tuple[Any, ...]:
        predicted = _likeliest(score)
        return predicted, 0.0 if predicted is None else score[predicted], None, score

    def monitored(self, scored: ScoredRecord) -> Fields:
        if scored["prediction"] is None:
            return {"score": scored["score"]}
        return {"score": scored["score"], "prediction": scored["prediction"]}

    def loss(self, label: str, score: Probabilities) -> float:
        return class_log_loss(score.get(label, 0.0))

    def prior(self, baseline: MulticlassBaseline) -> Probabilities:
        if baseline.seen:
            return {name: count / baseline.seen for name, count in baseline.counts.items()}
        return {name: 1.0 / len(self.classes) for name in self.classes}

    def new_baseline(self) -> MulticlassBaseline:
        return MulticlassBaseline()

    def new_metrics(self, *, cumulative: bool = False) -> MulticlassMetrics:
        return MulticlassMetrics()

    def evaluate(
        self,
        baseline: MulticlassBaseline,
        metrics: MulticlassMetrics,
        label: str,
        score: Probabilities,
    ) -> None:
        metrics.update(label, score.get(label, 0.0), _likeliest(score), baseline)
        baseline.update(label)


@dataclass(frozen=True)
class RegressionTask(PredictionTask):
    """A number, which is both score and prediction."""

    name = "regression"
    score_type = "a finite number"
    score_range = (-_LARGEST, _LARGEST)
    label_types = NUMBER_TYPES
    metrics: ClassVar[Metrics] = REGRESSION_METRICS
    baselines: ClassVar[Metrics] = REGRESSION_BASELINES
    default_metrics = ("mae", "rmse", "r2")

    def model_problem(self, model: Any) -> tuple[str, str] | None:
        if isinstance(model, base.Regressor):
            return None
        if isinstance(model, base.Classifier):
            return (
                "a classifier, but the label's field is a number",
                "Add positive=1 to Label if 1 and 0 mean true and false, declare the field of "
                'several classes as "string", or end the model with a regressor',
            )
        return (
            "no regressor",
            "End it with a regressor of River, or declare another type for the label's field",
        )

    def score_function(self, model: Any) -> ScoreFunction:
        predict = model.predict_one
        return lambda features: float(predict(features))

    def valid_score(self, score: object) -> float | None:
        return _number_between(score, *self.score_range)

    def is_label(self, label: object) -> bool:
        return self.valid_score(label) is not None

    def prediction_fields(self, score: float) -> tuple[Any, ...]:
        return score, score, None, None

    def monitored(self, scored: ScoredRecord) -> Fields:
        return {"score": scored["score"]}

    def loss(self, label: float, score: float) -> float:
        return abs(difference(label, score))

    def prior(self, baseline: RegressionBaseline) -> float:
        return baseline.mean

    def new_baseline(self) -> RegressionBaseline:
        return RegressionBaseline()

    def new_metrics(self, *, cumulative: bool = False) -> RegressionMetrics:
        return RegressionMetrics()

    def evaluate(
        self, baseline: RegressionBaseline, metrics: RegressionMetrics, label: float, score: float
    ) -> None:
        metrics.update(label, score, baseline)
        baseline.update(label)


TASKS = (BinaryTask, MulticlassTask, RegressionTask)

# Avro types that a label may have.
LABEL_TYPES = frozenset[str]().union(*(task.label_types for task in TASKS))


def task_of(pipeline: Pipeline) -> PredictionTask:
    """Return the task of a loaded pipeline, by `positive` and the type of its label's field."""
    kind, classes = label_type(pipeline.label)
    if kind in BinaryTask.label_types or pipeline.label.positive is not None:
        return BinaryTask(pipeline.thresholds.decision)
    # Any other type is a string or an enum, perhaps with a name of its own.
    return RegressionTask() if kind in RegressionTask.label_types else MulticlassTask(classes)


def _classifier_problem(model: Any) -> tuple[str, str] | None:
    if not isinstance(model, base.Classifier):
        if isinstance(model, base.Regressor):
            return (
                "a regressor, but the label is no number",
                'End it with a classifier of River, or declare the field of the label as "double" '
                "and no positive",
            )
        return "no classifier", "End it with a classifier of River"
    if type(model).predict_proba_one is base.Classifier.predict_proba_one:
        return "which gives no probabilities", "Choose a classifier with predict_proba_one"
    return None


def _likeliest(probabilities: Probabilities) -> str | None:
    """Return the class with the largest probability, the first of equals, as in River.

    None if the model knows no class.
    """
    return max(probabilities, key=probabilities.__getitem__) if probabilities else None


def _number_between(value: object, least: float, greatest: float) -> float | None:
    """Return a number as a float, or None for anything else, however large an integer is."""
    if isinstance(value, float) or type(value) is int:
        return float(value) if least <= value <= greatest else None
    return None


def _rounded(probability: float) -> float:
    """Remove rounding errors beyond [0, 1]; larger errors stay, for the scorer to reject."""
    if 0.0 <= probability <= 1.0:
        return float(probability)
    nearest = 0.0 if probability < 0.0 else 1.0
    return nearest if abs(probability - nearest) < _ROUNDING else float(probability)
