"""Learn role: learns the examples log in order, and publishes model versions and checkpoints."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import orjson

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.examples import decode_example
from stream_app.core.learning.control_commands import (
    CONTROL_KEY,
    VERSION_CHANGES,
    Control,
    control_in,
    decode_control,
)
from stream_app.core.learning.learner import Learner
from stream_app.core.learning.learner_state import LearnerState
from stream_app.core.published_records import LimitCheck, Measurement
from stream_app.errors import ModelError, StoreError
from stream_app.kafka.retrying_reader import TopicReader
from stream_app.model_store.artifacts import ArtifactStore, wait_for_store
from stream_app.model_store.manifest import Checkpoint
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.model_store.signing import open_signer
from stream_app.model_store.trusted_keys import TrustedKeys
from stream_app.pipeline import Pipeline
from stream_app.records import InputPartition, Output, Record
from stream_app.settings import Settings
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import MODEL_VERSION
from stream_app.topic_kinds import topic_name
from stream_app.worker.processor import WaitReason, WrittenOffsets
from stream_app.worker.quarantine.quarantine import ExampleGuard
from stream_app.worker.roles.control_preparation import ControlPreparation, applied_records
from stream_app.worker.roles.learner_recovery import (
    ALARMS_KEY,
    SkippedOffsets,
    check_fingerprint,
    check_log_covers,
    check_new_model,
    decode_recovered,
    load_state,
    offset_lost_alarm,
)
from stream_app.worker.roles.learning_metrics import ExportedLearning
from stream_app.worker.roles.output_encoders import Encode, encode_measurements
from stream_app.worker.roles.publishing_schedule import PublishingSchedule
from stream_app.worker.roles.reporting import export_measurements
from stream_app.worker.roles.threshold_policy import ThresholdPolicy
from stream_app.worker.roles.version_publisher import VersionPublisher

log = get_logger(__name__)

NOT_APPLIED = "decision-not-applied"


class LearnProcessor:
    """Drives the `Learner` of a pipeline.

    The number of a version is the offset of the first example that it has not learned. The state
    after an example is a function of the log, control records included, so a restart produces the
    same versions; only their times follow the clock. While the store is away, learning continues:
    versions and checkpoints are published once it is back, and an alarm is open until then. Only
    decisions about versions wait for it.

    Args:
        pipeline: loaded pipeline.
        fingerprint: fingerprint of its declaration.
        settings: settings of the installation.
        store: store of the artifacts.
        reader: reader of Kafka topics.
        encode: encoder of measurements.
        guard: detects examples that crash the learner.

    Attributes:
        waiting_for: reason why `ready` held records back, or None.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        fingerprint: str,
        settings: Settings,
        store: ArtifactStore,
        reader: TopicReader,
        encode: Encode = orjson.dumps,
        guard: ExampleGuard | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._task = task_of(pipeline)
        self._fingerprint = fingerprint
        self._settings = settings
        self._store = store
        self._reader = reader
        self._encode = encode
        self._source = InputPartition(topic_name(pipeline.name, "examples"), 0)
        self._skips = SkippedOffsets(guard)
        self.waiting_for: WaitReason | None = None
        self._notices: list[Output] = []
        self._next = 0
        self._now = 0
        self._exported = ExportedLearning()

    @property
    def state(self) -> LearnerState:
        """Present state of the learner."""
        return self._learner.state

    def restore(self, committed: Mapping[InputPartition, int]) -> Mapping[InputPartition, int]:
        """Load the newest checkpoint and relearn the examples up to the committed offset.

        Relearning writes nothing.

        Raises:
            ModelError: the declaration has changed, examples to relearn are missing, or an
                artifact is damaged.
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
        self._policy = ThresholdPolicy(pipeline, self._preparation.is_loadable)
        latest = dict(self._reader.read_all(topic_name(pipeline.name, "learn.state"), 0))
        self._skips.restore(latest.items())
        self._recovered = recovered = decode_recovered(latest)
        self._alarms = recovered.alarms
        newest = versions.newest
        before = recovered.checkpoint or (None if newest is None else versions.versions[newest])
        check_fingerprint(pipeline, self._fingerprint, before)
        start, known = committed[self._source], max(newest or 0, recovered.next_offset)
        if start < known and known > 0:
            self._notices.append(offset_lost_alarm(pipeline, start, known))
        self._next = max(start, known, 0)
        self._learner = Learner(
            pipeline, self._fingerprint, self._state_of(recovered.checkpoint, signer.trusted)
        )
        self._schedule = PublishingSchedule(
            limits, versions, recovered.alarms, recovered.next_offset
        )
        self._relearn(recovered.next_offset)
        return {self._source: self._next if start >= 0 or known else -1}

    def ready(self, records: Sequence[Record], now: int) -> int:
        """Return the number of records before the first decision that must be prepared.

        Prepares that decision for one time slice if it comes next.
        """
        for index, record in enumerate(records):
            if record.key == CONTROL_KEY and not self._prepared(record, now, is_next=index == 0):
                return index
        self.waiting_for = None
        return len(records)

    def process(self, source: InputPartition, records: Sequence[Record], now: int) -> list[Output]:
        """Learn examples and apply control records; publish a version if one is due."""
        outputs = self._start(now)
        found = self._learn(records, now)
        export_measurements(found)
        outputs += found + self._take_notices()
        self._next = records[-1].offset + 1
        return encode_measurements(
            outputs + self._publish_if_due(now) + self._alarm_records(now), self._encode
        )

    def look(self, now: int, ended: Collection[InputPartition]) -> None:
        """Do nothing: only scorers need to know it."""

    def idle(self, now: int, at_end: bool) -> list[Output]:
        """Publish a version if one is due."""
        outputs = self._start(now) + self._publish_if_due(now)
        return encode_measurements(outputs + self._alarm_records(now), self._encode)

    def before_commit(self, positions: Mapping[InputPartition, int], now: int) -> list[Output]:
        """Return a checkpoint if one is due."""
        self._next, self._now = positions[self._source], now
        return self._schedule.checkpoint_if_due(self._next, self.state, now)

    def after_commit(self, written: WrittenOffsets) -> None:
        """Delete superseded artifacts and export the committed counts as metrics."""
        self._skips.committed(self._next)
        self._versions.delete_superseded(self._now)
        self._exported.update(self.state)
        MODEL_VERSION.set(self._versions.champion or 0)

    def _start(self, now: int) -> list[Output]:
        """Return the findings of `restore`, once, and the first version if it may be untrained."""
        outputs = self._take_notices() + self._policy.start(
            self._alarms, self._recovered.thresholds, now
        )
        if self._pipeline.untrained == "rejected":
            return outputs
        return outputs + self._schedule.publish_first(self._next, self.state, now)

    def _take_notices(self) -> list[Output]:
        outputs = self._notices + self._skips.unwritten
        self._notices, self._skips.unwritten = [], []
        export_measurements(outputs)
        return outputs

    def _publish_if_due(self, now: int) -> list[Output]:
        return self._schedule.publish_if_due(self._next, self.state, now)

    def _alarm_records(self, now: int) -> list[Output]:
        """Return due reports of alarms, and the state of the alarms for the next learner."""
        found = [measurement.output(self._pipeline.name) for measurement in self._alarms.due(now)]
        export_measurements(found)
        return found and [
            *found,
            Output("learn.state", 0, ALARMS_KEY, orjson.dumps(self._alarms.as_dict())),
        ]

    def _learn(self, records: Iterable[Record], now: int | None) -> list[Output]:
        """Learn examples and apply control records.

        Args:
            records: consecutive records of the log.
            now: wall-clock time in Unix milliseconds; None to relearn without outputs.
        """
        outputs: list[Output] = []
        skips, task, may_skip = self._skips, self._task, self._skips.may_skip
        for record in skips.journaled(records):
            if record.key == CONTROL_KEY:
                control = decode_control(record.value)
                if control is not None:
                    outputs += self._apply(record, control, now)
                    continue
            cause = skips.code(record) if may_skip else None
            example = cause or decode_example(record.value, task)
            if isinstance(example, str):
                outputs += self._learner.skip(record.offset, example)
                continue
            found = self._learner.learn(record.offset, example)
            if found:
                outputs += found + self._apply_thresholds(now)
        return outputs

    def _apply_thresholds(self, now: int | None) -> list[Output]:
        """Apply thresholds after closed windows; not while relearning, because that was done."""
        findings, versions = self._learner.take_findings(), self._versions.versions
        if now is None:
            return []
        return [
            output
            for found in findings
            for output in self._policy.apply(found, self._alarms, versions, self.state, now)
        ]

    def _prepared(self, record: Record, now: int, *, is_next: bool) -> bool:
        """Return True if a record can be processed, or is a decision that can never be applied."""
        control = control_in(record.key, record.value)
        if control is None or record.offset in self._skips or not control.needs_preparation:
            return True
        self.waiting_for = WaitReason.DECISION
        # The records before it must be processed first.
        if not is_next:
            return False
        if self.state.control.is_void(control):
            return True
        try:
            if not self._preparation.step(record.offset, control, self._learner):
                return False
            self._schedule.store_answered(now)
        except StoreError as error:
            self._schedule.store_failed(error, now)
            return False
        except ModelError as error:
            self._skip_decision(record.offset, control, error)
        return True

    def _skip_decision(self, offset: int, control: Control, error: ModelError) -> None:
        """Skip a decision whose version cannot be loaded, here and in every replay."""
        log.error(
            "control record cannot be applied",
            command=control.command,
            version=control.version,
            why=str(error),
        )
        self._skips.skip(offset, NOT_APPLIED)
        alarm = Measurement(
            "alarm",
            NOT_APPLIED,
            0,
            0,
            1,
            None,
            LimitCheck(None, True),
            f"offset {offset}",
            control.version,
        )
        self._notices.append(alarm.output(self._pipeline.name))

    def _apply(self, record: Record, control: Control, now: int | None) -> list[Output]:
        state, offset = self.state, record.offset
        if self._skips.code(record) is not None:
            self._learner.reset_thresholds(control)
            return []
        void = state.control.is_void(control)
        self._exported.update(state)
        wait_for_store(lambda: self._preparation.finish(offset, control, self._learner))
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
            self._exported.start(state)
            self._schedule.start(state)
        if now is None:
            return []
        return applied_records(self._pipeline.name, control, self._versions, now)

    def _state_of(self, checkpoint: Checkpoint | None, trusted: TrustedKeys) -> LearnerState | None:
        if checkpoint is None:
            is_used = self._next > 0 or bool(self._versions.versions)
            check_new_model(self._pipeline, is_used=is_used)
            return None
        state = load_state(checkpoint, self._store, trusted, self._pipeline)
        self._versions.restore(checkpoint)
        return state

    def _relearn(self, start: int) -> None:
        check_log_covers(self._source, self._reader.ends(self._source), start, self._next)
        self._exported.start(self.state)
        if start < self._next:
            self._learn(self._reader.read_range(*self._source, start, self._next), None)
        self._schedule.start(self.state)
        self._exported.start(self.state)
