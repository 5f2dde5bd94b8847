"""Trains a model from files or topics, and measures each prediction before its label is learned."""

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from river import stats

from stream_app.core.examples import Example
from stream_app.core.learning.learner_state import LearnerState
from stream_app.core.published_records import ScoredRecord
from stream_app.errors import DecisionError
from stream_app.offline.engine import make_evaluator
from stream_app.offline.record_outcomes import EventOutcome
from stream_app.offline.simulation import SimulatedRecord, Simulation
from stream_app.records import Features


class TrainedModel(NamedTuple):
    """Model learned from files or topics.

    Attributes:
        learner: state of the learner, with the model.
        metrics: metrics of the predictions made on the way, each by what was known then.
        window: `start` and `end` of their label times in Unix milliseconds, and their number `n`.
        profile: distribution of each numeric feature and of the score.
        features: names of all features.
        inputs: topics, partitions and ranges of offsets that it was learned from; none for files.
    """

    learner: LearnerState
    metrics: dict[str, float]
    window: dict[str, int]
    profile: dict[str, dict[str, Any]]
    features: list[str]
    inputs: Sequence[Mapping[str, Any]] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data without the model."""
        return {name: value for name, value in self._asdict().items() if name != "learner"}


class Training:
    """Measures a simulation.

    Args:
        simulation: simulation to iterate.
        since: events before this time, in Unix milliseconds, are learned but not measured.
    """

    def __init__(self, simulation: Simulation, since: int = 0) -> None:
        self._simulation = simulation
        self._since = since
        self._evaluator = make_evaluator(simulation.engine.pipeline)
        self._profile = ReferenceProfile()
        self._measured = 0
        self._times: tuple[int, int] | None = None
        simulation.engine.observers.append(self._example)

    def __iter__(self) -> Iterator[SimulatedRecord]:
        """Yield the records of the simulation with their outcomes."""
        for simulated in self._simulation:
            outcome = simulated.outcome
            if isinstance(outcome, EventOutcome) and outcome.record is not None:
                self._scored(outcome.record, outcome.features or {})
            yield simulated

    def result(self) -> TrainedModel:
        """Return the model and its measurements.

        Raises:
            DecisionError: nothing was learned, or nothing was measured.
        """
        learner = self._simulation.engine.learner
        if not learner.learned.examples:
            raise _nothing_to_publish(
                "No example was learned",
                "`stream-app try` with the same events and labels as files shows why",
            )
        if self._times is None:
            raise _nothing_to_publish(
                "No example is within the measured time",
                "Give an earlier --measure-since",
            )
        start, end = self._times
        window = {"start": start, "end": end + 1, "n": self._measured}
        return TrainedModel(
            learner,
            self._evaluator.metrics(),
            window,
            self._profile.summary(),
            sorted(self._profile.features),
        )

    def _scored(self, record: ScoredRecord, features: Features) -> None:
        if record["event_time"] >= self._since:
            self._profile.add(features, record["score"])

    def _example(self, example: Example) -> None:
        if example.event_time >= self._since:
            self._evaluator.add(example)
            self._measured += 1
            first, last = self._times or (example.label_time, example.label_time)
            self._times = min(first, example.label_time), max(last, example.label_time)


# Loss of a model, and that of its baseline over the same events, by task.
_LOSSES = (("log_loss", "prior_log_loss"), ("mae", "mean_mae"))


def require_better_than_baseline(trained: TrainedModel) -> None:
    """Require that a trained model has a smaller loss than no model over the same events.

    The baseline is the share of each class, or the mean, of the labels that were known before.

    Raises:
        DecisionError: it has not, or a loss is not defined.
    """
    for name, baseline in _LOSSES:
        loss, limit = trained.metrics.get(name), trained.metrics.get(baseline)
        if loss is not None and limit is not None:
            if loss < limit:
                return
            raise DecisionError(
                f"The model is no better than none: {name} {loss:.4f}, without a model "
                f"{limit:.4f}, over the same {trained.window['n']:,} labels; nothing is published",
                "Improve it with `stream-app try`, or add --force to serve it all the same",
            )
    raise DecisionError(
        "The model cannot be compared with none: its loss is not defined; nothing is published",
        "Give more labels, or add --force to serve it all the same",
    )


def _nothing_to_publish(cause: str, remedy: str) -> DecisionError:
    return DecisionError(f"{cause}, so there is nothing to publish", remedy)


SCORE = "score"
# Deciles are exact up to this number of values.
_SAMPLED = 20_000
_TENTHS = [tenth / 10 for tenth in range(1, 10)]


class ThinnedSample:
    """Evenly thinned sample of numbers.

    Every stride-th number is kept; the stride doubles when the sample is full.

    Args:
        limit: largest number of values.

    Attributes:
        values: sampled numbers.
        seen: number of numbers offered.
    """

    __slots__ = ("_limit", "_stride", "seen", "values")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._stride = 1
        self.values: list[float] = []
        self.seen = 0

    def add(self, value: float) -> None:
        """Offer a number."""
        if self.seen % self._stride == 0:
            self.values.append(value)
            if len(self.values) > self._limit:
                self.values = self.values[::2]
                self._stride *= 2
        self.seen += 1


class Distribution:
    """Distribution of one variable in bounded memory.

    Deciles are those of up to 20,000 values, evenly spread in time.

    >>> numbers = Distribution()
    >>> for number in range(101):
    ...     numbers.add(number)
    >>> numbers.summary()["mean"], numbers.summary()["deciles"][:3]
    (50.0, [10.0, 20.0, 30.0])
    """

    __slots__ = ("_sample", "_spread", "maximum", "minimum")

    def __init__(self) -> None:
        self.minimum, self.maximum = inf, -inf
        self._spread = stats.Var(ddof=0)
        self._sample = ThinnedSample(_SAMPLED)

    @property
    def seen(self) -> int:
        """Number of values."""
        return self._sample.seen

    def add(self, value: float) -> None:
        """Add a value."""
        self._spread.update(value)
        self._sample.add(value)
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)

    def summary(self) -> dict[str, Any]:
        """Return the form of `schemas/manifest.avsc`; requires at least one value."""
        deciles = np.quantile(
            np.asarray(self._sample.values, dtype=float), _TENTHS, method="inverted_cdf"
        )
        return {
            "n": self.seen,
            "mean": float(self._spread.mean.get()),
            "deviation": float(self._spread.get()) ** 0.5,
            "minimum": float(self.minimum),
            "maximum": float(self.maximum),
            "deciles": deciles.tolist(),
        }


class ReferenceProfile:
    """Distributions of all numeric features and of the score.

    Attributes:
        features: names of all features.
    """

    def __init__(self) -> None:
        self.features: set[str] = set()
        self._numbers: dict[str, Distribution] = {}
        self._score = Distribution()

    def add(self, features: Features, score: object) -> None:
        """Add the features and the score of one prediction; only numbers have a distribution."""
        self.features.update(features)
        for name, value in features.items():
            if _is_number(value):
                found = self._numbers.get(name)
                if found is None:
                    found = self._numbers[name] = Distribution()
                found.add(value)
        if _is_number(score):
            self._score.add(score)

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return summaries by feature name; `score` is the model's score."""
        named = {**self._numbers, SCORE: self._score}
        return {name: found.summary() for name, found in sorted(named.items()) if found.seen}


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
