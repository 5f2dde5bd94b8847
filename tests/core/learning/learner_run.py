"""Learner over a log in memory, and the content of its state."""

from collections.abc import Iterator, Sequence

from hypothesis import strategies as st

from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.examples import Example
from stream_app.core.learning.control_commands import Control, ControlCommand
from stream_app.core.learning.learner import Learner
from stream_app.core.learning.learner_state import LearnedModel, LearnerState
from stream_app.model_store.model_loading import LoadedModel
from stream_app.model_store.pickling import dump, load
from tests.learning import ALL_NAMES, FINGERPRINT, examples, pipeline, scores_of

Log = Sequence[Example | Control]
STREAM = examples(120)


def control(
    command: ControlCommand,
    version: int | None = None,
    decision: int = 0,
    since: int | None = None,
    source: str | None = None,
) -> Control:
    return Control(
        command, version, decision, "2026-01-01T00:00:00Z", "ann@here", "test", since, source
    )


class LearnerRun:
    """Learner over a log, which publishes a version after every tenth record."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.learner = Learner(pipeline(), FINGERPRINT)
        self.versions = {0: self.learner.state.learned.copied()}

    def process(self, start: int, end: int) -> None:
        for offset in range(start, end):
            record = self.log[offset]
            if isinstance(record, Control):
                for _ in self.learner.apply(offset, record, self._version, self._examples):
                    pass
            else:
                self.learner.learn(offset, record)
            if offset % 10 == 9 and not self.learner.state.control.paused:
                version = self.versions[offset + 1] = self.learner.state.learned.copied()
                # As the manifest says it.
                version.next_offset = offset + 1

    def restart(self, checkpoint: bytes) -> None:
        """Continue from a checkpoint."""
        self.learner = Learner(pipeline(), FINGERPRINT, load(checkpoint, ALL_NAMES))

    def _version(self, version: int) -> LearnedModel:
        return self.versions[version].copied()

    def _examples(self, first: int, end: int) -> Iterator[tuple[int, Example]]:
        for offset in range(first, end):
            record = self.log[offset]
            if isinstance(record, Example):
                yield offset, record


def content(state: LearnerState) -> tuple[object, ...]:
    """Everything in a state, comparable bit for bit."""
    learned = state.learned
    scores = scores_of(LoadedModel("p", 0, FINGERPRINT, learned.model, BinaryTask()))
    counts = (
        learned.examples,
        learned.max_label_time,
        learned.next_offset,
        learned.features,
        state.unlearnable,
    )
    return scores, state.control, counts, state.evaluator, state.failures


def whole_and_crashed(log: Log, data: st.DataObject) -> tuple[LearnerRun, LearnerRun]:
    """Return a run over a log, and one that crashed at an offset and went back to a checkpoint."""
    whole = LearnerRun(log)
    whole.process(0, len(log))
    checkpointed = data.draw(st.integers(0, len(log)), label="checkpointed at")
    crashed = data.draw(st.integers(checkpointed, len(log)), label="crashed at")
    run = LearnerRun(log)
    run.process(0, checkpointed)
    checkpoint = dump(run.learner.state)
    run.process(checkpointed, crashed)
    run.restart(checkpoint)
    run.process(checkpointed, len(log))
    return whole, run
