"""Learning the log of examples once more, as the learner did: decisions, what it passed over, all of it."""

from collections.abc import Iterable, Iterator

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.example import Example
from stream_app.core.learning.examples_log import Control, control_in, decode_example
from stream_app.core.learning.learner import Learner, LoadVersion
from stream_app.core.learning.learner_state import LearnerState
from stream_app.kafka.reader import TopicReader
from stream_app.model_store.manifest import Manifest
from stream_app.pipeline import Pipeline
from stream_app.records import InputPartition, Record
from stream_app.topic_kinds import topic_name
from stream_app.worker.roles.skipped_offsets import SkippedOffsets


class BeyondError(Exception):
    """A decision has had examples learned again from before the version that the replay began with."""


class LogReplay:
    """A learner of the pipeline's log, up to the offset `next`; it begins with `base`, or without one from nothing."""

    def __init__(
        self,
        pipeline: Pipeline,
        fingerprint: str,
        reader: TopicReader,
        load_version: LoadVersion,
        base: Manifest | None = None,
    ) -> None:
        self._task = task_of(pipeline)
        self._learner = Learner(pipeline, fingerprint)
        self._source = InputPartition(topic_name(pipeline.name, "examples"), 0)
        self._reader = reader
        self._load = load_version
        self._skips = SkippedOffsets(None)
        self._skips.restore(
            dict(reader.read_all(topic_name(pipeline.name, "learn.state"), 0)).items()
        )
        self._fingerprint = fingerprint
        self.next = self._first = 0 if base is None else base.version
        if base is not None:  # when it came out, learning was not held, or it would not have
            self.state.learned = load_version(base.version)
            self.state.control.decision = base.decision

    @property
    def state(self) -> LearnerState:
        """What the learner knows after all records before `next`."""
        return self._learner.state

    def advance(self, end: int) -> Iterator[int]:
        """Learn up to this offset, bit by bit; gives the offset of each record. Raises what `load_version` raises."""
        for record in self._records(self.next, end):
            self._take(record)
            self.next = record.offset + 1
            yield record.offset
        self.next = end

    def _take(self, record: Record) -> None:
        if record.offset in self._skips:
            return
        control = control_in(record.key, record.value)
        if control is not None:
            self._apply(record.offset, control)
            return
        example = decode_example(record.value, self._task)
        if isinstance(example, Example):
            self._learner.learn(record.offset, example)

    def _apply(self, offset: int, control: Control) -> None:
        self._check_reach(control)
        for _ in self._learner.apply(offset, control, self._load, self._examples):
            pass

    def _check_reach(self, control: Control) -> None:
        """Raise BeyondError if a resumption relearns examples from before the start of this replay."""
        if control.command != "resume" or self.state.control.is_void(control):
            return
        if control.since is not None and control.since < self._first:
            raise BeyondError

    def _examples(self, first: int, end: int) -> Iterator[tuple[int, Example]]:
        return self._skips.examples(self._records(first, end), self._task)

    def _records(self, start: int, end: int) -> Iterable[Record]:
        return self._reader.read_range(*self._source, start, end)
