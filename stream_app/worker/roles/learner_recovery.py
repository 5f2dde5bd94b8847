"""What earlier learners of a pipeline have left: read, and checked before another goes on from it."""

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from stream_app.core.learning.learner_state import STATE_FORMAT, LearnerState
from stream_app.core.measurement import LimitCheck, Measurement
from stream_app.core.monitoring.alarms import Alarms
from stream_app.errors import ModelError
from stream_app.model_store.artifacts import ArtifactStore
from stream_app.model_store.families import pipeline_names
from stream_app.model_store.manifest import CHECKPOINT_KEY, Checkpoint, Manifest, check_runtime
from stream_app.model_store.model_loading import pipeline_changed_error
from stream_app.model_store.pickling import dump, load
from stream_app.model_store.signing import verify
from stream_app.model_store.trusted_keys import TrustedKeys
from stream_app.pipeline import Pipeline
from stream_app.records import InputPartition, Output
from stream_app.telemetry.logs import get_logger
from stream_app.worker.roles.store_retry import patiently
from stream_app.worker.roles.threshold_policy import THRESHOLDS_KEY

log = get_logger(__name__)

ALARMS_KEY = b"alarms"


class RecoveredLearner(NamedTuple):
    """The alarms that last, the thresholds that were last noted, and the newest checkpoint."""

    alarms: Alarms
    thresholds: bytes | None
    checkpoint: Checkpoint | None

    @property
    def learned_to(self) -> int:
        """The offset that the checkpoint has come to."""
        return 0 if self.checkpoint is None else self.checkpoint.offset


def read_past(latest: Mapping[bytes | None, bytes | None]) -> RecoveredLearner:
    """From the newest value of each key of the state topic; without a checkpoint that this release cannot read."""
    alarms, value = latest.get(ALARMS_KEY), latest.get(CHECKPOINT_KEY.encode())
    checkpoint = None if value is None else Checkpoint.decode(value)
    if checkpoint is not None and checkpoint.shape != STATE_FORMAT:
        log.warning(
            "the checkpoint is of another release: everything is learned again",
            offset=checkpoint.offset,
        )
        checkpoint = None
    lasting = Alarms() if alarms is None else Alarms.from_dict(orjson.loads(alarms))
    return RecoveredLearner(lasting, latest.get(THRESHOLDS_KEY), checkpoint)


def load_state(
    checkpoint: Checkpoint, store: ArtifactStore, trusted: TrustedKeys, pipeline: Pipeline
) -> LearnerState:
    """The state of a checkpoint, however long the store is away; ModelError if it must not be loaded."""
    verify(checkpoint, trusted)
    check_runtime(checkpoint)
    data = patiently(lambda: store.get(checkpoint.sha256, checkpoint.size))
    state = load(data, pipeline_names(pipeline.model, pipeline.features))
    if not isinstance(state, LearnerState) or checkpoint.name != pipeline.name:
        raise ModelError(
            "the checkpoint is no learner state of this pipeline",
            "Was the topic written to by hand?",
        )
    return state


def refuse_other_pipeline(
    pipeline: Pipeline, fingerprint: str, before: Checkpoint | Manifest | None
) -> None:
    """ModelError if what was learned `before` was learned under another fingerprint."""
    if before is not None and before.fingerprint != fingerprint:
        raise pipeline_changed_error(pipeline.name, before.fingerprint, fingerprint)


def refuse_new(pipeline: Pipeline, *, used: bool) -> None:
    """ModelError if nothing can be learned from the beginning: the model cannot be stored and read, or is untrained.

    `used` says whether there are versions, or examples that were learned.
    """
    load(dump(pipeline.model()), pipeline_names(pipeline.model, pipeline.features))
    if not used and pipeline.untrained == "rejected":
        raise ModelError(
            f"pipeline {pipeline.name} has no model version, and an untrained model may not score",
            'Train one from files (`stream-app train PIPELINE`) and promote it, or declare untrained="allowed"',
        )


def refuse_gap(source: InputPartition, kept: tuple[int, int], start: int, end: int) -> None:
    """ModelError if the log, of which the offsets `kept` are there, cannot be learned from `start` to `end` again."""
    low, high = kept
    if start < end and not (low <= start and end <= high):
        raise ModelError(
            f"{source.topic} has offsets {low} to {high}, but the model has to be learned from {start} to {end} again",
            "Restore the topic or the learner's checkpoint from a backup, or start under a new pipeline name",
        )


def offsets_lost(pipeline: Pipeline, committed: int, known: int) -> Output:
    """The alarm that the group's offset is less than what is `known` to be learned."""
    verdict = LimitCheck(float(known), True)
    found = Measurement(
        "alarm", "group-offset-lost", 0, 0, 1, float(committed), verdict, "checkpoint"
    )
    return found.output(pipeline.name)
