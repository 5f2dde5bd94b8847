"""Control records in the examples log: prepared between transactions, then applied inside one."""

from collections.abc import Iterable, Iterator
from math import inf
from time import monotonic
from typing import Any

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.examples import Example
from stream_app.core.learning.control_commands import LEARNER, VERSION_CHANGES, Control
from stream_app.core.learning.learner import Learner
from stream_app.core.learning.learner_state import LearnedModel
from stream_app.errors import ModelError, StoreError
from stream_app.kafka.retrying_reader import TopicReader
from stream_app.model_store.artifacts import STORE_RETRY_SECONDS, ArtifactStore
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_loading import read_model, to_learned_model
from stream_app.model_store.model_registry import (
    ModelRegistry,
    learning_records,
    version_change_audit,
)
from stream_app.model_store.signing import verify
from stream_app.model_store.trusted_keys import TrustedKeys
from stream_app.pipeline import Pipeline
from stream_app.records import Output
from stream_app.telemetry.logs import get_logger
from stream_app.topic_kinds import topic_name
from stream_app.worker.roles.learner_recovery import SkippedOffsets
from stream_app.worker.roles.version_publisher import VersionPublisher

log = get_logger(__name__)

# Time of preparation in one step; between steps the task looks for other work.
TIME_SLICE_SECONDS = 0.2


class ControlPreparation:
    """Prepares the next control record in time slices: loads its version and relearns examples.

    Args:
        pipeline: loaded pipeline.
        fingerprint: fingerprint of its declaration.
        store: store of the artifacts.
        trusted: keys that verify manifests.
        reader: reader of the models topic and the examples log.
        versions: publisher, which knows retired versions.
        skips: offsets that are not relearned.
    """

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
        self._steps: Iterator[bool] = iter(())
        self._prepared = False
        # Time of the next attempt after the store failed, in monotonic seconds.
        self._retry_at = 0.0

    def step(self, offset: int, control: Control, learner: Learner) -> bool:
        """Prepare for one time slice.

        Args:
            offset: offset of the control record, the first that the learner has not processed.
            control: the control record.
            learner: learner that applies it.

        Returns:
            True if only the change of the state is left, for which `finish` is called.

        Raises:
            ModelError: the selected version cannot be loaded.
            StoreError: the artifact store is unavailable; the next attempt waits.
        """
        if monotonic() < self._retry_at:
            return False
        try:
            return self._prepare(offset, control, learner, monotonic() + TIME_SLICE_SECONDS)
        except StoreError:
            self._retry_at = monotonic() + STORE_RETRY_SECONDS
            raise

    def finish(self, offset: int, control: Control, learner: Learner) -> None:
        """Prepare what is left, and apply the control record; raises as `step`."""
        self._prepare(offset, control, learner, inf)
        self._offset = -1
        for _ in self._steps:
            pass

    def is_loadable(self, manifest: Manifest) -> bool:
        """Return False if a version cannot be loaded. An unavailable store counts as loadable."""
        try:
            self._read_model(manifest)
        except ModelError as error:
            log.error("version does not load", version=manifest.version, why=str(error))
            return False
        except StoreError:
            return True
        return True

    def _prepare(self, offset: int, control: Control, learner: Learner, until: float) -> bool:
        if self._offset != offset:
            self._steps = learner.apply(offset, control, self._load, self._read)
            self._offset, self._prepared = offset, False
        try:
            while not self._prepared:
                self._prepared = next(self._steps)
                if not self._prepared and monotonic() >= until:
                    break
        except Exception:
            self._offset = -1
            raise
        return self._prepared

    def _load(self, version: int) -> LearnedModel:
        registry = ModelRegistry.of(
            self._reader.read_all(topic_name(self._pipeline.name, "models"), 0)
        )
        manifest = self._versions.find(version, registry)
        return to_learned_model(manifest, self._read_model(manifest))

    def _read_model(self, manifest: Manifest) -> Any:
        verify(manifest, self._trusted)
        return read_model(self._store, manifest, self._pipeline, self._fingerprint)

    def _read(self, first: int, end: int) -> Iterable[tuple[int, Example | None]]:
        topic = topic_name(self._pipeline.name, "examples")
        return self._skips.examples(self._reader.read_range(topic, 0, first, end), self._task)


def applied_records(
    pipeline: str, control: Control, versions: VersionPublisher, now: int
) -> list[Output]:
    """Return the records to write about a control record that was just applied.

    Operators have written annotation and audit entry already; the learner writes those of its own
    control records when it reads them back.

    Args:
        pipeline: name of the pipeline.
        control: the control record.
        versions: publisher of the learner.
        now: wall-clock time in Unix milliseconds.
    """
    before, own = versions.champion, control.who == LEARNER
    if control.command in VERSION_CHANGES and control.version is not None:
        audit = [version_change_audit(pipeline, control, now, before)] if own else []
        return versions.select(control.version, control.decision) + audit
    if control.command == "pause" and own:
        return learning_records(pipeline, control, now)
    if control.command == "pin" and control.version is not None:
        return versions.retain(control.version)
    if control.command == "unpin" and control.version is not None:
        versions.release(control.version)
    return []
