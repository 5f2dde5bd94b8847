"""Recovery of a learner: state of earlier learners, checked before learning continues.

Records of the examples log that a learner skips are kept in its state, for every replay.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import orjson

from stream_app.core.evaluation.prediction_tasks import PredictionTask
from stream_app.core.examples import Example, decode_example
from stream_app.core.learning.learner_state import STATE_FORMAT, LearnerState
from stream_app.core.monitoring.alarms import LastingAlarms
from stream_app.core.published_records import LimitCheck, Measurement
from stream_app.errors import ModelError
from stream_app.model_store.artifacts import ArtifactStore, wait_for_store
from stream_app.model_store.manifest import CHECKPOINT_KEY, Checkpoint, Manifest, check_runtime
from stream_app.model_store.model_loading import pipeline_changed_error
from stream_app.model_store.pickling import dump, load, pipeline_names
from stream_app.model_store.signing import verify
from stream_app.model_store.trusted_keys import TrustedKeys
from stream_app.pipeline import Pipeline
from stream_app.records import InputPartition, Output, Record
from stream_app.telemetry.logs import get_logger
from stream_app.worker.quarantine.quarantine import ExampleGuard
from stream_app.worker.roles.threshold_policy import THRESHOLDS_KEY

log = get_logger(__name__)

ALARMS_KEY = b"alarms"
# Prefix of a key of the state topic, before the offset.
SKIP_PREFIX = b"skip/"


class RecoveredLearner(NamedTuple):
    """Records of an earlier learner.

    Attributes:
        alarms: open alarms.
        thresholds: declared thresholds, None before the first learner.
        checkpoint: newest checkpoint, None if there is none that this release can read.
    """

    alarms: LastingAlarms
    thresholds: bytes | None
    checkpoint: Checkpoint | None

    @property
    def next_offset(self) -> int:
        """Offset of the first example that the checkpoint does not cover."""
        return 0 if self.checkpoint is None else self.checkpoint.offset


def decode_recovered(latest: Mapping[bytes | None, bytes | None]) -> RecoveredLearner:
    """Return the records in the newest value of each key of the state topic.

    Raises:
        ModelError: the checkpoint record is damaged.
    """
    alarms, value = latest.get(ALARMS_KEY), latest.get(CHECKPOINT_KEY.encode())
    checkpoint = None if value is None else Checkpoint.decode(value)
    if checkpoint is not None and checkpoint.state_format != STATE_FORMAT:
        log.warning(
            "checkpoint of another release, relearning all examples", offset=checkpoint.offset
        )
        checkpoint = None
    open_alarms = (
        LastingAlarms() if alarms is None else LastingAlarms.from_dict(orjson.loads(alarms))
    )
    return RecoveredLearner(open_alarms, latest.get(THRESHOLDS_KEY), checkpoint)


def load_state(
    checkpoint: Checkpoint, store: ArtifactStore, trusted: TrustedKeys, pipeline: Pipeline
) -> LearnerState:
    """Load the state of a checkpoint. Blocks while the store is away.

    Raises:
        ModelError: the state is not signed by a trusted key, damaged, or of another pipeline.
    """
    verify(checkpoint, trusted)
    check_runtime(checkpoint)
    data = wait_for_store(lambda: store.get(checkpoint.sha256, checkpoint.size))
    state = load(data, pipeline_names(pipeline.model, pipeline.features))
    if not isinstance(state, LearnerState) or checkpoint.name != pipeline.name:
        raise ModelError(
            "the checkpoint is not a learner state of this pipeline",
            "The topic was modified by another program. Restore the record from a backup",
        )
    return state


def check_fingerprint(
    pipeline: Pipeline, fingerprint: str, before: Checkpoint | Manifest | None
) -> None:
    """Check that the model was learned under the present declaration.

    Raises:
        IncompatibleModelError: the declaration has changed.
    """
    if before is not None and before.fingerprint != fingerprint:
        raise pipeline_changed_error(pipeline.name, before.fingerprint, fingerprint)


def check_new_model(pipeline: Pipeline, *, is_used: bool) -> None:
    """Check that learning can start without a checkpoint.

    Args:
        pipeline: loaded pipeline.
        is_used: True if there are versions, or examples that were learned.

    Raises:
        ModelError: the model cannot be stored and loaded, or may not score untrained.
    """
    load(dump(pipeline.model()), pipeline_names(pipeline.model, pipeline.features))
    if not is_used and pipeline.untrained == "rejected":
        raise ModelError(
            f"pipeline {pipeline.name} has no model version, and an untrained model may not score",
            "Train one from files (`stream-app train PIPELINE`) and promote it, "
            'or declare untrained="allowed"',
        )


def check_log_covers(source: InputPartition, kept: tuple[int, int], start: int, end: int) -> None:
    """Check that the log still has the examples to relearn.

    Args:
        source: partition of the log.
        kept: its beginning and end offsets.
        start: first offset to relearn.
        end: end, exclusive, of the offsets to relearn.

    Raises:
        ModelError: some of them are missing.
    """
    low, high = kept
    if start < end and not (low <= start and end <= high):
        raise ModelError(
            f"{source.topic} has offsets {low} to {high}, "
            f"but the model must relearn offsets {start} to {end}",
            "Restore the topic or the learner's checkpoint from a backup, "
            "or start under a new pipeline name",
        )


def offset_lost_alarm(pipeline: Pipeline, committed: int, known: int) -> Output:
    """Return the alarm of a committed offset before what is known to be learned."""
    alarm = Measurement(
        "alarm",
        "group-offset-lost",
        0,
        0,
        1,
        float(committed),
        LimitCheck(float(known), True),
        "checkpoint",
    )
    return alarm.output(pipeline.name)


class SkippedOffsets:
    """Skipped offsets with the error code of each.

    Args:
        guard: detects examples that crash the learner; None for a learner without quarantine.

    Attributes:
        unwritten: records of the state topic that are not written yet.
    """

    def __init__(self, guard: ExampleGuard | None) -> None:
        self._guard = guard
        self._codes: dict[int, str] = {}
        self.unwritten: list[Output] = []

    def restore(self, latest: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Load from the newest value of each key of the state topic."""
        self._codes = {
            int(key.removeprefix(SKIP_PREFIX)): code.decode()
            for key, code in latest
            if key and key.startswith(SKIP_PREFIX) and code
        }

    def __contains__(self, offset: int) -> bool:
        return offset in self._codes

    @property
    def may_skip(self) -> bool:
        """True if records may have to be skipped; False for nearly every learner."""
        return bool(self._codes) or (self._guard is not None and self._guard.has_candidates)

    def journaled(self, records: Iterable[Record]) -> Iterable[Record]:
        """Return the records, each written to the journal before it is learned."""
        return records if self._guard is None else self._guard.journaled(records)

    def committed(self, end: int) -> None:
        """Forget quarantine candidates before an offset: they were learned or skipped."""
        if self._guard is not None:
            self._guard.committed(end)

    def skip(self, offset: int, code: str) -> None:
        """Skip an offset from now on."""
        self._codes[offset] = code
        self.unwritten.append(Output("learn.state", 0, SKIP_PREFIX + b"%d" % offset, code.encode()))

    def code(self, record: Record) -> str | None:
        """Return the error code of a record to skip, else None.

        Skips it from now on if it has crashed learners.
        """
        code = self._codes.get(record.offset)
        if code is None and self._guard is not None:
            code = self._guard.poison_code(record.offset)
            if code is not None:
                self.skip(record.offset, code)
        return code

    def examples(
        self, records: Iterable[Record], task: PredictionTask
    ) -> Iterator[tuple[int, Example | None]]:
        """Yield the examples, each with its offset; None in place of a skipped one."""
        for record in self.journaled(records):
            if self.code(record) is not None:
                yield record.offset, None
                continue
            example = decode_example(record.value, task)
            if isinstance(example, Example):
                yield record.offset, example
