"""Training: a pipeline over files, measured as it goes, prediction before label."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from stream_app.core.example import Example
from stream_app.core.learning.learner_state import LearnerState
from stream_app.errors import DecisionError
from stream_app.offline.engine import make_judge
from stream_app.offline.record_outcomes import EventOutcome
from stream_app.offline.reference_profile import ReferenceProfile
from stream_app.offline.simulation.simulation import SimulatedRecord, Simulation
from stream_app.records import Features


class Trained(NamedTuple):
    """A model that was learned from files.

    `metrics` are of the predictions that were made on the way, each by what was known then; `window` says from when to
    when their labels became known and how many they are, `profile` how features and score were distributed.
    """

    learner: LearnerState
    metrics: dict[str, float]
    window: dict[str, int]
    profile: dict[str, dict[str, Any]]
    features: list[str]

    def as_dict(self) -> dict[str, Any]:
        """For programs, without the model."""
        return {name: value for name, value in self._asdict().items() if name != "learner"}


class Training:
    """Measures a trial; what is about events before `since` (epoch ms) is learned but not measured."""

    def __init__(self, trial: Simulation, since: int = 0) -> None:
        self._trial = trial
        self._since = since
        self._judge = make_judge(trial.engine.pipeline)
        self._profile = ReferenceProfile()
        self._measured = 0
        self._times: tuple[int, int] | None = None
        trial.engine.observers.append(self._example)

    def __iter__(self) -> Iterator[SimulatedRecord]:
        """What becomes of each record, as the trial says."""
        for tried in self._trial:
            outcome = tried.outcome
            if isinstance(outcome, EventOutcome) and outcome.record is not None:
                self._scored(outcome.record, outcome.features or {})
            yield tried

    def result(self) -> Trained:
        """All that came of it; DecisionError if nothing was learned, or nothing could be measured."""
        learner = self._trial.engine.learner
        if not learner.learned.examples:
            raise _worthless(
                "No example was learned", "`stream-app try` with the same files shows why"
            )
        if self._times is None:
            raise _worthless(
                "No example is of the time that is to be measured",
                "Give an earlier --measure-since",
            )
        start, end = self._times
        window = {"start": start, "end": end + 1, "n": self._measured}
        return Trained(
            learner,
            self._judge.metrics(),
            window,
            self._profile.summary(),
            sorted(self._profile.features),
        )

    def _scored(self, record: Mapping[str, Any], features: Features) -> None:
        if record["event_time"] >= self._since:
            self._profile.add(features, record["score"])

    def _example(self, example: Example) -> None:
        if example.event_time >= self._since:
            self._judge.add(example)
            self._measured += 1
            first, last = self._times or (example.label_time, example.label_time)
            self._times = min(first, example.label_time), max(last, example.label_time)


def _worthless(what: str, remedy: str) -> DecisionError:
    return DecisionError(f"{what}, so there is nothing to publish", remedy)
