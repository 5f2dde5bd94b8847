"""State of a learner: its model, what it has learned, and what is evaluated."""

from bisect import insort
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from stream_app.core.evaluation.evaluator import Evaluator
from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.evaluation.thresholds import ThresholdState
from stream_app.core.examples import Example
from stream_app.core.learning.control_commands import ControlState
from stream_app.core.learning.finite_learning import (
    NotFiniteError,
    is_extreme,
    learn_extreme,
    learn_first_of_group,
    unsound_aggregates,
)
from stream_app.core.learning.learning_rules import NotLearned
from stream_app.core.monitoring.constant_score import ConstantScore
from stream_app.core.slots_state import SlotsState
from stream_app.pipeline import Pipeline

# Format of a pickled `LearnerState`. A checkpoint with another one is not loaded.
STATE_FORMAT = 8
# Number of ranges of offsets of examples that a model could not learn that it keeps, the newest.
MAX_UNLEARNED = 100


@dataclass(slots=True, kw_only=True)
class LearnedModel(SlotsState):
    """A model, and the part of the examples log that it has learned.

    Attributes:
        model: River model.
        examples: number of examples learned.
        max_label_time: largest label time among them in Unix milliseconds, None before the first.
        next_offset: offset from which on the model has learned no example.
        features: names of all features in the examples.
        offline_metrics: metrics of the trained version that the model descends from.
        unlearned: ranges of offsets, end exclusive, of the newest examples that it could not learn.
        unlearned_at: number of examples learned before the last of them.
        paused_from: for each paused source, the offset from which on none of its examples was
            learned.
        groups_first: True if the first label of a group is learned by its aggregate only.
    """

    model: Any
    examples: int = 0
    max_label_time: int | None = None
    next_offset: int = 0
    features: frozenset[str] = frozenset()
    offline_metrics: Mapping[str, float] = field(default_factory=dict)
    unlearned: list[list[int]] = field(default_factory=list)
    unlearned_at: int = -1
    paused_from: dict[str, int] = field(default_factory=dict)
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
            self.features = self.features.union(example.features)
        if self.max_label_time is None or example.label_time > self.max_label_time:
            self.max_label_time = example.label_time

    def note_unlearned(self, offset: int) -> None:
        """Keep the offset of an example that could not be learned; again while relearning is safe.

        Two such examples with none learned between them are in one range. One that comes after
        newer ones, because its source was paused, has a range of its own.
        """
        ranges = self.unlearned
        if ranges and offset < ranges[-1][1]:
            if not any(first <= offset < end for first, end in ranges):
                insort(ranges, [offset, offset + 1])
                del ranges[:-MAX_UNLEARNED]
            return
        if ranges and self.unlearned_at == self.examples:
            ranges[-1][1] = offset + 1
        else:
            ranges.append([offset, offset + 1])
            del ranges[:-MAX_UNLEARNED]
        self.unlearned_at = self.examples

    def pause_sources(self, names: Iterable[str], first: int) -> None:
        """Set the paused sources to these.

        Args:
            names: names of the sources.
            first: offset from which on it has learned no example, for those not paused before.
        """
        before = self.paused_from
        self.paused_from = {name: before.get(name, first) for name in names}

    def copied(self) -> "LearnedModel":
        """Return a deep copy, which learns without changing this one."""
        return deepcopy(self)


@dataclass(slots=True, kw_only=True)
class LearnerState(SlotsState):
    """Everything that a learner knows, and the content of a checkpoint.

    Attributes:
        fingerprint: fingerprint of the pipeline's declaration.
        learned: the model, and what it has learned.
        control: decisions that were applied.
        evaluator: metrics of the served predictions.
        constant_score: detector of a score that is the same for all events.
        unlearnable: number of examples that could not be learned.
        not_learned: number of examples that were evaluated only, by reason.
        unevaluated: number of examples whose evaluation failed.
        failures: those since the last window closed, by cause.
        thresholds: state of the declared thresholds.
    """

    fingerprint: str
    learned: LearnedModel
    evaluator: Evaluator
    control: ControlState = field(default_factory=ControlState)
    constant_score: ConstantScore = field(default_factory=ConstantScore)
    unlearnable: int = 0
    not_learned: dict[NotLearned, int] = field(default_factory=dict)
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
        )

    def configure(self, pipeline: Pipeline) -> None:
        """Take the settings outside the fingerprint from the pipeline as it is declared now."""
        self.evaluator.length = pipeline.window // timedelta(milliseconds=1)
        self.evaluator.task = task_of(pipeline)
