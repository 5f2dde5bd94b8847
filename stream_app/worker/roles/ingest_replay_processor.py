"""Ingest role: reads dead letters of sources again, at the places that they have there."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas
from stream_app.core.reading.replayed_selection import ReplayedIntake, input_of
from stream_app.core.reading.selection import Forwarded
from stream_app.core.scoring.replay_headers import LeftOut
from stream_app.headers import (
    REPLAY_COUNT,
    REPLAY_ID,
    REPLAY_OPTIONS,
    REPLAYED_HEADERS,
)
from stream_app.kafka.partitioner import PLACED_BY_KEY
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, Headers, InputPartition, Output, Record
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import DEAD_LETTERS, RECORDS
from stream_app.topic_kinds import InputKind, TopicKind, topic_name
from stream_app.worker.processor import HELD, WaitReason, WrittenOffsets, waiting_reason
from stream_app.worker.roles.ingest_outputs import DEAD_LETTERS_OF, IngestDeadLetters, size_problem
from stream_app.worker.roles.ingest_processor import IngestServices
from stream_app.worker.roles.ingest_state import ReplayState, SourceOutcome, load_states
from stream_app.worker.roles.source_start import HELD_ALARM, LOST_ALARM

log = get_logger(__name__)

_KEPT_HEADERS = (*REPLAYED_HEADERS, REPLAY_ID, REPLAY_COUNT)
# Outcome of a replayed record that is not forwarded, by what the selection says.
_LEFT_OUT: dict[tuple[InputKind, str], LeftOut] = {
    ("raw", "filtered"): "filtered",
    ("raw", "tombstone"): "tombstone",
    ("labels", "filtered"): "label_filtered",
    ("labels", "tombstone"): "label_tombstone",
}


class IngestReplayProcessor:
    """Reads one partition of the dead letters of `ingest` that were sent again.

    Each is selected as a record of its source, at its place there, and forwarded as such with the
    headers of the replay. It moves no watermark: the watermarks of the sources' partitions are
    functions of their logs. Its outcomes are counted here, not with its source.

    Args:
        pipeline: loaded pipeline.
        source: the partition of `<p>.ingest.replay`.
        services: what it works with.

    Attributes:
        waiting_for: reason why `ready` held records back, or why nothing is read, or None.
        state: outcomes and offset.
    """

    def __init__(
        self, pipeline: Pipeline, source: InputPartition, services: IngestServices
    ) -> None:
        self.waiting_for: WaitReason | None = None
        self.state = ReplayState(source)
        self._source = source
        self._services = services
        self._guard = services.guard
        self._intake = ReplayedIntake(
            {(feed.kind, feed.source.source_name): feed.intake for feed in services.feeds.values()}
        )
        self._topics = [topic_name(pipeline.name, kind) for kind in ("ingest.state", "raw.dlq")]
        self._dead_letters = IngestDeadLetters(services.context, 1, services.limits.max_bytes)
        self._schemas: Schemas = NO_SCHEMAS
        # Since the last commit, for the metrics.
        self._outcomes: Counter[str] = Counter()
        self._dead: Counter[tuple[InputKind, str]] = Counter()

    def restore(self, committed: Mapping[InputPartition, int]) -> Mapping[InputPartition, int]:
        """Load the state and return the next offset, `HELD` if records were deleted unread.

        Raises:
            DataLossError: the state is damaged.
        """
        source, state, services = self._source, self.state, self._services
        state_topic, dlq_topic = self._topics
        states = load_states(services.reader, state_topic)
        if source in states:
            state.restore(states[source])
        partitions = services.reader.partition_count(dlq_topic)
        self._dead_letters = self._dead_letters._replace(partitions=partitions)
        low, high = services.reader.ends(source)
        state.next = max(committed[source], state.next)
        if low <= state.next <= high:
            state.alarms.end(HELD_ALARM, services.now())
        elif not self._accepts_loss(low, high):
            return {source: HELD}
        self._guard.committed({source.topic: state.next})
        return {source: state.next}

    def ready(self, records: Sequence[Record], now: int) -> int:
        """Return the number of records, counted from the first, that can be read now.

        Their schemas are known, and they need no trial run.
        """
        known, self._schemas = self._services.schemas.ready(records)
        count = self._guard.ready(records[:known])
        self.waiting_for = waiting_reason(len(records), known, count)
        return count

    def process(self, source: InputPartition, records: Sequence[Record], now: int) -> list[Output]:
        """Forward records, leave them out, or reject them again."""
        outputs = self._guard.process(
            records,
            lambda chunk: self._read_all(chunk, now),
            lambda record, failure: self._quarantine(record, failure, now),
        )
        self.state.next = records[-1].offset + 1
        return outputs

    def look(self, now: int, ended: Collection[InputPartition]) -> None:
        """Do nothing: the partition has no clock."""

    def idle(self, now: int, at_end: bool) -> list[Output]:
        """Return due reports."""
        return self._services.reports(self.state, now)

    def before_commit(self, positions: Mapping[InputPartition, int], now: int) -> list[Output]:
        """Return due reports and, once there was a record, the state."""
        reports = self._services.reports(self.state, now)
        return reports + ([self.state.output()] if self.state.next else [])

    def after_commit(self, written: WrittenOffsets) -> None:
        """Export what was committed as metrics."""
        for outcome, count in self._outcomes.items():
            RECORDS.labels("ingest", self._source.topic, outcome).inc(count)
        for (kind, code), count in self._dead.items():
            DEAD_LETTERS.labels(kind, code).inc(count)
        self._outcomes.clear()
        self._dead.clear()
        self._guard.committed({self._source.topic: self.state.next})
        self._services.reporter.export(self.state.actions, self.state.alarms)

    def _accepts_loss(self, low: int, high: int) -> bool:
        """Return True, and skip records that were deleted unread, if that is accepted."""
        state, services = self.state, self._services
        now, where = services.now(), f"{self._source.topic}[{self._source.partition}]"
        count = max(0, low - state.next)
        why = f"{count} records were deleted" if count else f"the topic ends at {high}"
        if not services.limits.accept_loss:
            log.error(
                "replayed records wait",
                partition=where,
                why=f"it continues at offset {state.next}, but {why}",
                action="restore the topic, or set STREAM_APP_WORKER__ACCEPT_DATA_LOSS=true",
            )
            self.waiting_for = WaitReason.SOURCE
            state.alarms.raise_(HELD_ALARM, where, now, value=float(count))
            return False
        log.warning("replayed records are lost", partition=where, why=why, next=low)
        state.counts["lost"] += count
        state.next = low
        state.alarms.end(HELD_ALARM, now)
        state.alarms.raise_(LOST_ALARM, where, now, value=float(count))
        return True

    def _read_all(self, records: Sequence[Record], now: int) -> list[Output]:
        journaled = self._guard.journaled(self._source.topic, records)
        return [output for record in journaled for output in self._read(record, now)]

    def _read(self, record: Record, now: int) -> list[Output]:
        """Return the outputs of one record."""
        kind = input_of(record)
        found = self._intake.read(kind, record, self._schemas)
        if isinstance(found, Forwarded):
            return self._forward(kind, record, found, now)
        if isinstance(found, Failure):
            return self._reject(kind, record, found, now)
        self._count(found)
        self.state.replays.count(record, _LEFT_OUT[kind, found])
        return []

    def _forward(self, kind: InputKind, record: Record, found: Forwarded, now: int) -> list[Output]:
        target, headers = replay_target(kind, record.headers)
        output = Output(target, PLACED_BY_KEY, found.key, record.value, [*found.headers, *headers])
        problem = size_problem(output, self._dead_letters.max_bytes)
        if problem is not None:
            return self._reject(kind, record, problem, now)
        self._count("forwarded")
        return [output]

    def _reject(self, kind: InputKind, record: Record, failure: Failure, now: int) -> list[Output]:
        self.state.dead[failure.code] += 1
        self._dead[kind, failure.code] += 1
        return [self._dead_letters.make(DEAD_LETTERS_OF[kind], record, failure, now)]

    def _quarantine(self, record: Record, failure: Failure, now: int) -> list[Output]:
        self.state.quarantine(failure.code, now)
        return self._reject(input_of(record), record, failure, now)

    def _count(self, outcome: SourceOutcome) -> None:
        self.state.counts[outcome] += 1
        self._outcomes[outcome] += 1


def replay_target(kind: InputKind, headers: Headers) -> tuple[TopicKind, Headers]:
    """Return the topic to which a replayed record is forwarded, and headers that go with it.

    Options of a replay count only on `<p>.raw.replay`, to which no producer writes.
    """
    kept = [header for header in headers if header[0] in _KEPT_HEADERS]
    options = [header for header in headers if header[0] in REPLAY_OPTIONS]
    if kind == "raw" and options:
        return "raw.replay", kept + options
    return kind, kept
