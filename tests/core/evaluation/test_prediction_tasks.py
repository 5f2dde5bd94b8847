"""Prediction tasks: metrics equal those of River, and scores, labels and models are checked."""

import pickle
import random
from math import inf, log, nan
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import datasets, dummy, metrics, multiclass, naive_bayes, rules, stats, tree
from river import linear_model as linear

from stream_app.core.evaluation.evaluator import Evaluator
from stream_app.core.evaluation.prediction_tasks import (
    TASKS,
    BinaryTask,
    MulticlassTask,
    PredictionTask,
    RegressionTask,
    task_of,
)
from stream_app.core.examples import Example, decode_example
from stream_app.core.monitoring.window_monitor import WindowMonitor
from stream_app.core.published_records import NO_VERSION, ScoredRecord
from stream_app.core.scoring.predictor import Degraded
from stream_app.errors import ModelError, PipelineError
from stream_app.loading import complete
from stream_app.model_store.model_loading import LoadedModel
from stream_app.model_store.pickling import dump, load
from stream_app.pipeline import Threshold, Thresholds
from stream_app.records import Failure, Score, Target
from stream_app.resilience import Fallback
from tests.core.scoring.test_predictor import Version, failing, predictor
from tests.learning import ALL_NAMES, FINGERPRINT, HOUR, measurements
from tests.small_pipeline import labelled, small_pipeline

NAMES = ["cat", "dog", "eel"]
CLASSES = st.lists(
    st.tuples(st.sampled_from(NAMES), st.fixed_dictionaries(dict.fromkeys(NAMES, st.floats(0, 1)))),
    min_size=1,
    max_size=60,
)
NUMBERS = st.lists(
    st.tuples(st.integers(-1000, 1000), st.floats(-1000, 1000)),
    min_size=2,
    max_size=60,
    unique_by=lambda pair: pair[0],
)
CLASS_METRICS = {
    "log_loss": metrics.CrossEntropy,
    "accuracy": metrics.Accuracy,
    "macro_f1": metrics.MacroF1,
    "kappa": metrics.CohenKappa,
}
VALUE_METRICS = {"mae": metrics.MAE, "rmse": metrics.RMSE, "r2": metrics.R2}


def example(label: Target, score: Score, time: int = 0) -> Example:
    return Example("e", time, time, label, score, 1, {"x": 1.0}, FINGERPRINT)


def measured(
    task: PredictionTask, served: list[tuple[Any, Any]], window: int = HOUR
) -> dict[str, float]:
    """Return the metrics of all examples, one per millisecond, in windows of `window` ms."""
    evaluator = Evaluator(window, task)
    closed = [
        found
        for time, (label, score) in enumerate(served)
        for found in evaluator.add(example(label, score, time))
    ]
    return closed[-1].total.values if closed else evaluator.metrics()


@given(served=CLASSES)
def test_multiclass_metrics_equal_those_of_river(
    served: list[tuple[str, dict[str, float]]],
) -> None:
    theirs = {name: metric() for name, metric in CLASS_METRICS.items()}
    for label, score in served:
        for name, metric in theirs.items():
            metric.update(label, score if name == "log_loss" else max(score, key=score.__getitem__))
    found = measured(MulticlassTask(), served)
    # With labels of one class, the kappa says nothing about the model.
    if len({label for label, _ in served}) == 1:
        del theirs["kappa"]
        assert "kappa" not in found
    assert {name: found[name] for name in theirs} == pytest.approx(
        {name: one.get() for name, one in theirs.items()}
    )
    added = measured(
        MulticlassTask(), [*served, served[0]], window=1
    )  # all but the last, which has closed their windows
    assert added == pytest.approx(found)


@given(served=NUMBERS)
def test_regression_metrics_equal_those_of_river(served: list[tuple[float, float]]) -> None:
    theirs = {name: metric() for name, metric in VALUE_METRICS.items()}
    for label, value in served:
        for metric in theirs.values():
            metric.update(label, value)
    found = measured(RegressionTask(), served)
    assert {name: found[name] for name in theirs} == pytest.approx(
        {name: one.get() for name, one in theirs.items()}, rel=1e-6
    )
    added = measured(RegressionTask(), [*served, served[0]], window=1)
    assert added == pytest.approx(found, rel=1e-6)


