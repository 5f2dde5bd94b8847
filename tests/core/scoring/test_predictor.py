"""Predictor: a failing model is replaced by the declared fallback."""

from dataclasses import dataclass
from math import nan
from typing import Any

import pytest

from stream_app.core.evaluation.prediction_tasks import BinaryTask, PredictionTask
from stream_app.core.published_records import NO_VERSION
from stream_app.core.scoring.predictor import Degraded, Predictor
from stream_app.records import Failure, Features
from stream_app.resilience import Fallback, TransientError


@dataclass
class Version:
    """Model with a fixed answer; an exception is raised."""

    version: int
    answer: Any
    name: str = "payments"
    asked: int = 0
    takes: float = 0.0
    clock: "Clock | None" = None

    def score(self, features: Features) -> float:
        self.asked += 1
        if self.clock is not None:
            self.clock.now += self.takes
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]  # a model may return anything


@dataclass
class Clock:
    """Clock in seconds, moved by the tests."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


BINARY = BinaryTask()


def predictor(
    fallback: Fallback | None,
    budget: float | None = None,
    clock: Clock | None = None,
    before: Version | None = None,
    task: PredictionTask = BINARY,
) -> Predictor:
    return Predictor(task, fallback, budget, clock or Clock(), lambda _: before)


@dataclass
class UntrainedVersion(Version):
    """Model that lacks evidence for events with a negative x."""

    def prior_for(self, features: Features) -> float | None:
        return 0.25 if features["x"] < 0 else None  # type: ignore[operator]  # a number


def failing() -> Version:
    return Version(2, ValueError("no"))


def test_a_valid_score_is_returned() -> None:
    assert predictor(Fallback(score=0.1)).predict(Version(2, 0.7), {"x": 1.0}, 0) == 0.7


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (ValueError("no"), "model-failed"),
        (TransientError("no"), "model-unavailable"),
        (TimeoutError("no"), "model-unavailable"),
        (nan, "score-invalid"),
        (1.5, "score-invalid"),
        (None, "score-invalid"),
    ],
)
def test_without_a_fallback_the_failure_is_returned(answer: object, code: str) -> None:
    found = predictor(None).predict(Version(2, answer), {"x": 1.0}, 0)
    assert isinstance(found, Failure)
    assert found.code == code


def test_the_last_good_version_is_the_first_fallback() -> None:
    found = predictor(Fallback(score=0.1), before=Version(1, 0.4)).predict(failing(), {"x": 1.0}, 0)
    assert found == Degraded(0.4, 1, "last-good", "model-failed")


def test_the_rule_is_the_second_fallback_and_has_no_version() -> None:
    both_fail = predictor(Fallback(score=0.1), before=Version(1, nan))
    assert both_fail.predict(failing(), {"x": 1.0}, 0) == Degraded(
        0.1, NO_VERSION, "rule", "model-failed"
    )
    by_features = Fallback(last_good=False, score=lambda features: float(features["x"]) / 2)
    assert predictor(by_features, before=Version(1, 0.4)).predict(
        failing(), {"x": 1.0}, 0
    ) == Degraded(0.5, NO_VERSION, "rule", "model-failed")


def test_a_failing_fallback_returns_the_failure_of_the_model() -> None:
    found = predictor(Fallback(score=lambda _: 1 / 0)).predict(failing(), {"x": 1.0}, 0)
    assert isinstance(found, Failure)
    assert found.code == "model-failed"


def test_a_score_after_the_time_budget_is_a_failure() -> None:
    clock = Clock()
    slow = Version(2, 0.7, clock=clock, takes=0.2)
    found = predictor(None, 0.1, clock).predict(slow, {"x": 1.0}, 0)
    assert isinstance(found, Failure)
    assert (found.code, found.message) == (
        "model-too-slow",
        "the prediction took longer than 0.1 s",
    )
    assert predictor(Fallback(score=0.3), 0.1, clock).predict(slow, {"x": 1.0}, 0) == Degraded(
        0.3, NO_VERSION, "rule", "model-too-slow"
    )
    assert predictor(None, 0.3, clock).predict(slow, {"x": 1.0}, 0) == 0.7


def test_a_failing_version_is_not_called_for_a_while() -> None:
    model, asking = failing(), predictor(Fallback(score=0.1))
    for now in range(8):
        asking.predict(model, {"x": 1.0}, now)
    assert model.asked == 5
    model.answer = 0.9
    assert asking.predict(model, {"x": 1.0}, 9_000) == Degraded(
        0.1, NO_VERSION, "rule", "model-failed"
    )
    assert asking.predict(model, {"x": 1.0}, 10_010) == 0.9


def test_a_new_version_is_called_at_once() -> None:
    asking = predictor(Fallback(score=0.1))
    for now in range(8):
        asking.predict(failing(), {"x": 1.0}, now)
    assert asking.predict(Version(3, 0.6), {"x": 1.0}, 8) == 0.6


@pytest.mark.parametrize(
    ("answer", "code"), [(ValueError("no"), "model-failed"), (nan, "score-invalid")]
)
def test_an_event_without_evidence_gets_the_prior(answer: object, code: str) -> None:
    untrained = UntrainedVersion(0, answer)
    expected = Degraded(0.25, NO_VERSION, "prior", code)
    for fallback in (None, Fallback(), Fallback(score=lambda features: 1 / 0)):
        assert predictor(fallback).predict(untrained, {"x": -1.0}, 0) == expected
        found = predictor(fallback).predict(untrained, {"x": 1.0}, 0)
        assert isinstance(found, Failure)
        assert found.code == code
    assert predictor(Fallback(score=0.5)).predict(untrained, {"x": -1.0}, 0) == Degraded(
        0.5, NO_VERSION, "rule", code
    )


def test_a_transient_failure_gets_no_prior() -> None:
    untrained = UntrainedVersion(0, TransientError("no"))
    assert isinstance(predictor(None).predict(untrained, {"x": -1.0}, 0), Failure)


def test_a_version_that_scores_needs_no_prior() -> None:
    assert predictor(None).predict(UntrainedVersion(0, 0.75), {"x": -1.0}, 0) == 0.75
