"""The learn role: the examples log, in order, into model versions; checkpoints bound what a restart learns again."""

from collections.abc import Iterable, Mapping, Sequence

import orjson

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.example import Example
from stream_app.core.learning.examples_log import (
    CONTROL_KEY,
    VERSION_CHANGES,
    Control,
    control_in,
    decode_example,
)
from stream_app.core.learning.learner import Learner
from stream_app.core.learning.learner_state import LearnerState
from stream_app.core.measurement import LimitCheck, Measurement
from stream_app.errors import ModelError, StoreError
from stream_app.kafka.reader import TopicReader
from stream_app.model_store.artifacts import ArtifactStore
from stream_app.model_store.manifest import Checkpoint
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.model_store.signing import open_signer
from stream_app.model_store.trusted_keys import TrustedKeys
from stream_app.pipeline import Pipeline
from stream_app.records import InputPartition, Output, Record
from stream_app.settings import Settings
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import EXAMPLES_LEARNED, MODEL_VERSION
from stream_app.topic_kinds import topic_name
from stream_app.worker.processor import WaitReason
from stream_app.worker.quarantine.record_guards import ExampleGuard
from stream_app.worker.roles.control_handling import ControlPreparation, applied_records
from stream_app.worker.roles.learner_recovery import (
    ALARMS_KEY,
    load_state,
    offsets_lost,
    read_past,
    refuse_gap,
    refuse_new,
    refuse_other_pipeline,
)
from stream_app.worker.roles.output_encoders import Write, measurements_written
from stream_app.worker.roles.publishing_schedule import PublishingSchedule
from stream_app.worker.roles.reporting import show_measurements
from stream_app.worker.roles.skipped_offsets import SkippedOffsets
from stream_app.worker.roles.store_retry import patiently
from stream_app.worker.roles.threshold_policy import ThresholdPolicy
from stream_app.worker.roles.version_publisher import VersionPublisher

log = get_logger(__name__)

UNOBEYED = "decision-not-obeyed"


