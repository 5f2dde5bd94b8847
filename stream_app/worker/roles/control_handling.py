"""Decisions in the log, as the learner comes to them: what they need is prepared while no transaction waits for it."""

from collections.abc import Iterator
from itertools import islice
from time import monotonic
from typing import Any

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.learning.control_record import LEARNER, SWITCHES, Control
from stream_app.core.learning.control_state import first_again, learn_again
from stream_app.core.learning.learned_model import LearnedModel
from stream_app.core.learning.learner import LearnerState
from stream_app.errors import ModelError, StoreError
from stream_app.kafka.reader import TopicReader
from stream_app.model_store.artifacts import ArtifactStore
from stream_app.model_store.decision_records import held, switched
from stream_app.model_store.lineage import learned_of
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_loading import read_model
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.model_store.signing import verify
from stream_app.model_store.trusted_keys import TrustedKeys
from stream_app.pipeline import Pipeline
from stream_app.records import Output
from stream_app.telemetry.logs import get_logger
from stream_app.worker.roles.skipped_offsets import SkippedOffsets
from stream_app.worker.roles.store_retry import WAIT_SECONDS
from stream_app.worker.roles.version_publisher import VersionPublisher

log = get_logger(__name__)

MOMENT = 0.2  # seconds of work between two looks at what else there is to do
_CHUNK = 100  # examples, between two looks at the clock


class ControlPreparation:
    """What the decision that comes next has the learner go on from: loaded, and made to learn again, bit by bit."""

    def __init__(
        self,
        pipeline: Pipeline,
        fingerprint: str,
        store: ArtifactStore,
        trusted: TrustedKeys,
        reader: TopicReader,
        versions: VersionPublisher,
        skips: SkippedOffsets,
    ) -> None:
        self._pipeline = pipeline
        self._task = task_of(pipeline)
        self._fingerprint = fingerprint
        self._store = store
        self._trusted = trusted
        self._reader = reader
        self._versions = versions
        self._skips = skips
        self._offset = -1
        self._again_at = 0.0

    def step(self, offset: int, control: Control, state: LearnerState) -> bool:
        """Work for a moment; whether that was enough. ModelError for a version that cannot be had, StoreError.

        The decision is the first record that `state` has not processed.
        """
        if monotonic() < self._again_at:
            return False
        try:
            self._begin(offset, control, state)
        except StoreError:
            self._again_at = monotonic() + WAIT_SECONDS
            raise
        until = monotonic() + MOMENT
        return all(monotonic() < until for _ in self._work)

    def finish(self, offset: int, control: Control, state: LearnerState) -> LearnedModel:
        """Work to the end; raises as `step`."""
        self._begin(offset, control, state)
        for _ in self._work:
            pass
        return self._start

    def loads(self, manifest: Manifest) -> bool:
        """Whether a version can be had; while the store is away, it is thought to."""
        try:
            self._model(manifest)
        except ModelError as error:
            log.error("version does not load", version=manifest.version, why=str(error))
            return False
        except StoreError:
            return True
        return True

    def _begin(self, offset: int, control: Control, state: LearnerState) -> None:
        if self._offset != offset:
            self._start = self._load(control) if control.act in SWITCHES else state.copied()
            self._work = self._learning_again(
                self._start, first_again(self._start, control, offset), offset
            )
            self._offset = offset

    def _load(self, control: Control) -> LearnedModel:
        """The version that a decision chooses."""
        name = self._pipeline.name
        manifest = self._versions.find(
            control.version, ModelRegistry.of(self._reader.read_all(f"{name}.models", 0))
        )
        return learned_of(manifest, self._model(manifest))

    def _model(self, manifest: Manifest) -> Any:
        verify(manifest, self._trusted)
        return read_model(self._store, manifest, self._pipeline, self._fingerprint)

    def _learning_again(self, start: LearnedModel, first: int, end: int) -> Iterator[None]:
        if first < end:
            records = iter(
                self._reader.read_range(f"{self._pipeline.name}.examples", 0, first, end)
            )
            while chunk := list(islice(records, _CHUNK)):
                learn_again(start, self._fingerprint, self._skips.examples(chunk, self._task))
                yield


def obeyed(pipeline: str, control: Control, versions: VersionPublisher, now: int) -> list[Output]:
    """What is written about a decision that has just been obeyed.

    Whoever else decides has written mark and audit already; the learner does so when it reads its own decision.
    """
    before, own = versions.champion, control.who == LEARNER
    if control.act in SWITCHES and control.version is not None:
        audit = [switched(pipeline, control, now, before)] if own else []
        return versions.choose(control.version, control.epoch) + audit
    if control.act == "hold" and own:
        return held(pipeline, control, now)
    if control.act == "pin" and control.version is not None:
        return versions.keep(control.version)
    if control.act == "unpin" and control.version is not None:
        versions.let_go(control.version)
    return []
