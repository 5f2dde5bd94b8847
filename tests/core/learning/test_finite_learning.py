"""Finite learning: an example that would break the model is not learned; the model stays as is."""

from collections.abc import Callable
from datetime import timedelta
from math import inf, isfinite, nan
from typing import Any

import pytest
from msgspec.structs import replace
from river import (
    compose,
    feature_extraction,
    linear_model,
    naive_bayes,
    preprocessing,
    stats,
    tree,
)

from stream_app.core.examples import Example
from stream_app.core.learning.finite_learning import (
    count_non_finite,
    is_extreme,
    lacks_group_values,
    learn_extreme,
)
from stream_app.core.learning.learner import MAX_NAMED, Learner
from stream_app.core.learning.learner_state import MAX_UNLEARNED, LearnedModel
from stream_app.model_admin.version_diff import first_difference
from stream_app.pipeline import Threshold, Thresholds
from stream_app.records import Features
from tests.learning import FINGERPRINT, measurements, pipeline

Make = Callable[[], Any]
MODELS: dict[str, Make] = {
    "scaled": lambda: preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    "unscaled": lambda: linear_model.LogisticRegression(),
    "naive Bayes": lambda: naive_bayes.GaussianNB(),
    "polynomial": lambda: (
        feature_extraction.PolynomialExtender()
        | preprocessing.StandardScaler()
        | linear_model.LogisticRegression()
    ),
    "tree": lambda: tree.HoeffdingTreeClassifier(grace_period=20),
}
HUGE = {"1e200": [1e200], "largest": [1.79e308], "least": [-1.79e308], "two": [1e155, 1e155]}


def example(number: int, amount: float, **changes: Any) -> Example:
    one = Example(
        f"e{number}",
        number * 60_000,
        number * 60_000,
        number % 3 == 0,
        0.1 + number % 7 / 10,
        1,
        {"amount": amount, "age": float(number % 11)},
        FINGERPRINT,
    )
    return replace(one, **changes)


def usual(count: int, first: int = 0) -> list[Example]:
    return [example(number, float(number * 37 % 101)) for number in range(first, first + count)]


def learned(make: Make, stream: list[Example]) -> tuple[Learner, list[dict[str, Any]]]:
    learner = Learner(pipeline(make), FINGERPRINT)
    outputs = [output for at, one in enumerate(stream) for output in learner.learn(at, one)]
    return learner, measurements(outputs)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("amounts", HUGE.values(), ids=HUGE)
def test_scores_stay_finite_and_different_after_a_huge_number(
    kind: str, amounts: list[float]
) -> None:
    stream = [
        *usual(60),
        *(example(60 + number, amount) for number, amount in enumerate(amounts)),
        *usual(60, 70),
    ]
    model = learned(MODELS[kind], stream)[0].state.learned.model
    scores = [model.predict_proba_one(one.features)[True] for one in usual(50)]
    assert all(map(isfinite, scores))
    assert count_non_finite(model) == count_non_finite(MODELS[kind]())


def test_the_model_is_that_of_the_log_without_the_example() -> None:
    huge = example(60, 1e200)
    learner, found = learned(MODELS["scaled"], [*usual(60), huge, *usual(60, 61)])
    without, _ = learned(MODELS["scaled"], [*usual(60), *usual(60, 61)])
    assert first_difference(learner.state.learned.model, without.state.learned.model) is None
    assert (learner.state.learned.examples, learner.state.unlearnable) == (120, 1)
    named = [(one["kind"], one["name"], one["reference"]) for one in found]
    assert named == [
        ("unlearnable", "not-finite", "offset 60"),
        ("alarm", "example-not-finite", "offset 60"),
    ]


def test_each_example_is_named_up_to_a_hundred_in_a_window() -> None:
    stream = usual(30) + [example(30, 1e200 + number) for number in range(MAX_NAMED + 20)]
    learner, found = learned(MODELS["scaled"], stream)
    named = [one["reference"] for one in found if one["kind"] == "unlearnable"]
    assert named == [f"offset {30 + number}" for number in range(MAX_NAMED)]
    assert learner.state.unlearnable == MAX_NAMED + 20
    assert [one["name"] for one in found if one["kind"] == "alarm"] == ["example-not-finite"]


def test_the_model_keeps_the_offsets_that_it_could_not_learn_as_ranges() -> None:
    hostile = {20, 21, 40, 59}
    stream = [example(n, 1e200) if n in hostile else usual(1, n)[0] for n in range(60)]
    learner, _ = learned(MODELS["scaled"], stream)
    assert learner.state.learned.unlearned == [[20, 22], [40, 41], [59, 60]]
    learner.state.learned.note_unlearned(40)
    assert learner.state.learned.unlearned == [[20, 22], [40, 41], [59, 60]]


def test_the_newest_ranges_are_kept() -> None:
    model = LearnedModel(model=None)
    for offset in range(2 * MAX_UNLEARNED):
        model.examples += 1
        model.note_unlearned(2 * offset)
    assert model.unlearned[0] == [2 * MAX_UNLEARNED, 2 * MAX_UNLEARNED + 1]
    assert len(model.unlearned) == MAX_UNLEARNED


