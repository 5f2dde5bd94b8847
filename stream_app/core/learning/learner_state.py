"""State of a learner: its model, the decisions that were applied, and what is evaluated."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from stream_app.core.evaluation.evaluator import Evaluator
from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.evaluation.thresholds import ThresholdState
from stream_app.core.learning.examples_log import LEARNER, VERSION_CHANGES, Control
from stream_app.core.learning.finite_learning import (
    NotFiniteError,
    is_extreme,
    learn_extreme,
    learn_first_of_group,
    unsound_aggregates,
)
from stream_app.core.monitoring.constant_score import ConstantScore
from stream_app.core.monitoring.drift import ErrorAlarm
from stream_app.core.published_records import Example
from stream_app.pipeline import Pipeline

# Format of a pickled `LearnerState`. A checkpoint with another one is not loaded.
STATE_FORMAT = 4


@dataclass(slots=True, kw_only=True)
class LearnedModel:
    """A model, and the part of the examples log that it has learned.

    Attributes:
        model: River model.
        examples: number of examples learned.
        max_label_time: largest label time among them in Unix milliseconds, None before the first.
        next_offset: offset from which on the model has learned no example.
        features: names of all features in the examples.
        offline_metrics: metrics of the trained version that the model descends from.
        groups_first: True if the first label of a group is learned by its aggregate only.
    """

    model: Any
    examples: int = 0
    max_label_time: int | None = None
    next_offset: int = 0
    features: frozenset[str] = frozenset()
    offline_metrics: Mapping[str, float] = field(default_factory=dict)
    groups_first: bool = field(init=False)

    def __post_init__(self) -> None:
        self.groups_first = unsound_aggregates(self.model)

    def learn(self, offset: int, example: Example) -> None:
        """Learn an example.

        Raises:
            NotFiniteError: the model would not be finite after it; the model is as before.
            Exception: whatever the model raises; the example is not counted then.
        """
        self.next_offset = offset + 1
        features, label = example.features, example.label
        if is_extreme(features, label):
            before = learn_extreme(self.model, features, label)
            if before is not None:
                self.model = before
                raise NotFiniteError
        elif not (self.groups_first and learn_first_of_group(self.model, features, label)):
            self.model.learn_one(features, label)
        self.examples += 1
        if not self.features.issuperset(example.features):
            self.features |= example.features.keys()
        if self.max_label_time is None or example.label_time > self.max_label_time:
            self.max_label_time = example.label_time

    def copied(self) -> "LearnedModel":
        """Return a deep copy, which learns without changing this one."""
        return deepcopy(self)


@dataclass(slots=True, kw_only=True)
class ControlState:
    """Decisions that were applied to a learner; a function of the examples log alone.

    Attributes:
        decision: number of rollbacks and promotions so far.
        decided_at: offset of the last of them, -1 before the first.
        base_version: version that it selected, None before the first.
        selected_versions: every version that was ever selected.
        paused: True while examples are evaluated but not learned.
    """

    decision: int = 0
    decided_at: int = -1
    base_version: int | None = None
    selected_versions: frozenset[int] = frozenset()
    paused: bool = False

    def is_superseded(self, version: int) -> bool:
        """Return True if the last decision moved away from the version that made a prediction."""
        return 0 <= version <= self.decided_at and version != self.base_version

    def is_void(self, control: Control) -> bool:
        """Return True if a control record has no effect.

        Either a concurrent decision came first in the log, or nothing would change. A pause that
        the learner requested is void if somebody has selected a version since.
        """
        if control.command in VERSION_CHANGES:
            return control.decision <= self.decision or control.version is None
        if control.command == "pause":
            return self.paused or (control.who == LEARNER and control.decision < self.decision)
        return control.command == "resume" and not self.paused

    def apply(self, offset: int, control: Control) -> None:
        """Apply the control record at an offset of the log, which must not be void."""
        if control.command in VERSION_CHANGES and control.version is not None:
            self.decision, self.decided_at = control.decision, offset
            self.base_version = control.version
            self.selected_versions |= {control.version}
        elif control.command in ("pause", "resume"):
            self.paused = control.command == "pause"


@dataclass(slots=True, kw_only=True)
class LearnerState:
    """Everything that a learner knows, and the content of a checkpoint.

    Attributes:
        fingerprint: fingerprint of the pipeline's declaration.
        learned: the model, and what it has learned.
        control: decisions that were applied.
        evaluator: metrics of the served predictions.
        alarm: drift detector of their errors.
        constant_score: detector of a score that is the same for all events.
        unlearnable: number of examples that could not be learned.
        unevaluated: number of examples whose evaluation failed.
        failures: those since the last window closed, by cause.
        thresholds: state of the declared thresholds.
    """

    fingerprint: str
    learned: LearnedModel
    evaluator: Evaluator
    alarm: ErrorAlarm
    control: ControlState = field(default_factory=ControlState)
    constant_score: ConstantScore = field(default_factory=ConstantScore)
    unlearnable: int = 0
    unevaluated: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    thresholds: ThresholdState = field(default_factory=ThresholdState)

    @classmethod
    def new(cls, pipeline: Pipeline, fingerprint: str) -> "LearnerState":
        """Return the state before the first example."""
        length = pipeline.window // timedelta(milliseconds=1)
        return cls(
            fingerprint=fingerprint,
            learned=LearnedModel(model=pipeline.model()),
            evaluator=Evaluator(length, task_of(pipeline)),
            alarm=ErrorAlarm(pipeline.thresholds.adwin_delta, quiet=length),
        )

    def configure(self, pipeline: Pipeline) -> None:
        """Take the settings outside the fingerprint from the pipeline as it is declared now."""
        self.evaluator.length = pipeline.window // timedelta(milliseconds=1)
        self.evaluator.task = task_of(pipeline)
        if self.alarm.delta != pipeline.thresholds.adwin_delta:
            self.alarm = ErrorAlarm(pipeline.thresholds.adwin_delta, self.evaluator.length)