class LearnProcessor:
    """Drives a `Learner` inside the one task of `<pipeline>.examples`.

    A version's number is the offset of the first example it has not learned. The state after an example is a function
    of the log, decisions included, so after a crash the same versions come out; only when they come out follows the
    clock. While the store is away it goes on learning: versions and checkpoints come out when it is back, and an alarm
    lasts meanwhile; only a decision about versions waits for it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        fingerprint: str,
        settings: Settings,
        store: ArtifactStore,
        reader: TopicReader,
        write: Write = orjson.dumps,
        guard: ExampleGuard | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._task = task_of(pipeline)
        self._fingerprint = fingerprint
        self._settings = settings
        self._store = store
        self._reader = reader
        self._write = write
        self._source = InputPartition(topic_name(pipeline.name, "examples"), 0)
        self._skips = SkippedOffsets(guard)
        self.waiting_for: WaitReason | None = None
        self._notices: list[Output] = []
        self._next = 0
        self._now = 0
        self._shown = 0

    @property
    def state(self) -> LearnerState:
        """What the learner knows now."""
        return self._learner.state

    def restore(self, committed: Mapping[InputPartition, int]) -> Mapping[InputPartition, int]:
        """The newest checkpoint, then every example from there to the committed offset, silently.

        Raises ModelError if the pipeline has changed, the log no longer reaches back, or an artifact is damaged.
        """
        pipeline, limits = self._pipeline, self._settings.learn
        signer = open_signer(self._settings, pipeline.name)
        registry = ModelRegistry.of(
            self._reader.read_all(topic_name(pipeline.name, "models"), 0)
        ).signed_by(signer.trusted)
        self._versions = versions = VersionPublisher(
            pipeline, self._store, registry, signer, limits.keep_versions
        )
        self._preparation = ControlPreparation(
            pipeline,
            self._fingerprint,
            self._store,
            signer.trusted,
            self._reader,
            versions,
            self._skips,
        )
        self._heeding = ThresholdPolicy(pipeline, self._preparation.loads)
        latest = dict(self._reader.read_all(topic_name(pipeline.name, "learn.state"), 0))
        self._skips.restore(latest.items())
        self._past = past = read_past(latest)
        self._alarms = past.alarms
        newest = versions.newest
        before = past.checkpoint or (None if newest is None else versions.versions[newest])
        refuse_other_pipeline(pipeline, self._fingerprint, before)
        start, known = committed[self._source], max(newest or 0, past.learned_to)
        if start < known and known > 0:
            self._notices.append(offsets_lost(pipeline, start, known))
        self._next = max(start, known, 0)
        self._learner = Learner(
            pipeline, self._fingerprint, self._state_of(past.checkpoint, signer.trusted)
        )
        self._issuing = PublishingSchedule(limits, versions, past.alarms, past.learned_to)
        self._learn_again(past.learned_to)
        return {self._source: self._next if start >= 0 or known else -1}

    def ready(self, records: Sequence[Record], now: int) -> int:
        """All up to a decision for which something has to be prepared first, some of which is done then."""
        for index, record in enumerate(records):
            if record.key == CONTROL_KEY and not self._prepared(record, now, is_next=index == 0):
                return index
        self.waiting_for = None
        return len(records)

    def process(self, source: InputPartition, records: Sequence[Record], now: int) -> list[Output]:
        """Learn; report what there is to report, and publish a version when one is due."""
        outputs = self._start(now)
        found = self._learn(records, now)
        show_measurements(found)
        outputs += found + self._take_notices()
        self._next = records[-1].offset + 1
        return measurements_written(
            outputs + self._publish_if_due(now) + self._alarmed(now), self._write
        )

    def idle(self, now: int, at_end: bool) -> list[Output]:
        """Publish what has been learned since the last version."""
        outputs = self._start(now) + self._publish_if_due(now)
        return measurements_written(outputs + self._alarmed(now), self._write)

    def before_commit(self, positions: Mapping[InputPartition, int], now: int) -> list[Output]:
        """A checkpoint, when one is due."""
        self._next, self._now = positions[self._source], now
        return self._issuing.checkpoint_if_due(self._next, self.state, now)

    def after_commit(self) -> None:
        """Delete what is superseded; show the committed counts as metrics."""
        self._skips.committed(self._next)
        self._versions.settle(self._now)
        self._show_learned()
        MODEL_VERSION.set(self._versions.champion or 0)

    def _show_learned(self) -> None:
        EXAMPLES_LEARNED.inc(self.state.learned.examples - self._shown)
        self._shown = self.state.learned.examples

    def _start(self, now: int) -> list[Output]:
        """Once: what restoring has found, and version 0 if there is none at all and it may be served."""
        outputs = self._take_notices() + self._heeding.begin(
            self._alarms, self._past.thresholds, now
        )
        if self._pipeline.untrained == "rejected":
            return outputs
        return outputs + self._issuing.publish_first(self._next, self.state, now)

    def _take_notices(self) -> list[Output]:
        outputs = self._notices + self._skips.notices
        self._notices, self._skips.notices = [], []
        show_measurements(outputs)
        return outputs

    def _publish_if_due(self, now: int) -> list[Output]:
        return self._issuing.publish_if_due(self._next, self.state, now)

    def _alarmed(self, now: int) -> list[Output]:
        """What there is to tell of the alarms, and which of them last, for whoever goes on."""
        found = [measurement.output(self._pipeline.name) for measurement in self._alarms.due(now)]
        show_measurements(found)
        return found and [
            *found,
            Output("learn.state", 0, ALARMS_KEY, orjson.dumps(self._alarms.as_dict())),
        ]

    def _learn(self, records: Iterable[Record], now: int | None) -> list[Output]:
        """Learn, and obey; without `now` silently."""
        outputs: list[Output] = []
        for record in self._skips.noting(records):
            control = control_in(record.key, record.value)
            if control is not None:
                found = self._apply(record, control, now)
            else:
                example = self._skips.code(record) or decode_example(record.value, self._task)
                if isinstance(example, Example):
                    found = self._learner.learn(record.offset, example)
                    found += self._heed(now) if found else []
                else:
                    found = self._learner.skip(record.offset, example)
            if found:
                outputs += found
        return outputs

    def _heed(self, now: int | None) -> list[Output]:
        """What thresholds ask for; without `now` it was done before."""
        found, versions = self._learner.take_findings(), self._versions.versions
        if now is None:
            return []
        heed = self._heeding.heed
        return [
            output for one in found for output in heed(one, self._alarms, versions, self.state, now)
        ]

    def _prepared(self, record: Record, now: int, *, is_next: bool) -> bool:
        """Whether the decision of this record, if it is one, can be obeyed at once, or never can."""
        control = control_in(record.key, record.value)
        if control is None or record.offset in self._skips or not control.needs_preparation:
            return True
        self.waiting_for = WaitReason.DECISION
        if not is_next:  # first all that comes before it
            return False
        if self.state.control.is_void(control):
            return True
        try:
            if not self._preparation.step(record.offset, control, self._learner):
                return False
            self._issuing.store_answered(now)
        except StoreError as error:
            self._issuing.store_failed(error, now)
            return False
        except ModelError as error:
            self._give_up(record.offset, control, error)
        return True

    def _give_up(self, offset: int, control: Control, error: ModelError) -> None:
        """A version that cannot be had is never served; every replay must pass over this decision as well."""
        log.error(
            "control record cannot be applied",
            command=control.command,
            version=control.version,
            why=str(error),
        )
        self._skips.note(offset, UNOBEYED)
        verdict = LimitCheck(None, True)
        found = Measurement(
            "alarm", UNOBEYED, 0, 0, 1, None, verdict, f"offset {offset}", control.version
        )
        self._notices.append(found.output(self._pipeline.name))

    def _apply(self, record: Record, control: Control, now: int | None) -> list[Output]:
        state, offset = self.state, record.offset
        if self._skips.code(record) is not None:
            self._learner.reset_thresholds(control)
            return []
        void = state.control.is_void(control)
        self._show_learned()
        patiently(lambda: self._preparation.finish(offset, control, self._learner))
        if void:
            log.info(
                "control record is void",
                command=control.command,
                version=control.version,
                who=control.who,
                offset=offset,
            )
            return []
        if control.command in VERSION_CHANGES:
            self._shown = state.learned.examples
            self._issuing.begin(state)
        if now is None:
            return []
        return applied_records(self._pipeline.name, control, self._versions, now)

    def _state_of(self, checkpoint: Checkpoint | None, trusted: TrustedKeys) -> LearnerState | None:
        if checkpoint is None:
            refuse_new(self._pipeline, used=self._next > 0 or bool(self._versions.versions))
            return None
        state = load_state(checkpoint, self._store, trusted, self._pipeline)
        self._versions.resume(checkpoint)
        return state

    def _learn_again(self, start: int) -> None:
        refuse_gap(self._source, self._reader.ends(self._source), start, self._next)
        self._shown = self.state.learned.examples
        if start < self._next:
            self._learn(self._reader.read_range(*self._source, start, self._next), None)
        self._issuing.begin(self.state)
        self._shown = self.state.learned.examples
