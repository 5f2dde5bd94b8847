"""The learn role: the examples log, in order, into model versions; checkpoints bound what a restart learns again."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import sleep
from typing import TypeVar

import orjson

from stream_app.core.alarms import Alarms
from stream_app.core.control import CONTROL_KEY, SWITCHES, Control
from stream_app.core.example import Example
from stream_app.core.examples import decode_example
from stream_app.core.learn import SHAPE, Learner, LearnerState
from stream_app.core.monitoring import Judgement, Measurement
from stream_app.core.records import Output, Record
from stream_app.errors import ModelError, StoreError
from stream_app.logs import get_logger
from stream_app.management.registry import Registry
from stream_app.metrics import CHECKPOINT_SECONDS, EXAMPLES_LEARNED, MODEL_VERSION, PUBLISH_SECONDS
from stream_app.models.artifacts import ArtifactStore
from stream_app.models.loaded import pipeline_changed
from stream_app.models.manifest import CHECKPOINT_KEY, Checkpoint, check_runtime
from stream_app.models.pickling import dump, load, pipeline_modules
from stream_app.models.signing import open_signer, verify
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings
from stream_app.streaming.isolation.learning import ExampleGuard
from stream_app.streaming.processor import DECISION, Input
from stream_app.streaming.reader import Reader
from stream_app.streaming.roles.alarms import show_measurements
from stream_app.streaming.roles.obeying import Preparation, control_in, obeyed
from stream_app.streaming.roles.skips import Skips
from stream_app.streaming.roles.versions import Schedule, Versions
from stream_app.streaming.roles.writers import Write, measurements_written

log = get_logger(__name__)

ALARMS_KEY = b"alarms"
UNOBEYED = "decision-not-obeyed"
WAIT_SECONDS = 2.0  # between two looks at a store that is away

_T = TypeVar("_T")


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
        reader: Reader,
        write: Write = orjson.dumps,
        guard: ExampleGuard | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._fingerprint = fingerprint
        self._settings = settings
        self._store = store
        self._reader = reader
        self._write = write
        self._source = Input(f"{pipeline.name}.examples", 0)
        self._skips = Skips(guard)
        self._modules = pipeline_modules(pipeline.model, pipeline.features)
        limits = settings.learn
        self._publishing = Schedule(limits.publish_seconds, limits.publish_examples, limits.publish_share)
        self._checkpointing = Schedule(limits.checkpoint_seconds, float("inf"), limits.publish_share)
        self.holding = ""
        self._notices: list[Output] = []
        self._alarms = Alarms()
        self._next = 0
        self._now = 0
        self._published_at = 0  # examples learned when the last version came out
        self._checkpointed_at = 0  # offset of the last checkpoint
        self._shown = 0

    @property
    def state(self) -> LearnerState:
        """What the learner knows now."""
        return self._learner.state

    def restore(self, committed: Mapping[Input, int]) -> Mapping[Input, int]:
        """The newest checkpoint, then every example from there to the committed offset, silently.

        Raises ModelError if the pipeline has changed, the log no longer reaches back, or an artifact is damaged.
        """
        name = self._pipeline.name
        self._signer = open_signer(self._settings, name)
        keep = self._settings.learn.keep_versions
        registry = Registry.of(self._reader.read_all(f"{name}.models", 0))
        self._versions = versions = Versions(self._pipeline, self._store, registry, self._signer, keep)
        self._preparation = Preparation(
            self._pipeline, self._fingerprint, self._store, self._signer.trusted, self._reader, versions, self._skips
        )
        checkpoint = self._restore_state()
        self._refuse_other_pipeline(checkpoint)
        known = max(self._versions.newest or 0, checkpoint.offset if checkpoint else 0)
        start = committed[self._source]
        if start < known and known > 0:
            self._notices.append(self._lost_offsets(start, known))
        self._next = max(start, known, 0)
        self._learner = Learner(self._pipeline, self._fingerprint, self._load(checkpoint))
        self._learn_again(checkpoint.offset if checkpoint else 0)
        return {self._source: self._next if start >= 0 or known else -1}

    def ready(self, records: Sequence[Record], now: int) -> int:
        """All up to a decision for which something has to be prepared first, some of which is done then."""
        for index, record in enumerate(records):
            if record.key == CONTROL_KEY and not self._prepared(record, now, is_next=index == 0):
                return index
        self.holding = ""
        return len(records)

    def process(self, source: Input, records: Sequence[Record], now: int) -> list[Output]:
        """Learn; report what there is to report, and publish a version when one is due."""
        outputs = self._start(now)
        found = self._learn(records, now)
        show_measurements(found)
        outputs += found + self._take_notices()
        self._next = records[-1].offset + 1
        return measurements_written(outputs + self._publish_if_due(now) + self._alarmed(now), self._write)

    def idle(self, now: int, at_end: bool) -> list[Output]:
        """Publish what has been learned since the last version."""
        outputs = self._start(now) + self._publish_if_due(now)
        return measurements_written(outputs + self._alarmed(now), self._write)

    def before_commit(self, positions: Mapping[Input, int], now: int) -> list[Output]:
        """A checkpoint, when one is due."""
        self._next, self._now = positions[self._source], now
        if not self._checkpointing.due(self._next - self._checkpointed_at, now):
            return []
        try:
            output, cost = self._versions.checkpoint(self._next, self.state)
        except StoreError as error:
            self._checkpointing.failed(now)
            self._store_failed(error, now)
            return []
        self._checkpointed_at = self._next
        self._checkpointing.done(cost, now)
        CHECKPOINT_SECONDS.observe(cost)
        return [output]

    def after_commit(self) -> None:
        """Delete what is superseded; show the committed counts as metrics."""
        self._skips.committed(self._next)
        self._versions.settle(self._now)
        self._show_learned()
        MODEL_VERSION.set(self._versions.champion or 0)

    def _show_learned(self) -> None:
        EXAMPLES_LEARNED.inc(self.state.learned - self._shown)
        self._shown = self.state.learned

    def _start(self, now: int) -> list[Output]:
        """Once: what restoring has found, and version 0 if there is none at all and it may be served."""
        outputs = self._take_notices()
        trained_only = self._pipeline.untrained == "refused"
        late = trained_only or self._versions.newest is not None or self._publishing.rests(now)
        return outputs if late else outputs + self._publish(now)

    def _take_notices(self) -> list[Output]:
        outputs = self._notices + self._skips.notices
        self._notices, self._skips.notices = [], []
        show_measurements(outputs)
        return outputs

    def _publish_if_due(self, now: int) -> list[Output]:
        if self.state.held:
            return []
        changes = self.state.learned - self._published_at
        return self._publish(now) if self._publishing.due(changes, now) else []

    def _publish(self, now: int) -> list[Output]:
        try:
            outputs, cost = self._versions.publish(self._next, self.state, now)
        except StoreError as error:
            self._publishing.failed(now)
            self._store_failed(error, now)
            return []
        self._published_at = self.state.learned
        self._publishing.done(cost, now)
        self._alarms.end("store-unavailable", now)
        PUBLISH_SECONDS.observe(cost)
        return outputs

    def _store_failed(self, error: StoreError, now: int) -> None:
        if "store-unavailable" not in self._alarms.open:
            log.error("store unavailable, learning goes on", why=str(error))
        self._alarms.raise_("store-unavailable", type(error.__cause__).__name__, now)

    def _alarmed(self, now: int) -> list[Output]:
        """What there is to tell of the alarms, and which of them last, for whoever goes on."""
        found = [measurement.output(self._pipeline.name) for measurement in self._alarms.due(now)]
        show_measurements(found)
        return found and [*found, Output("learn.state", 0, ALARMS_KEY, orjson.dumps(self._alarms.as_dict()))]

    def _learn(self, records: Iterable[Record], now: int | None) -> list[Output]:
        """Learn, and obey; without `now` silently."""
        outputs: list[Output] = []
        for record in self._skips.noting(records):
            control = control_in(record)
            if control is not None:
                found = self._obey(record, control, now)
            else:
                example = self._skips.code(record) or decode_example(record.value)
                if isinstance(example, Example):
                    found = self._learner.learn(record.offset, example)
                else:
                    found = self._learner.skip(record.offset, example)
            if found:
                outputs += found
        return outputs

    def _prepared(self, record: Record, now: int, *, is_next: bool) -> bool:
        """Whether the decision of this record, if it is one, can be obeyed at once, or never can."""
        control = control_in(record)
        if control is None or record.offset in self._skips or not self.state.needs(control):
            return True
        self.holding = DECISION
        if not is_next:  # first all that comes before it
            return False
        if self.state.is_void(control):
            return True
        try:
            if not self._preparation.step(record.offset, control, self.state):
                return False
            self._alarms.end("store-unavailable", now)
        except StoreError as error:
            self._store_failed(error, now)
            return False
        except ModelError as error:
            self._give_up(record.offset, control, error)
        return True

    def _give_up(self, offset: int, control: Control, error: ModelError) -> None:
        """A version that cannot be had is never served; every replay must pass over this decision as well."""
        log.error("a decision cannot be obeyed", act=control.act, version=control.version, why=str(error))
        self._skips.note(offset, UNOBEYED)
        verdict = Judgement(None, True)
        found = Measurement("alarm", UNOBEYED, 0, 0, 1, None, verdict, f"offset {offset}", control.version)
        self._notices.append(found.output(self._pipeline.name))

    def _obey(self, record: Record, control: Control, now: int | None) -> list[Output]:
        state, offset = self.state, record.offset
        if self._skips.code(record) is not None:
            return []
        if state.is_void(control):
            log.info("a decision is void", act=control.act, version=control.version, who=control.who, offset=offset)
            return []
        needed = state.needs(control)
        start = _patiently(lambda: self._preparation.finish(offset, control, state)) if needed else None
        self._show_learned()
        state.obey(offset, control, start)
        if control.act in SWITCHES:
            self._shown, self._published_at = state.learned, self._learned_when_published()
        return [] if now is None else obeyed(self._pipeline.name, control, self._versions, now)

    def _learned_when_published(self) -> int:
        """How many examples are in the version that the model was learned from."""
        parent = self._versions.parent(self.state)
        return 0 if parent is None else parent.learned

    def _restore_state(self) -> Checkpoint | None:
        """The alarms that last, the records to pass over, and the newest checkpoint, if this release can read it."""
        latest = dict(self._reader.read_all(f"{self._pipeline.name}.learn.state", 0))
        self._skips.restore(latest.items())
        alarms, value = latest.get(ALARMS_KEY), latest.get(CHECKPOINT_KEY.encode())
        self._alarms = Alarms() if alarms is None else Alarms.from_dict(orjson.loads(alarms))
        checkpoint = Checkpoint.decode(value) if value is not None else None
        if checkpoint is not None and checkpoint.shape != SHAPE:
            log.warning("the checkpoint is of another release: everything is learned again", offset=checkpoint.offset)
            return None
        return checkpoint

    def _refuse_other_pipeline(self, checkpoint: Checkpoint | None) -> None:
        newest = self._versions.newest
        before = checkpoint or (self._versions.versions[newest] if newest is not None else None)
        if before is not None and before.fingerprint != self._fingerprint:
            raise pipeline_changed(self._pipeline.name, before.fingerprint, self._fingerprint)

    def _load(self, checkpoint: Checkpoint | None) -> LearnerState | None:
        if checkpoint is None:
            load(dump(self._pipeline.model()), self._modules)  # a model that cannot be stored and read must not start
            self._refuse_untrained()
            return None
        verify(checkpoint, self._signer.trusted)
        check_runtime(checkpoint)
        data = _patiently(lambda: self._store.get(checkpoint.sha256, checkpoint.size))
        state = load(data, self._modules)
        if not isinstance(state, LearnerState) or checkpoint.name != self._pipeline.name:
            raise ModelError("the checkpoint is no learner state of this pipeline", "Was the topic written to by hand?")
        self._versions.resume(checkpoint)
        return state

    def _refuse_untrained(self) -> None:
        if self._next == 0 and not self._versions.versions and self._pipeline.untrained == "refused":
            raise ModelError(
                f"pipeline {self._pipeline.name} has no model version, and an untrained model may not score",
                'Declare untrained="allowed", or import a trained version',
            )

    def _learn_again(self, start: int) -> None:
        low, high = self._reader.ends(self._source)
        if start < self._next and not (low <= start and self._next <= high):
            raise ModelError(
                f"{self._source.topic} has offsets {low} to {high}, but the model has to be learned from {start} "
                f"to {self._next} again",
                "Restore the topic or the learner's checkpoint from a backup, or start under a new pipeline name",
            )
        self._shown = self.state.learned
        if start < self._next:
            self._learn(self._reader.read_range(*self._source, start, self._next), None)
        self._published_at = self._learned_when_published()
        self._shown = self.state.learned
        self._checkpointed_at = start

    def _lost_offsets(self, start: int, known: int) -> Output:
        verdict = Judgement(float(known), True)
        name = "group-offset-lost"
        return Measurement("alarm", name, 0, 0, 1, float(start), verdict, "checkpoint").output(self._pipeline.name)


def _patiently(call: Callable[[], _T]) -> _T:
    """Repeat what needs the store until it answers."""
    problem = ""
    while True:
        try:
            return call()
        except StoreError as error:
            if str(error) != problem:
                log.error("waiting for the store", why=str(error))
            problem = str(error)
            sleep(WAIT_SECONDS)
