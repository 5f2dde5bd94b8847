"""Predictions that may fail: the version that is served, and what the pipeline declares to be served instead."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from stream_app.core.evaluation.prediction_tasks import PredictionTask, ScoreFunction
from stream_app.records import Failure, Features, Score
from stream_app.resilience import TRANSIENT, Fallback

NO_VERSION = -1
"""Stands for the model version where a rule made the score."""

FAILURES = 5  # in a row, after which a version rests
REST = 10_000  # milliseconds


class Model(Protocol):
    """A loaded model version; `score` may raise whatever the model raises."""

    name: str
    version: int

    @property
    def score(self) -> ScoreFunction:
        """What gives the score of features."""


class Degraded(NamedTuple):
    """A score that the served version did not make; `by` is `last-good` or `rule`, `cause` the code of the failure."""

    score: Score
    version: int
    by: str
    cause: str


class Predictor:
    """Asks the model, judges the answer, and falls back as declared.

    `budget` is the longest that one prediction may take, in seconds of `clock`; None measures nothing. `last_good`
    gives the version that stands in for one that fails, if there is one.
    """

    def __init__(
        self,
        task: PredictionTask,
        fallback: Fallback | None,
        budget: float | None,
        clock: Callable[[], float],
        last_good: Callable[[Model], Model | None],
    ) -> None:
        self._task = task
        self._fallback = fallback
        self._last_good = last_good
        self._budget = budget
        self._clock = clock
        self._failing = NO_VERSION
        self._failures = 0
        self._rests_until = 0
        self._why = Failure("model-failed", "")

    def predict(self, model: Model, features: Features, now: int) -> Score | Degraded | Failure:
        """The score, which fits the task; `now` is epoch milliseconds."""
        if model.version == self._failing and now < self._rests_until <= now + REST:
            return self._instead(model, features, self._why)
        budget = self._budget
        score = (
            self._ask(model.score, features)
            if budget is None
            else self._timed(model, features, budget)
        )
        if not isinstance(score, Failure):
            self._failing, self._failures = NO_VERSION, 0
            return score
        if self._fallback is None:
            return score
        self._note(model.version, score, now)
        return self._instead(model, features, score)

    def start_over(self) -> None:
        """Forget what has failed."""
        self._failing, self._failures, self._rests_until = NO_VERSION, 0, 0

    def _timed(self, model: Model, features: Features, budget: float) -> Score | Failure:
        started = self._clock()
        score = self._ask(model.score, features)
        if self._clock() - started > budget and not isinstance(score, Failure):
            return Failure("model-too-slow", f"the prediction took longer than {budget:g} s")
        return score

    def _note(self, version: int, failure: Failure, now: int) -> None:
        """Count failures in a row; a version that has failed often enough is not asked for a while."""
        self._failures = self._failures + 1 if version == self._failing else 1
        self._failing, self._why = version, failure
        if self._failures >= FAILURES:
            self._rests_until = now + REST

    def _instead(self, model: Model, features: Features, why: Failure) -> Degraded | Failure:
        fallback = self._fallback
        if fallback is None:
            return why
        good = self._last_good(model) if fallback.last_good else None
        if good is not None:
            score = self._ask(good.score, features)
            if not isinstance(score, Failure):
                return Degraded(score, good.version, "last-good", why.code)
        rule = fallback.score
        if rule is None:
            return why
        score = self._ask(rule if callable(rule) else lambda _: rule, features)
        return why if isinstance(score, Failure) else Degraded(score, NO_VERSION, "rule", why.code)

    def _ask(self, ask: ScoreFunction, features: Features) -> Score | Failure:
        """A score, or why there is none."""
        try:
            value = ask(features)
        except TRANSIENT as error:
            return Failure("model-unavailable", f"the model raised {type(error).__name__}", error)
        except (
            Exception
        ) as error:  # a model may raise anything; whatever it is, it costs this record only
            return Failure("model-failed", f"the model raised {type(error).__name__}", error)
        score = self._task.valid_score(value)
        if score is None:
            return Failure(
                "score-invalid",
                f"the score is not {self._task.score_type} but {type(value).__name__}",
            )
        return score
