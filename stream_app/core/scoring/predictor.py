"""Predictions that may fail: the served version, the declared fallback, and the prior."""

from collections.abc import Callable
from typing import NamedTuple

from stream_app.core.evaluation.prediction_tasks import PredictionTask, ScoreFunction
from stream_app.core.published_records import NO_VERSION
from stream_app.core.scoring.model_protocols import Model, TrainableModel
from stream_app.records import Failure, Features, Score
from stream_app.resilience import TRANSIENT, Fallback

# After this many consecutive failures, a version is not called for the time below.
MAX_FAILURES = 5
REST_MS = 10_000

# Failures that may come from a lack of evidence.
_LACK_OF_EVIDENCE = frozenset({"model-failed", "score-invalid"})


class Degraded(NamedTuple):
    """Score that the served version did not make.

    Attributes:
        score: the score.
        version: version that made it, or `NO_VERSION`.
        by: "last-good", "rule" or "prior".
        cause: error code of the served version's failure.
    """

    score: Score
    version: int
    by: str
    cause: str


class Predictor:
    """Calls the model, checks the score, and uses the fallback if the model fails.

    Without a fallback, an event about which the model has learned nothing gets the prior, if the
    pipeline allows untrained models.

    Args:
        task: prediction task.
        fallback: declared fallback, or None.
        budget: longest time of one prediction in seconds of `clock`; None for no limit.
        clock: returns seconds.
        last_good: returns the version that replaces a failing one, or None.
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
        self._least, self._greatest = task.score_range
        self._fallback = fallback
        self._last_good = last_good
        self._budget = budget
        self._clock = clock
        self._failing = NO_VERSION
        self._failures = 0
        self._rests_until = 0
        self._failure = Failure("model-failed", "")

    def predict(self, model: Model, features: Features, now: int) -> Score | Degraded | Failure:
        """Return a score of the task.

        Args:
            model: served version.
            features: features of the event.
            now: wall-clock time in Unix milliseconds.

        Returns:
            The score, a score of the fallback, or the failure of the model.
        """
        if model.version == self._failing and now < self._rests_until <= now + REST_MS:
            return self._fall_back(model, features, self._failure)
        budget = self._budget
        score = (
            self._call(model.score, features)
            if budget is None
            else self._timed(model, features, budget)
        )
        if not isinstance(score, Failure):
            self._failing, self._failures = NO_VERSION, 0
            return score
        if self._fallback is not None:
            self._count_failure(model.version, score, now)
        return self._fall_back(model, features, score)

    def reset(self) -> None:
        """Forget earlier failures."""
        self._failing, self._failures, self._rests_until = NO_VERSION, 0, 0

    def _timed(self, model: Model, features: Features, budget: float) -> Score | Failure:
        started = self._clock()
        score = self._call(model.score, features)
        if self._clock() - started > budget and not isinstance(score, Failure):
            return Failure("model-too-slow", f"the prediction took longer than {budget:g} s")
        return score

    def _count_failure(self, version: int, failure: Failure, now: int) -> None:
        self._failures = self._failures + 1 if version == self._failing else 1
        self._failing, self._failure = version, failure
        if self._failures >= MAX_FAILURES:
            self._rests_until = now + REST_MS

    def _fall_back(self, model: Model, features: Features, failure: Failure) -> Degraded | Failure:
        fallback = self._fallback
        if fallback is None:
            return self._prior(model, features, failure)
        good = self._last_good(model) if fallback.last_good else None
        if good is not None:
            score = self._call(good.score, features)
            if not isinstance(score, Failure):
                return Degraded(score, good.version, "last-good", failure.code)
        rule = fallback.score
        if rule is None:
            return self._prior(model, features, failure)
        score = self._call(rule if callable(rule) else lambda _: rule, features)
        if isinstance(score, Failure):
            return self._prior(model, features, failure)
        return Degraded(score, NO_VERSION, "rule", failure.code)

    def _prior(self, model: Model, features: Features, failure: Failure) -> Degraded | Failure:
        """Return the prior if the model failed for lack of evidence, else the failure."""
        if failure.code not in _LACK_OF_EVIDENCE or not isinstance(model, TrainableModel):
            return failure
        prior = model.prior_for(features)
        return failure if prior is None else Degraded(prior, NO_VERSION, "prior", failure.code)

    def _call(self, function: ScoreFunction, features: Features) -> Score | Failure:
        try:
            value = function(features)
        except TRANSIENT as error:
            return Failure("model-unavailable", f"the model raised {type(error).__name__}", error)
        # A model may raise anything; it fails this record only.
        except Exception as error:
            return Failure("model-failed", f"the model raised {type(error).__name__}", error)
        # Fast path of nearly all scores.
        if type(value) is float and self._least <= value <= self._greatest:
            return value
        score = self._task.valid_score(value)
        if score is None:
            expected, found = self._task.score_type, type(value).__name__
            return Failure("score-invalid", f"the score is not {expected} but {found}")
        return score