def test_an_unknown_class_has_the_loss_of_probability_0() -> None:
    found = measured(
        MulticlassTask(), [("cat", {}), ("dog", {"cat": 1.0}), ("dog", {"cat": 0.25, "dog": 0.75})]
    )
    assert found["log_loss"] == pytest.approx((2 * -log(1e-15) - log(0.75)) / 3)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["macro_f1"] == pytest.approx((0 + 2 / 3) / 2)


def test_multiclass_baselines_use_only_earlier_labels() -> None:
    found = measured(MulticlassTask(), [(label, {}) for label in ("cat", "cat", "dog", "cat")])
    assert found["majority_accuracy"] == 2 / 4  # none, cat, cat, cat
    assert found["no_change_accuracy"] == 1 / 4
    assert found["prior_log_loss"] == pytest.approx(
        -(log(1 / 1) + log(2 / 3) + log(1 / 4) + log(3 / 6)) / 4, abs=1e-12
    )


def test_regression_baselines_equal_those_of_river() -> None:
    chance = random.Random(3)
    labels = [chance.gauss(10, 4) for _ in range(200)]
    mean, theirs, last, off = (
        dummy.StatisticRegressor(stats.Mean()),
        metrics.MAE(),
        0.0,
        metrics.MAE(),
    )
    for label in labels:
        theirs.update(label, mean.predict_one({}))
        off.update(label, last)
        mean.learn_one({}, label)
        last = label
    found = measured(RegressionTask(), [(label, 0.0) for label in labels])
    assert found["mean_mae"] == pytest.approx(theirs.get())
    assert found["no_change_mae"] == pytest.approx(off.get())


def test_r2_of_labels_that_are_all_the_same_is_undefined() -> None:
    assert "r2" not in measured(RegressionTask(), [(2.0, 1.0), (2.0, 3.0)])


def test_metrics_of_huge_numbers_are_finite() -> None:
    found = measured(RegressionTask(), [(1e308, -1e308), (-1e308, 1e308), (0.0, 1.0)])
    assert all(abs(value) < inf for value in found.values())


class _Silent:
    def learn_one(self, x: Any, y: Any) -> None: ...


@pytest.mark.parametrize(
    ("avro_type", "task"),
    [
        ("boolean", BinaryTask(0.5)),
        ({"type": "boolean"}, BinaryTask(0.5)),
        ("string", MulticlassTask()),
        ({"type": "enum", "name": "Kind", "symbols": NAMES}, MulticlassTask(tuple(NAMES))),
        ("int", RegressionTask()),
        ({"type": "long"}, RegressionTask()),
        ("float", RegressionTask()),
        (["double"], RegressionTask()),
    ],
)
def test_the_type_of_the_label_decides_the_task(avro_type: Any, task: PredictionTask) -> None:
    assert task_of(small_pipeline(label=labelled(avro_type))) == task


def limit(metric: str, against: str | None = None) -> Thresholds:
    return Thresholds(metrics=(Threshold(metric=metric, limit=1.0, against=against),))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model": linear.LinearRegression}, "model() made a LinearRegression, a regressor, but"),
        (
            {"metrics": ("roc_auc",)},
            "metrics: 'roc_auc' is not a metric of multi-class classification. Choose from log",
        ),
        (
            {"thresholds": limit("mae")},
            "thresholds.metrics[0]: unknown metric 'mae'. Choose from log",
        ),
        (
            {"thresholds": limit("accuracy", "mean")},
            "accuracy cannot be compared with 'mean'. Choose from majority, no_change",
        ),
        (
            {"thresholds": Thresholds(decision=0.3)},
            "thresholds.decision is declared, but the label is one of multi-",
        ),
        (
            {"fallback": Fallback(score=0.2)},
            "fallback.score is not a mapping of class to probability",
        ),
        (
            {"fallback": Fallback(score={"cat": 1.2})},
            "fallback.score is not a mapping of class to probability",
        ),
    ],
)
def test_a_declaration_that_does_not_fit_the_task_is_rejected(
    changes: dict[str, Any], expected: str
) -> None:
    declared = {"label": labelled("string"), "model": naive_bayes.GaussianNB, **changes}
    with pytest.raises(PipelineError) as rejected:
        complete(small_pipeline(**declared))
    assert expected in str(rejected.value)


