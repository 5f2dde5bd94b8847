"""Score role: scores one partition of raw records, with its state in a changelog topic."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from time import monotonic

from stream_app.clock import now_ms
from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas
from stream_app.core.scoring.event_clock import idle_commit_step
from stream_app.core.scoring.model_protocols import Model
from stream_app.core.scoring.scorer import DEGRADED_ALARM, ENDING_ALARMS, Scorer
from stream_app.core.scoring.state_changelog import (
    OTHER_FORMAT_REMEDY,
    OTHER_IDENTITY_REMEDY,
    OTHER_PLACEMENT_REMEDY,
    IdentityChangedError,
    PlacementChangedError,
    StateFormatError,
    other_identity,
)
from stream_app.errors import DataLossError
from stream_app.kafka.retrying_reader import TopicReader
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, InputPartition, Output, Record
from stream_app.schema_registry.schema_cache import SchemaCache
from stream_app.topic_kinds import topic_name
from stream_app.worker.processor import WaitReason, WrittenOffsets, waiting_reason
from stream_app.worker.quarantine.quarantine import RecordGuard
from stream_app.worker.roles.direct_input import DirectInput
from stream_app.worker.roles.event_breaker import EventBreaker
from stream_app.worker.roles.reporting import POISON_ALARM, ExportedMetrics, TaskReporter
from stream_app.worker.roles.served_models import ServedModels
from stream_app.worker.roles.watermark_publisher import WatermarkPublisher

MODEL_REJECTED_ALARM = "model-rejected"
# The alarm of degraded predictions ends after this time without one.
DEGRADED_QUIET_MS = 10_000
# The alarms of `ENDING_ALARMS` end after this time without another case.
CLOCK_QUIET_MS = 600_000
# Limits of the retries in one idle call: a transaction of other partitions may be open.
IDLE_RETRIES = 10
IDLE_SECONDS = 0.25

Work = Callable[[Sequence[Record]], list[Output]]
ScoreFunction = Callable[[Iterable[Record], Model, int, Schemas], list[Output]]


class ScoreProcessor:
    """Drives the `Scorer` of one partition.

    Args:
        pipeline: loaded pipeline.
        scorer: scorer with the state of the partition.
        reader: reader of the changelog.
        schemas: cache of the schemas that Avro records name.
        models: models that score the events.
        guard: keeps poison records away from the process.
        reporter: reporter of the partition's task.

    Attributes:
        waiting_for: reason why `ready` held records back, or None.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        scorer: Scorer,
        reader: TopicReader,
        schemas: SchemaCache,
        models: ServedModels,
        guard: RecordGuard,
        reporter: TaskReporter,
    ) -> None:
        self._scorer = scorer
        self._raw = topic_name(pipeline.name, "raw")
        self._events = frozenset({self._raw})
        self._labels = topic_name(pipeline.name, "labels")
        self._state_topic = topic_name(pipeline.name, "score.state")
        self._scored = InputPartition(topic_name(pipeline.name, "scored"), scorer.state.partition)
        self._examples = InputPartition(topic_name(pipeline.name, "examples"), 0)
        self._watermarks = WatermarkPublisher(scorer.state)
        self._reader = reader
        self._cache = schemas
        self._model = models.current
        self._models = models
        self._guard = guard
        self._reporter = reporter
        self._breaker = EventBreaker(pipeline.breaker, scorer.state)
        self._direct: DirectInput | None = None
        # Chosen once: events of other pipelines take no longer.
        self._score_events: ScoreFunction = scorer.score
        self._metrics = ExportedMetrics()
        self._schemas: Schemas = NO_SCHEMAS
        # Time at the ends of the inputs, as of the last checkpoint.
        self._idle_ms = 0
        self.waiting_for: WaitReason | None = None

    def read_directly(self, direct: DirectInput) -> None:
        """Read a topic of events of another program as well; called before `restore`."""
        self._direct = direct
        self._events |= {direct.topic}
        self._score_events = self._scorer.score_direct

    def restore(self, committed: Mapping[InputPartition, int]) -> Mapping[InputPartition, int]:
        """Load the state from the changelog and return the next offsets.

        The changelog contains positions too, in case the offsets of the group have expired.

        Raises:
            DataLossError: the changelog is empty, older than the committed offsets, of another
                version of this program, or of a pipeline with another key or partitioner.
        """
        state = self._scorer.state
        changelog = self._reader.read_stable(self._state_topic, state.partition)
        try:
            state.restore(changelog)
        except StateFormatError as error:
            raise DataLossError(
                f"{self._state_topic}[{state.partition}] was written by another version of "
                f"stream-app ({error})",
                OTHER_FORMAT_REMEDY,
            ) from None
        except IdentityChangedError:
            raise DataLossError(
                f"{self._state_topic}[{state.partition}] was written with another key of the "
                f"pipeline: {other_identity(keyed=state.keyed)}",
                OTHER_IDENTITY_REMEDY,
            ) from None
        except PlacementChangedError as changed:
            raise DataLossError(
                f"{self._state_topic}[{state.partition}] was written with the partitioner "
                f"{changed}, and {state.partitioner} puts keys in other partitions",
                OTHER_PLACEMENT_REMEDY,
            ) from None
        self._reporter.export(state.actions, state.alarms)
        self._metrics.start(state)
        self._check_changelog(committed)
        if self._models.last_good is not None:
            self._models.last_good.restore()
        start = {
            source: max(offset, state.positions.get(source.topic, -1))
            for source, offset in committed.items()
        }
        if self._direct is not None:
            now = now_ms()
            start |= {
                source: self._direct.next_offset(offset, state, now)
                for source, offset in start.items()
                if source.topic == self._direct.topic
            }
        self._guard.committed(
            {source.topic: offset for source, offset in start.items()}, state.retries.waiting
        )
        self._guard.suspect_waiting(state.retries.waiting)
        # Where the previous owner has ended: nobody else can write to the partition any more.
        self._watermarks.start(
            self._reader.written_end(self._scored), self._reader.written_end(self._examples)
        )
        return start

    def ready(self, records: Sequence[Record], now: int) -> int:
        """Return the number of records that can be processed now.

        The circuit breaker must let them pass, their schemas must be known, and they must not
        need a trial run.
        """
        allowed = (
            self._breaker.ready(len(records), now)
            if records[0].topic in self._events
            else len(records)
        )
        known, self._schemas = self._cache.ready(records[:allowed]) if allowed else (0, NO_SCHEMAS)
        ready = self._guard.ready(records[:known])
        self.waiting_for = waiting_reason(allowed, known, ready)
        if self.waiting_for is None and allowed < len(records):
            self.waiting_for = WaitReason.CIRCUIT_BREAKER
        return ready

    def process(self, source: InputPartition, records: Sequence[Record], now: int) -> list[Output]:
        """Retry due events, then score raw or replayed records, or join labels."""
        outputs = self._retry(now, len(records))
        clock = self._scorer.state.clock
        if source.topic in self._events:
            clock.events.received()
            topic = source.topic
            outputs += self._guarded(records, lambda chunk: self._score(topic, chunk, now), now)
        elif source.topic == self._labels:
            clock.labels.received()
            outputs += self._guarded(records, lambda chunk: self._join(chunk, now), now)
        else:
            outputs += self._guarded(records, lambda chunk: self._replay(chunk, now), now)
        return outputs

    def look(self, now: int, ended: Collection[InputPartition]) -> None:
        """Count the time that events and labels spend at their ends.

        Raises:
            TopicsError: the topic that is read directly was recreated.
        """
        state, topics = self._scorer.state, {source.topic for source in ended}
        if self._direct is not None:
            self._direct.check(state, now)
        clock = state.clock
        clock.events.look(now, topics >= self._events)
        clock.labels.look(now, self._labels in topics)

    def idle(self, now: int, at_end: bool) -> list[Output]:
        """Retry due events, and close what has expired."""
        outputs = self._watermarks.idle(now) + self._retry_some(now)
        if at_end:
            self._breaker.end_idle_alarm(now)
        outputs += self._scorer.expire(self._model(), now)
        return outputs + self._idle_time() + self._report(now)

    def _idle_time(self) -> list[Output]:
        """Return a checkpoint now and then while the clock waits, so that a crash loses no time.

        Also for a topic that was just begun: it must not begin elsewhere after a crash.
        """
        state = self._scorer.state
        clock = state.clock
        if self._direct is not None and self._direct.must_commit:
            return [state.checkpoint()]
        idle_ms = clock.events.idle_ms + clock.labels.idle_ms
        step = idle_commit_step(clock.idle_after)
        if not state.entries or idle_ms - self._idle_ms < step:
            return []
        return [state.checkpoint()]

    def before_commit(self, positions: Mapping[InputPartition, int], now: int) -> list[Output]:
        """Return due reports, and the state's record counts, watermarks and positions.

        Raises:
            TopicsError: the topic that is read directly was recreated, so the transaction may have
                records of both.
        """
        state = self._scorer.state
        if self._direct is not None:
            self._direct.check(state, now)
            self._direct.must_commit = False
        # Those of a topic that is missing now are kept.
        state.positions |= {source.topic: offset for source, offset in positions.items()}
        clock = state.clock
        self._idle_ms = clock.events.idle_ms + clock.labels.idle_ms
        reports = self._report(now)
        return [*reports, *self._watermarks.due(now), *state.final_records()]

    def after_commit(self, written: WrittenOffsets) -> None:
        """Export the committed state as metrics."""
        state = self._scorer.state
        self._guard.committed(state.positions, state.retries.waiting)
        self._watermarks.committed(written)
        self._reporter.export(state.actions, state.alarms)
        self._metrics.update(state)

    def _check_changelog(self, committed: Mapping[InputPartition, int]) -> None:
        state = self._scorer.state
        changelog = f"{self._state_topic}[{state.partition}]"
        lost = [
            source
            for source, offset in committed.items()
            if offset > 0 and source.topic not in state.positions
        ]
        if lost:
            raise DataLossError(
                f"{changelog} is empty although {lost[0].topic} has been processed",
                "Restore the state topic; without it duplicates are not recognised and labels find "
                "no prediction",
            )
        behind = [
            source
            for source, offset in committed.items()
            if -1 < state.positions.get(source.topic, -1) < offset
        ]
        if behind:
            raise DataLossError(
                f"{changelog} is older than the committed offset of {behind[0].topic}",
                "Restore the state topic as it was; it and the offsets are written together",
            )

    def _guarded(self, records: Sequence[Record], work: Work, now: int) -> list[Output]:
        """Process records; poison records become dead letters."""
        return self._guard.process(
            records, work, lambda record, failure: self._quarantine(record, failure, now)
        )

    def _score(self, topic: str, records: Sequence[Record], now: int) -> list[Output]:
        scorer, model = self._scorer, self._model()
        before = scorer.state.counts.scored
        journaled = self._guard.journaled(topic, records)
        outputs = self._score_events(journaled, model, now, self._schemas)
        self._breaker.update(len(records), scorer.failures, now)
        if scorer.state.counts.scored > before and not scorer.degraded_cause:
            scorer.state.alarms.end(DEGRADED_ALARM, now, DEGRADED_QUIET_MS)
            if self._models.last_good is not None:
                self._models.last_good.mark_good(model)
        return outputs

    def _join(self, records: Sequence[Record], now: int) -> list[Output]:
        return self._scorer.join(
            self._guard.journaled(self._labels, records), self._model(), now, self._schemas
        )

    def _replay(self, records: Sequence[Record], now: int) -> list[Output]:
        return self._by_model(
            records, lambda chunk, model: self._score_events(chunk, model, now, self._schemas)
        )

    def _by_model(
        self, records: Sequence[Record], work: Callable[[Iterator[Record], Model], list[Output]]
    ) -> list[Output]:
        """Process the records of one topic in chunks with the same model.

        All models are loaded before the first record is journaled, because loading takes long.
        """
        chunks = [
            (model, list(chunk)) for model, chunk in groupby(records, self._models.overrides.model)
        ]
        return [
            output
            for model, chunk in chunks
            for output in work(self._guard.journaled(chunk[0].topic, chunk), model)
        ]

    def _retry(self, now: int, limit: int) -> list[Output]:
        due = self._scorer.state.retries.due(now, limit)
        by_topic = groupby(sorted(due, key=_topic), _topic) if due else ()
        return [
            output for _, records in by_topic for output in self._retry_ready(list(records), now)
        ]

    def _retry_some(self, now: int) -> list[Output]:
        """Retry a few due events, one by one, because each may take long."""
        outputs: list[Output] = []
        until = monotonic() + IDLE_SECONDS
        for _ in range(IDLE_RETRIES):
            retried = self._retry(now, 1)
            outputs += retried
            if not retried or monotonic() > until:
                break
        return outputs

    def _retry_ready(self, records: Sequence[Record], now: int) -> list[Output]:
        """Retry the records of one topic that are ready; postpone the others."""
        known = [record for record in records if self._cache.ready([record]).number]
        ready = known[: self._guard.ready(known)]
        offsets = {record.offset for record in ready}
        self._scorer.state.retries.postpone(
            [record for record in records if record.offset not in offsets], now
        )
        schemas = self._cache.ready(ready).schemas

        def work(chunk: Sequence[Record]) -> list[Output]:
            return self._by_model(
                chunk, lambda some, model: self._scorer.retry(some, model, now, schemas)
            )

        return self._guarded(ready, work, now)

    def _quarantine(self, record: Record, failure: Failure, now: int) -> list[Output]:
        state = self._scorer.state
        state.actions.add("quarantine", failure.code, now)
        state.alarms.raise_(POISON_ALARM, failure.code, now)
        return self._scorer.reject(
            record, failure, self._model(), now, label=record.topic == self._labels
        )

    def _report(self, now: int) -> list[Output]:
        state = self._scorer.state
        if not self._guard.checks_all:
            state.alarms.end(POISON_ALARM, now)
        for name in ENDING_ALARMS:
            state.alarms.end(name, now, CLOCK_QUIET_MS)
        rejection = self._models.rejection()
        if rejection is None:
            state.alarms.end(MODEL_REJECTED_ALARM, now)
        elif MODEL_REJECTED_ALARM not in state.alarms.open:
            state.alarms.raise_(MODEL_REJECTED_ALARM, rejection, now)
        return self._reporter.due(state.actions, state.alarms, now)


def _topic(record: Record) -> str:
    return record.topic
