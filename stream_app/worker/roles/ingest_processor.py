"""Ingest role: forwards the records of one partition of a source with the pipeline's key."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from stream_app.clock import now_ms
from stream_app.core.reading.completeness import Completeness, PartState
from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas
from stream_app.core.reading.event_time import NEVER
from stream_app.core.reading.selection import Forwarded, SourceIntake
from stream_app.core.scoring.dead_letter import FailureContext
from stream_app.core.scoring.event_clock import EVENTS_NEEDED, LABELS_NEEDED, idle_commit_step
from stream_app.headers import SOURCE, SourcePosition, producer_headers
from stream_app.kafka.partitioner import PLACED_BY_KEY
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, InputPartition, Output, Record, fast_namedtuple
from stream_app.schema_registry.schema_cache import SchemaCache
from stream_app.sources import Source
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import DEAD_LETTERS, RECORDS, SOURCE_WATERMARK
from stream_app.topic_kinds import InputKind, topic_name
from stream_app.worker.processor import HELD, WaitReason, WrittenOffsets, waiting_reason
from stream_app.worker.quarantine.quarantine import RecordGuard
from stream_app.worker.roles.ingest_outputs import DEAD_LETTERS_OF, IngestDeadLetters, size_problem
from stream_app.worker.roles.ingest_state import IngestOutcomes, SourceState, load_states
from stream_app.worker.roles.reporting import POISON_ALARM, TaskReporter
from stream_app.worker.roles.source_alignment import PartitionProgress, SourceAlignment
from stream_app.worker.roles.source_fields import SourceFields
from stream_app.worker.roles.source_start import (
    HELD_ALARM,
    LOST_ALARM,
    LOST_QUIET_MS,
    SourceStart,
    SourceTopicReader,
    TopicIds,
)

log = get_logger(__name__)

# Least time between two progress records of a partition. In a back-fill, where the watermark moves
# far in this time, it is the time for so many records for each partition that is written to.
PROGRESS_MS = 1_000
PROGRESS_RECORDS = 256


_output = fast_namedtuple(Output)


class Feed(NamedTuple):
    """Source, and the topic that its records are forwarded to.

    Attributes:
        kind: topic that they are forwarded to.
        intake: decides what happens to each record.
        fields: notices fields that appear.
        needed: successive records that move the watermark of a partition.
    """

    source: Source
    kind: InputKind
    intake: SourceIntake
    fields: SourceFields
    needed: int


class IngestLimits(NamedTuple):
    """Limits of ingest.

    Attributes:
        max_bytes: largest size of a record of the pipeline's input topics.
        accept_loss: True if records that were deleted unread are accepted in every source.
    """

    max_bytes: int
    accept_loss: bool


class IngestServices(NamedTuple):
    """Objects that the processor of one partition works with.

    Attributes:
        feeds: what the sources feed, by topic.
        reader: reader of the state and of the source's offsets.
        schemas: cache of the schemas that Avro records name.
        reporter: reporter of the partition's task.
        context: this worker, for dead letters.
        limits: limits of ingest.
        alignment: progress of all partitions of the sources.
        guard: keeps poison records away from the process.
        topic_id: returns the present id of a topic, None if it cannot be read.
        now: clock in Unix milliseconds.
    """

    feeds: Mapping[str, Feed]
    reader: SourceTopicReader
    schemas: SchemaCache
    reporter: TaskReporter
    context: FailureContext
    limits: IngestLimits
    alignment: SourceAlignment
    guard: RecordGuard
    topic_id: TopicIds
    now: Callable[[], int] = now_ms

    def reports(self, state: IngestOutcomes, now: int) -> list[Output]:
        """Return the due reports of a partition, after alarms that have ended."""
        state.alarms.end(LOST_ALARM, now, LOST_QUIET_MS)
        if not self.guard.checks_all:
            state.alarms.end(POISON_ALARM, now)
        return self.reporter.due(state.actions, state.alarms, now)


def feeds_of(pipeline: Pipeline) -> dict[str, Feed]:
    """Return what the sources of a pipeline that `ingest` reads feed, by topic."""
    events = [_feed(pipeline, source, "raw") for source in pipeline.sources if not source.direct]
    labels = [_feed(pipeline, source, "labels") for source in pipeline.label.sources]
    return {feed.source.topic: feed for feed in events + labels}


def _feed(pipeline: Pipeline, source: Source, kind: InputKind) -> Feed:
    intake = SourceIntake(pipeline, source, label=kind == "labels")
    needed = LABELS_NEEDED if kind == "labels" else EVENTS_NEEDED
    return Feed(source, kind, intake, SourceFields(source), needed)


class IngestProcessor:
    """Forwards the records of one partition of a source.

    The records get the pipeline's key, by which librdkafka places them as producers of the
    pipeline do. They, the dead letters, the counts and the watermark are in one transaction with
    the offset. Progress records pass the watermark on to every partition that is forwarded to.

    Args:
        pipeline: loaded pipeline.
        source: the partition.
        services: what it works with.

    Attributes:
        waiting_for: reason why `ready` held records back, or why nothing is read, or None.
        state: outcomes, watermark and offset.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        source: InputPartition,
        services: IngestServices,
    ) -> None:
        feed = services.feeds[source.topic]
        self.waiting_for: WaitReason | None = None
        self.state = SourceState(source, feed.needed)
        self._source = source
        self._feed = feed
        self._name = feed.source.source_name
        self._services = services
        self._reader = services.reader
        self._start = SourceStart(
            feed.source, source, services.reader, services.topic_id, services.limits.accept_loss
        )
        self._guard = services.guard
        self._state_topic = topic_name(pipeline.name, "ingest.state")
        self._target = topic_name(pipeline.name, feed.kind)
        self._max_bytes = services.limits.max_bytes
        self._idle_after = int(pipeline.label.idle_time.total_seconds() * 1000)
        self._schemas: Schemas = NO_SCHEMAS
        self._parts = self._targets = 1
        self._is_first = False
        # Last progress record, and its time in Unix milliseconds.
        self._told: Completeness | None = None
        self._told_at = 0
        # Records since then.
        self._unreported = 0
        # Records that were read while the partition was ahead of others.
        self._ahead = 0
        self._has_more = True
        # Idle time as of the last commit.
        self._idle_ms = 0
        self._exported = SourceState(source, feed.needed)

    def restore(self, committed: Mapping[InputPartition, int]) -> Mapping[InputPartition, int]:
        """Load the state and return the next offset, `HELD` if records were deleted unread.

        Raises:
            DataLossError: the state is damaged.
        """
        source, state = self._source, self.state
        states = load_states(self._reader, self._state_topic)
        if source in states:
            state.restore(states[source])
        self._export_restored()
        self._parts = max(self._reader.partition_count(source.topic), source.partition + 1)
        self._targets = self._reader.partition_count(self._target)
        self._is_first = not states
        offset = max(committed[source], state.next)
        low, high = self._reader.ends(source)
        if offset < 0:
            state.next = self._first_offset(states, low, high)
        elif low <= offset <= high and not self._start.is_recreated(state.topic_id):
            state.next = offset
            state.alarms.end(HELD_ALARM, self._services.now())
        elif not self._accepts_loss(offset, low):
            state.next, self._has_more = offset, False
            self._align(0, self._services.now())
            return {source: HELD}
        state.topic_id = self._services.topic_id(source.topic) or state.topic_id
        self._guard.committed({source.topic: state.next})
        # The others must wait for it before any of them is read.
        self._align(0, self._services.now())
        return {source: state.next}

    def ready(self, records: Sequence[Record], now: int) -> int:
        """Return the number of records, counted from the first, that can be read now.

        Their schemas are known, they need no trial run, and the partition is not far ahead.
        """
        watermark = self.state.clock.advance()
        if not self._services.alignment.may_read(watermark, self._ahead, now):
            self.waiting_for = WaitReason.ALIGNMENT
            return 0
        known, self._schemas = self._services.schemas.ready(records)
        count = self._guard.ready(records[:known])
        self.waiting_for = waiting_reason(len(records), known, count)
        return count

    def process(self, source: InputPartition, records: Sequence[Record], now: int) -> list[Output]:
        """Forward records, leave them out, or reject them."""
        self.state.clock.received()
        # Scorers must know that the partition is open, and that there are others, before they see a
        # record of it.
        is_open = self._told is not None and self._told.state == "open"
        outputs = [] if is_open else self._progress(now)
        outputs += self._guard.process(
            records,
            lambda chunk: self._forward(chunk, now),
            lambda record, failure: self._quarantine(record, failure, now),
        )
        self.state.next = records[-1].offset + 1
        self._align(len(records), now)
        if self._unreported >= PROGRESS_RECORDS * self._targets:
            outputs += self._progress(now)
        return outputs

    def _forward(self, records: Sequence[Record], now: int) -> list[Output]:
        state = self.state
        read, schemas, times = self._feed.intake.read, self._schemas, state.clock.own.times
        outputs = []
        kind, forwarded = self._feed.kind, 0
        latest: Record | None = None
        for record in self._guard.journaled(self._source.topic, records):
            found = read(record, schemas)
            if isinstance(found, Forwarded):
                key, time, headers = found
                output = _output((kind, PLACED_BY_KEY, key, record.value, headers))
                problem = size_problem(output, self._max_bytes)
                if problem is None:
                    outputs.append(output)
                    forwarded += 1
                    latest = record
                    if time is not None:
                        times.append(time if time < now else now)
                    continue
                found = problem
            if isinstance(found, Failure):
                outputs.append(self._reject(record, found, now))
            else:
                state.counts[found] += 1
        if latest is not None:
            state.counts["forwarded"] += forwarded
            self._feed.fields.look(latest, schemas, now)
        return outputs

    def look(self, now: int, ended: Collection[InputPartition]) -> None:
        """Count the time at the end of the partition.

        Raises:
            TopicsError: the topic was recreated.
        """
        self._check_topic()
        is_ended = self._source in ended
        self.state.clock.look(now, is_ended)
        self._has_more = not is_ended and self.waiting_for is not WaitReason.SOURCE
        self._align(0, now)

    def idle(self, now: int, at_end: bool) -> list[Output]:
        """Return due reports and progress records; commits the time at the end now and then."""
        outputs = self._services.reports(self.state, now) + self._progress(now)
        step = idle_commit_step(self._idle_after)
        if not outputs and self.state.clock.idle_ms - self._idle_ms >= step:
            return [self.state.output()]
        return outputs

    def before_commit(self, positions: Mapping[InputPartition, int], now: int) -> list[Output]:
        """Return due reports, progress records, and the state.

        Raises:
            TopicsError: the topic was recreated, so the transaction may have records of both.
        """
        self._check_topic()
        outputs = self._services.reports(self.state, now) + self._progress(now)
        self._idle_ms = self.state.clock.idle_ms
        return [*outputs, self.state.output()]

    def after_commit(self, written: WrittenOffsets) -> None:
        """Export the committed state as metrics."""
        state, exported = self.state, self._exported
        for outcome, count in (state.counts - exported.counts).items():
            RECORDS.labels("ingest", self._source.topic, outcome).inc(count)
        for code, count in (state.dead - exported.dead).items():
            DEAD_LETTERS.labels(self._feed.kind, code).inc(count)
        self._export_restored()
        self._guard.committed({self._source.topic: state.next})
        self._services.reporter.export(state.actions, state.alarms)

    # --- Start ------------------------------------------------------------------------------------

    def _first_offset(
        self, states: Mapping[InputPartition, Mapping[str, Any]], low: int, high: int
    ) -> int:
        """Return where to begin a partition that was never read.

        Partitions that were added since the topic was first read begin at their first record.
        """
        counts = [
            state["first_parts"]
            for source, state in states.items()
            if source.topic == self._source.topic
        ]
        self.state.first_parts = min(counts, default=self._parts)
        if self._source.partition >= self.state.first_parts:
            where = f"{self._source.topic}[{self._source.partition}]"
            log.info("a source has a new partition", partition=where, next=low)
            return low
        return self._start.first_offset(low, high)

    def _accepts_loss(self, offset: int, low: int) -> bool:
        """Return True, and skip records that were deleted unread, if that is accepted."""
        state = self.state
        lost = self._start.accepted_loss(
            offset, low, state.topic_id, state.alarms, self._services.now()
        )
        if lost is None:
            self.waiting_for = WaitReason.SOURCE
            return False
        state.counts["lost"] += lost
        state.next = low
        return True

    def _check_topic(self) -> None:
        if self.waiting_for is not WaitReason.SOURCE:
            self._start.check_topic(self.state.topic_id)

    # --- Records ----------------------------------------------------------------------------------

    def _align(self, count: int, now: int) -> None:
        """Report the progress after a number of records to the alignment."""
        alignment, watermark = self._services.alignment, self.state.clock.advance()
        alignment.report(self._source, PartitionProgress(watermark, self._has_more), now)
        self._ahead = self._ahead + count if alignment.is_ahead(watermark) else 0
        self._unreported += count

    def _quarantine(self, record: Record, failure: Failure, now: int) -> list[Output]:
        self.state.quarantine(failure.code, now)
        return [self._reject(record, failure, now)]

    def _reject(self, record: Record, failure: Failure, now: int) -> Output:
        self.state.dead[failure.code] += 1
        position = SourcePosition(self._name, record.partition, record.offset, record.timestamp)
        theirs = producer_headers(record.headers)
        sent = record._replace(headers=[(SOURCE, position.header()), *theirs])
        dead_letters = IngestDeadLetters(self._services.context, self._targets, self._max_bytes)
        return dead_letters.make(DEAD_LETTERS_OF[self._feed.kind], sent, failure, now)

    # --- Progress ---------------------------------------------------------------------------------

    def _progress(self, now: int) -> list[Output]:
        """Return the progress records that are due, on changes only."""
        is_due = self._unreported >= PROGRESS_RECORDS * self._targets
        if 0 <= now - self._told_at < PROGRESS_MS and not is_due:
            return []
        if self.waiting_for is WaitReason.SOURCE:
            return []
        clock = self.state.clock
        watermark = clock.advance()
        state: PartState = "idle" if clock.idle_ms >= self._idle_after else "open"
        until = None if watermark == NEVER else watermark
        own = Completeness(self._name, until, self._source.partition, self._parts, state)
        if own == self._told:
            return []
        told = [own]
        if self._is_first:
            # Nobody has said anything yet, so the others must hold the clock from the start.
            told = [*self._other_sources(), own]
            self._is_first = False
        self._told, self._told_at, self._unreported = own, now, 0
        return [
            Output(self._feed.kind, partition, None, None, one.headers())
            for one in told
            for partition in range(self._targets)
        ]

    def _other_sources(self) -> list[Completeness]:
        """Return progress records that announce the other sources of the same topic."""
        others = [
            (feed.source.source_name, self._reader.partition_count(topic))
            for topic, feed in self._services.feeds.items()
            if feed.kind == self._feed.kind and topic != self._source.topic
        ]
        return [Completeness(name, None, 0, parts, "open") for name, parts in others if parts]

    # --- Reports ----------------------------------------------------------------------------------

    def _export_restored(self) -> None:
        state = self.state
        self._exported.counts, self._exported.dead = state.counts.copy(), state.dead.copy()
        if state.clock.watermark != NEVER:
            labels = self._name, str(self._source.partition)
            SOURCE_WATERMARK.labels(*labels).set(state.clock.watermark / 1000)