@pytest.mark.parametrize(
    "model", [tree.HoeffdingTreeRegressor, tree.HoeffdingAdaptiveTreeRegressor, rules.AMRules]
)
def test_a_regressor_that_cannot_be_stored_after_learning_is_rejected(model: Any) -> None:
    learned = model()
    for x, y in datasets.TrumpApproval():
        learned.learn_one(x, y)
    with pytest.raises(ModelError):
        load(dump(learned), ALL_NAMES)
    with pytest.raises(PipelineError, match="too deep to be stored"):
        complete(small_pipeline(label=labelled("double"), model=model))


def test_a_pipeline_without_metrics_has_the_default_ones_of_its_task() -> None:
    def declared(kind: str, model: Any) -> tuple[str, ...]:
        return complete(small_pipeline(label=labelled(kind), model=model)).metrics

    assert declared("string", naive_bayes.GaussianNB) == ("log_loss", "accuracy", "macro_f1")
    assert declared("long", linear.LinearRegression) == ("mae", "rmse", "r2")
    assert declared("boolean", linear.LogisticRegression) == ("log_loss", "roc_auc", "accuracy")


@pytest.mark.parametrize(
    ("task", "answer"),
    [
        (MulticlassTask(), 0.5),
        (MulticlassTask(), {"cat": 1.5}),
        (MulticlassTask(), {"cat": nan}),
        (MulticlassTask(), {"cat": True}),
        (MulticlassTask(), {1: 0.5}),
        (RegressionTask(), nan),
        (RegressionTask(), inf),
        (RegressionTask(), "7"),
        (RegressionTask(), True),
        (RegressionTask(), {"cat": 0.5}),
    ],
)
def test_a_score_of_another_kind_is_invalid(task: PredictionTask, answer: Any) -> None:
    found = predictor(None, task=task).predict(Version(2, answer), {"x": 1.0}, 0)
    assert isinstance(found, Failure)
    assert (found.code, found.message) == (
        "score-invalid",
        f"the score is not {task.score_type} but {type(answer).__name__}",
    )


@pytest.mark.parametrize(
    ("task", "rule"), [(MulticlassTask(), {"cat": 0.25, "dog": 0.75}), (RegressionTask(), 12)]
)
def test_the_rule_of_a_fallback_is_a_score_of_the_task(task: PredictionTask, rule: Score) -> None:
    found = predictor(Fallback(score=rule), task=task).predict(failing(), {"x": 1.0}, 0)
    assert found == Degraded(rule, NO_VERSION, "rule", "model-failed")


def test_an_untrained_model_predicts_no_class() -> None:
    model = LoadedModel(
        "p",
        0,
        "f",
        multiclass.OneVsRestClassifier(linear.LogisticRegression()),
        MulticlassTask(),
        frozen=True,
    )
    assert model.score({"x": 1.0}) == {}
    assert MulticlassTask().prediction_fields({}) == (None, 0.0, None, {})


def test_an_empty_text_is_a_class_like_any_other() -> None:
    assert MulticlassTask().prediction_fields({"": 0.75, "cat": 0.25}) == (
        "",
        0.75,
        None,
        {"": 0.75, "cat": 0.25},
    )
    wrong = measured(MulticlassTask(), [("", {}), ("", {})])
    assert (wrong["accuracy"], wrong["macro_f1"]) == (0.0, 0.0)
    right = measured(MulticlassTask(), [("", {"": 1.0}), ("cat", {"": 1.0})])
    assert [right["accuracy"], right["macro_f1"]] == pytest.approx([0.5, (2 / 3 + 0) / 2])


