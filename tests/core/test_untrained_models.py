"""Models that cannot score untrained: their events get the prior, and are learned."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from river import feature_extraction, linear_model, naive_bayes, preprocessing, stats

from stream_app.records import Features, Fields, Target
from stream_app.testing import PipelineHarness
from tests.small_pipeline import HOUR, NOW, event, label, labelled, small_pipeline

Make = Callable[[], Any]


def places(fields: Fields) -> Features:
    return {"amount": fields["amount"], "country": fields["country"]}


def amounts(fields: Fields) -> Features:
    return {"amount": fields["amount"]}


def with_aggregate(aggregate: Any) -> Make:
    return lambda: aggregate | linear_model.LogisticRegression()


MODELS: dict[str, tuple[Make, Callable[[Fields], Features]]] = {
    "MinMaxScaler": (
        lambda: preprocessing.MinMaxScaler() | linear_model.LogisticRegression(),
        amounts,
    ),
    **{
        f"{kind.__name__} of {type(how).__name__}": (
            with_aggregate(kind(*of, how)),
            places,
        )
        for kind, of in (
            (feature_extraction.Agg, ("amount", "country")),
            (feature_extraction.TargetAgg, ("country",)),
        )
        for how in (stats.Max(), stats.Min(), stats.Quantile(0.5))
    },
}


@pytest.mark.parametrize("name", MODELS)
def test_events_without_evidence_get_the_prior_and_are_learned(name: str) -> None:
    model, features = MODELS[name]
    harness = PipelineHarness(small_pipeline(model=model, features=features))
    countries = ["NL", "BE", "DE"]
    priors = []
    for number in range(60):
        at = NOW + number * 60_000
        outcome = harness.event(event(number, at, country=countries[number * 3 // 60]))
        assert (outcome.kind, outcome.record is None) == ("scored", False)
        assert outcome.record is not None
        if outcome.record["degraded"]:
            priors.append((number, outcome.record["degraded"], outcome.score))
            assert outcome.model_version == -1
        assert harness.label(label(number, at + 1, fraud=number % 2 == 0)).kind == "joined"
    assert harness.learned == 60
    expected = [(0, "prior", 0.5)]
    # A group that is new later gets the share of the labels until then.
    if "Agg" in name:
        expected += [(20, "prior", 0.5), (40, "prior", 0.5)]
    assert priors == expected
    assert harness.record_counts.degraded == len(expected)


def test_before_the_first_label_nothing_is_a_dead_letter() -> None:
    model, features = MODELS["MinMaxScaler"]
    harness = PipelineHarness(small_pipeline(model=model, features=features))
    scores = {harness.event(event(number)).score for number in range(20)}
    assert scores == {0.5}
    assert not harness.record_counts.dead


def test_zeros_that_no_normalizer_can_scale_are_scored_until_something_is_learned() -> None:
    def model() -> Any:
        return preprocessing.Normalizer() | linear_model.LogisticRegression()

    harness = PipelineHarness(small_pipeline(model=model, features=amounts))
    outcome = harness.event(event(0, amount=0.0))
    assert outcome.record is not None
    assert (outcome.score, outcome.record["degraded"]) == (0.5, "prior")
    assert harness.label(label(0, fraud=True)).kind == "joined"
    # River cannot learn it either; the share of labels is known nevertheless.
    assert harness.event(event(1, amount=0.0)).score == 1.0


@pytest.mark.parametrize(
    ("avro_type", "model", "labels", "scores"),
    [
        (
            {"type": "enum", "name": "Kind", "symbols": ["a", "b"]},
            lambda: preprocessing.Normalizer() | naive_bayes.GaussianNB(),
            "a",
            {"a": 0.5, "b": 0.5},
        ),
        (
            "double",
            lambda: preprocessing.MinMaxScaler() | linear_model.LinearRegression(),
            7.0,
            0.0,
        ),
    ],
)
def test_classes_and_numbers_have_a_prior(
    avro_type: Any, model: Make, labels: Target, scores: Any
) -> None:
    harness = PipelineHarness(
        small_pipeline(model=model, features=amounts, label=labelled(avro_type))
    )
    outcome = harness.event(event(1, amount=0.0))
    assert outcome.record is not None
    assert outcome.record["degraded"] == "prior"
    assert scores in (outcome.record["probabilities"], outcome.score)
    assert harness.label(label(1, fraud=labels)).kind == "joined"
    assert harness.event(event(2)).kind == "scored"


def test_a_trained_model_that_fails_is_a_dead_letter() -> None:
    def model() -> Any:
        return preprocessing.Normalizer() | linear_model.LogisticRegression()

    harness = PipelineHarness(small_pipeline(model=model, features=amounts))
    harness.event(event(1, amount=5.0))
    harness.label(label(1))
    assert harness.event(event(2, amount=0.0)).error_code == "model-failed"


def test_labels_of_empty_text_are_evaluated_and_learned() -> None:
    harness = PipelineHarness(
        small_pipeline(
            model=lambda: naive_bayes.GaussianNB(),
            features=amounts,
            label=labelled("string"),
            window=timedelta(minutes=10),
        )
    )
    first = harness.event(event(0))
    assert first.record is not None
    assert (first.record["prediction"], first.record["probabilities"]) == (None, {})
    for number in range(60):
        at = NOW + number * 60_000
        harness.event(event(number + 1, at))
        harness.label(label(number + 1, at + HOUR, fraud=""))
    assert harness.learned == 60
    assert harness.event(event(99, NOW + HOUR)).prediction == ""
    assert not [one for one in harness.measurements() if one["name"] == "evaluation-failed"]
