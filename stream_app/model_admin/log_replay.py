"""Learning the log of examples once more, as the learner did: decisions, what it passed over, all of it."""

from collections.abc import Callable, Iterable, Iterator

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.example import Example
from stream_app.core.learning.control_record import SWITCHES, Control, control_in
from stream_app.core.learning.control_state import first_again, learn_again
from stream_app.core.learning.example_decoding import decode_example
from stream_app.core.learning.learned_model import LearnedModel
from stream_app.core.learning.learner import Learner, LearnerState
from stream_app.kafka.reader import TopicReader
from stream_app.model_store.manifest import Manifest
from stream_app.pipeline import Pipeline
from stream_app.records import InputPartition, Record
from stream_app.worker.roles.skipped_offsets import SkippedOffsets

Load = Callable[[int], LearnedModel]
"""What learning goes on from when it goes on from this version; ModelError if that cannot be had."""


class BeyondError(Exception):
    """A decision has had examples learned again from before the version that the replay began with."""


class LogReplay:
    """A learner of the pipeline's log, up to the offset `next`; it begins with `base`, or without one from nothing."""

    def __init__(
        self,
        pipeline: Pipeline,
        fingerprint: str,
        reader: TopicReader,
        load_version: Load,
        base: Manifest | None = None,
    ) -> None:
        self._task = task_of(pipeline)
        self._learner = Learner(pipeline, fingerprint)
        self._source = InputPartition(f"{pipeline.name}.examples", 0)
        self._reader = reader
        self._load = load_version
        self._skips = SkippedOffsets(None)
        self._skips.restore(dict(reader.read_all(f"{pipeline.name}.learn.state", 0)).items())
        self._fingerprint = fingerprint
        self.next = self._first = 0 if base is None else base.version
        if base is not None:  # when it came out, learning was not held, or it would not have
            self.state.take(load_version(base.version))
            self.state.epoch = base.epoch

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
            self._obey(record.offset, control)
            return
        example = decode_example(record.value, self._task)
        if isinstance(example, Example):
            self._learner.learn(record.offset, example)

    def _obey(self, offset: int, control: Control) -> None:
        state = self.state
        self._learner.decided(control)
        if not state.is_void(control):
            state.obey(
                offset, control, self._start_of(offset, control) if state.needs(control) else None
            )

    def _start_of(self, offset: int, control: Control) -> LearnedModel:
        """The version that a decision chooses, or what a held learner has; with what the decision has learned again."""
        if control.act in SWITCHES and control.version is not None:
            start = self._load(control.version)
        elif control.since is not None and control.since < self._first:
            raise BeyondError
        else:
            start = self.state
        first = first_again(start, control, offset)
        if first < offset:
            records = self._records(first, offset)
            learn_again(start, self._fingerprint, self._skips.examples(records, self._task))
        return start

    def _records(self, start: int, end: int) -> Iterable[Record]:
        return self._reader.read_range(*self._source, start, end)