@pytest.mark.parametrize(
    ("task", "labels", "before", "after"),
    [
        (BinaryTask(), [True, False, True, True], 0.5, 0.75),
        (MulticlassTask(("cat", "dog")), ["cat"], {"cat": 0.5, "dog": 0.5}, {"cat": 1.0}),
        (MulticlassTask(), ["", "dog"], {}, {"": 0.5, "dog": 0.5}),
        (RegressionTask(), [2.0, 4.0], 0.0, 3.0),
    ],
)
def test_the_prior_is_the_share_or_mean_of_the_labels(
    task: PredictionTask, labels: list[Target], before: Score, after: Score
) -> None:
    baseline = task.new_baseline()
    assert task.valid_score(task.prior(baseline)) == before
    for label in labels:
        baseline.update(label)
    assert task.valid_score(task.prior(baseline)) == after


@pytest.mark.parametrize(
    ("task", "label", "score"),
    [
        (BinaryTask(), "cat", 0.5),
        (MulticlassTask(), True, {}),
        (MulticlassTask(), "cat", 0.5),
        (RegressionTask(), True, 0.5),
        (RegressionTask(), 1.0, {}),
    ],
)
def test_an_example_of_another_task_is_detected(
    task: PredictionTask, label: Target, score: Score
) -> None:
    assert decode_example(example(label, score).encode(), task) == "wrong-type"


@pytest.mark.parametrize(
    ("task", "label", "score"),
    [(MulticlassTask(), "cat", {"cat": 0.5}), (RegressionTask(), 3, -7.5)],
)
def test_an_encoded_example_is_decoded_unchanged(
    task: PredictionTask, label: Target, score: Score
) -> None:
    assert decode_example(example(label, score).encode(), task) == example(label, score)


@pytest.mark.parametrize("task", TASKS)
def test_an_evaluator_of_any_task_can_be_stored(task: type[PredictionTask]) -> None:
    evaluator = Evaluator(HOUR, task())
    assert pickle.loads(pickle.dumps(evaluator)) == evaluator


def test_the_monitor_detects_drift_of_the_predicted_classes() -> None:
    """From the sixth day other classes are predicted, with the same probability."""
    monitor, chance = WindowMonitor(small_pipeline(label=labelled("string"))), random.Random(2)
    found = []
    for number in range(7 * 24 * 20):
        time = number * HOUR // 20
        if number % 5 == 0:
            found += measurements(monitor.pass_events(time))
        known = NAMES[:2] if number < 6 * 24 * 20 else NAMES[1:]
        scored = {
            "event_id": f"e{number}",
            "prediction": chance.choice(known),
            "score": 0.5,
            "features": None,
            "model": {"version": 1},
        }
        monitor.scored(
            cast(ScoredRecord, {"event_time": time, **scored}), b"k", time // HOUR * HOUR
        )
    drifts = [one for one in found if one["kind"] == "drift" and one["reference"] == "fixed"]
    scores = [one["value"] for one in drifts if one["name"] == "score"]
    classes = [one["value"] for one in drifts if one["name"] == "prediction"]
    assert len(scores) == len(classes) > 4
    assert max(scores) == 0.0
    assert max(classes[:-3]) < 0.1
    assert min(classes[-3:]) > 1.0


@pytest.mark.parametrize("score", [10**400, -(10**400), inf, nan, "0.5", True, None])
@pytest.mark.parametrize("task", [BinaryTask(), RegressionTask()], ids=["binary", "regression"])
def test_anything_but_a_number_in_range_is_no_score(task: PredictionTask, score: object) -> None:
    """An integer beyond the largest float cannot be converted to one."""
    assert task.valid_score(score) is None


def test_integers_are_scores() -> None:
    assert [BinaryTask().valid_score(1), RegressionTask().valid_score(-(10**300))] == [1.0, -1e300]
