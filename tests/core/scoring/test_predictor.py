"""Predictions that fail are replaced as declared, and said to be."""

from dataclasses import dataclass
from math import nan
from typing import Any

import pytest

from stream_app.core.evaluation.prediction_tasks import BinaryTask, PredictionTask
from stream_app.core.scoring.predictor import NO_VERSION, Degraded, Predictor
from stream_app.records import Failure, Features
from stream_app.resilience import Fallback, TransientError


@dataclass
class Version:
    """Answers what it is told to; an exception is raised."""

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
    """Seconds, moved by hand."""

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


def failing() -> Version:
    return Version(2, ValueError("no"))


def test_a_model_that_answers_is_believed() -> None:
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
def test_without_a_fallback_the_failure_stands(answer: object, code: str) -> None:
    found = predictor(None).predict(Version(2, answer), {"x": 1.0}, 0)
    assert isinstance(found, Failure)
    assert found.code == code


def test_the_version_before_answers_first() -> None:
    found = predictor(Fallback(score=0.1), before=Version(1, 0.4)).predict(failing(), {"x": 1.0}, 0)
    assert found == Degraded(0.4, 1, "last-good", "model-failed")


def test_then_the_rule_which_is_no_version() -> None:
    both_fail = predictor(Fallback(score=0.1), before=Version(1, nan))
    assert both_fail.predict(failing(), {"x": 1.0}, 0) == Degraded(
        0.1, NO_VERSION, "rule", "model-failed"
    )
    by_features = Fallback(last_good=False, score=lambda features: float(features["x"]) / 2)
    assert predictor(by_features, before=Version(1, 0.4)).predict(
        failing(), {"x": 1.0}, 0
    ) == Degraded(0.5, NO_VERSION, "rule", "model-failed")


def test_a_fallback_that_fails_too_leaves_the_first_failure() -> None:
    found = predictor(Fallback(score=lambda _: 1 / 0)).predict(failing(), {"x": 1.0}, 0)
    assert isinstance(found, Failure)
    assert found.code == "model-failed"


def test_an_answer_that_comes_too_late_is_none() -> None:
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


def test_a_version_that_keeps_failing_rests_and_is_tried_again() -> None:
    model, asking = failing(), predictor(Fallback(score=0.1))
    for now in range(8):
        asking.predict(model, {"x": 1.0}, now)
    assert model.asked == 5
    model.answer = 0.9
    assert asking.predict(model, {"x": 1.0}, 9_000) == Degraded(
        0.1, NO_VERSION, "rule", "model-failed"
    )
    assert asking.predict(model, {"x": 1.0}, 10_010) == 0.9


def test_another_version_does_not_rest() -> None:
    asking = predictor(Fallback(score=0.1))
    for now in range(8):
        asking.predict(failing(), {"x": 1.0}, now)
    assert asking.predict(Version(3, 0.6), {"x": 1.0}, 8) == 0.6