def test_an_extreme_example_that_leaves_the_model_finite_is_learned() -> None:
    model = MODELS["tree"]()
    assert learn_extreme(model, {"amount": 1e40}, True) is None
    assert model.predict_proba_one({"amount": 1e40}) == {True: 1.0}


@pytest.mark.parametrize(
    ("features", "label", "extreme"),
    [
        ({"a": 1e29, "b": "text", "c": True, "d": 2**62, "e": None}, True, False),
        ({"a": -1e31}, True, True),
        ({"a": nan}, True, True),
        ({"a": 1.0}, 1e40, True),
        ({"a": 1.0}, -inf, True),
    ],
)
def test_numbers_beyond_1e30_are_extreme(features: Features, label: Any, extreme: bool) -> None:
    assert is_extreme(features, label) is extreme


def target_aggregate(how: Any) -> Make:
    return lambda: (
        feature_extraction.TargetAgg("place", how)
        | preprocessing.StandardScaler()
        | linear_model.LogisticRegression()
    )


@pytest.mark.parametrize("how", [stats.Max(), stats.Min(), stats.Quantile(0.5)])
@pytest.mark.parametrize("united", [False, True])
def test_the_first_label_of_a_group_is_learned_by_its_aggregate(how: Any, united: bool) -> None:
    def make() -> Any:
        aggregate = feature_extraction.TargetAgg("place", how)
        first = compose.Select("age") + aggregate if united else aggregate
        return first | preprocessing.StandardScaler() | linear_model.LogisticRegression()

    stream = [
        replace(one, features={"place": f"p{number % 4}", "age": one.features["age"]})
        for number, one in enumerate(usual(200))
    ]
    learner, found = learned(make, stream)
    assert (learner.state.learned.examples, learner.state.unlearnable, found) == (200, 0, [])
    model = learner.state.learned.model
    assert all(isfinite(model.predict_proba_one(one.features)[True]) for one in stream)
    assert all(map(isfinite, model["LogisticRegression"].weights.values()))
    assert not lacks_group_values(model, stream[0].features)
    assert lacks_group_values(model, {"place": "new", "age": 1.0})
    assert len(first_aggregate(model)._groups) == 4


def first_aggregate(model: Any) -> Any:
    step = next(iter(model.steps.values()))
    parts = step.transformers.values() if isinstance(step, compose.TransformerUnion) else [step]
    return next(part for part in parts if isinstance(part, feature_extraction.TargetAgg))


def test_aggregates_with_a_value_from_the_start_learn_as_in_river() -> None:
    stream = [replace(one, features={"place": "p"}) for one in usual(50)]
    learner, _ = learned(target_aggregate(stats.Mean()), stream)
    river = target_aggregate(stats.Mean())()
    for one in stream:
        river.learn_one(one.features, one.label)
    assert first_difference(learner.state.learned.model, river) is None


def test_a_failing_evaluation_is_counted_and_reported_and_learning_continues() -> None:
    learner = Learner(pipeline(MODELS["scaled"]), FINGERPRINT)
    learner.state.evaluator.baseline = None
    found = measurements(
        output for at, one in enumerate(usual(5)) for output in learner.learn(at, one)
    )
    assert (learner.state.learned.examples, learner.state.unevaluated) == (5, 5)
    # A compiled core raises TypeError where an interpreted one raises AttributeError.
    assert [(one["name"], one["n"], one["reference"].split(":")[0]) for one in found] == [
        ("evaluation-failed", n, f"offset {n - 1}") for n in (1, 2, 4)
    ]


def test_a_window_without_a_positive_label_breaches_nothing() -> None:
    names = ("precision", "recall", "f1", "kappa", "roc_auc")
    limits = tuple(
        Threshold(metric=name, limit=0.5, min_labels=1, action="rollback") for name in names
    )
    declared = pipeline(
        MODELS["scaled"],
        metrics=names,
        thresholds=Thresholds(metrics=limits),
        window=timedelta(hours=1),
    )
    learner = Learner(declared, FINGERPRINT)
    stream = [replace(one, label=False) for one in usual(200)]
    found = measurements(
        output for at, one in enumerate(stream) for output in learner.learn(at, one)
    )
    performance = [one for one in found if one["kind"] == "performance"]
    assert {one["name"] for one in performance} == set(names)
    assert {(one["value"], one["breached"]) for one in performance} == {(None, False)}
    assert learner.state.thresholds.runs == {}
    assert {one.triggered for one in learner.take_findings()} == {None}


def test_a_constant_score_alarms() -> None:
    learner = Learner(pipeline(MODELS["scaled"]), FINGERPRINT)
    found = measurements(
        output
        for at, one in enumerate(usual(2_100))
        for output in learner.learn(at, replace(one, score=0.25))
    )
    (alarm,) = [one for one in found if one["name"] == "constant-score"]
    assert (alarm["kind"], alarm["n"], alarm["value"]) == ("alarm", 2_000, 0.25)


def test_the_same_score_by_an_untrained_model_does_not_alarm() -> None:
    learner = Learner(pipeline(MODELS["scaled"]), FINGERPRINT)
    found = measurements(
        output
        for at, one in enumerate(usual(2_100))
        for output in learner.learn(at, replace(one, score=0.5, model_version=0))
    )
    assert "constant-score" not in {one["name"] for one in found}
