"""Scores one partition: a batch of records in, exactly one outcome per record out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.examples import Example
from stream_app.core.reading.completeness import is_completeness, read_completeness
from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas
from stream_app.core.reading.direct_reading import DirectIntake, Placement
from stream_app.core.reading.envelopes import Skipped
from stream_app.core.reading.identity import EventIdentity, event_identity, key_is_id
from stream_app.core.reading.record_reader import EventReader, LabelEvent, LabelReader
from stream_app.core.scoring.circuit_breaker import IndexedFailure
from stream_app.core.scoring.dead_letter import FailureContext, dead_letter, shortened
from stream_app.core.scoring.event_clock import InputName
from stream_app.core.scoring.label_outcomes import MAX_KEY_BYTES, LabelOutcomeName, label_outcome
from stream_app.core.scoring.lateness import (
    event_too_late,
    is_within_horizon,
    label_evicted,
    label_too_late,
    label_without_event,
)
from stream_app.core.scoring.model_protocols import Model
from stream_app.core.scoring.partition_state import Entry, PartitionState, eviction_kind
from stream_app.core.scoring.predictor import Degraded, Predictor
from stream_app.core.scoring.replay_headers import replay_headers
from stream_app.core.scoring.scored_encoding import ScoredEncoder
from stream_app.core.scoring.source_watermarks import MAX_SOURCES
from stream_app.core.scoring.state_changelog import AssumedEvent, JoinedEvent, WaitingLabel
from stream_app.core.scoring.state_codec import MAX_ROW_BYTES, PendingPrediction, PredictionOrigin
from stream_app.error_codes import ERROR_CODES, ErrorClass, Stage
from stream_app.headers import REPLAY_ID, REPLAY_LEARN, TRACEPARENT
from stream_app.pipeline import Pipeline
from stream_app.records import (
    ENVELOPE_BYTES,
    Failure,
    Headers,
    Output,
    Record,
    Target,
    fast_namedtuple,
    output_size,
)
from stream_app.topic_kinds import DeadLetterKind, TopicKind, is_replay_topic

DEGRADED_ALARM = "degraded"
FULL_STATE_ALARM = "state-full"
UNPROVEN_ALARM = "absent-unproven"
CONTRADICTING_ALARM = "contradicting-labels"
# Alarms that end some time after their last case.
ENDING_ALARMS = (FULL_STATE_ALARM, UNPROVEN_ALARM, CONTRADICTING_ALARM)
SAFETY_MARGIN_BYTES = 1024

# Entries that one call of `Scorer.expire` closes at most; bounds the size of a transaction.
MAX_EXPIRED_PER_CALL = 1000

# Size of an example in excess of its state record and twice its identity.
EXAMPLE_OVERHEAD_BYTES = 4096 + MAX_ROW_BYTES

# Headers of a raw record that are copied to its scored record.
_COPIED_HEADERS = (TRACEPARENT, REPLAY_ID)
_NOT_LEARNED = (REPLAY_LEARN, b"no")

_output = fast_namedtuple(Output)
_prediction = fast_namedtuple(PendingPrediction)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerConfig:
    """Names and limits that do not change while a partition is assigned.

    Attributes:
        fingerprint: fingerprint of the pipeline's declaration.
        group: consumer group, for dead letters.
        app_version: version of this program, for dead letters.
        max_bytes: size of the largest value that the scored topic accepts.
        max_entries: largest number of entries in the state.
        placement: partitioner of a pipeline with a direct source; None without one, or if the
            records were ingested.
    """

    fingerprint: str
    group: str
    app_version: str
    max_bytes: int
    max_entries: int
    placement: Placement | None = None


class Scorer:
    """Scores the events of one partition and joins labels to predictions.

    Args:
        pipeline: loaded pipeline.
        config: names and limits.
        state: keyed state of the partition.
        clock: returns seconds, for the time budget of a prediction.
        last_good: returns the version that replaces a failing one, or None.
        encode: encoder of scored records.

    Attributes:
        state: keyed state of the partition.
        failures: failures of the last batch of events.
        degraded_cause: error code because of which the served version did not score one of its
            events, or "".
    """

    def __init__(
        self,
        pipeline: Pipeline,
        config: ScorerConfig,
        state: PartitionState,
        clock: Callable[[], float],
        last_good: Callable[[Model], Model | None] = lambda _: None,
        encode: Callable[[Any], bytes] = orjson.dumps,
    ) -> None:
        self.state = state
        self.failures: list[IndexedFailure] = []
        self.degraded_cause = ""
        task = task_of(pipeline)
        self._prediction_fields = task.prediction_fields
        self._predictor = Predictor(
            task, pipeline.fallback, pipeline.limits.predict_seconds, clock, last_good
        )
        self._encoder = ScoredEncoder(
            state.partition,
            config.fingerprint,
            state.horizon,
            pipeline.publish_features,
            encode,
        )
        self._events = EventReader(pipeline)
        self._labels = LabelReader(pipeline)
        self._direct = (
            None if config.placement is None else DirectIntake(pipeline, config.placement)
        )
        self._config = config
        self._absent = pipeline.label.absent
        self._keyed = not key_is_id(pipeline)
        # By topic, because looking them up by value would take time.
        # By topic, source and schema, so that equal ones are the same object.
        self._origins: dict[tuple[str, str | None, str | None], PredictionOrigin] = {}
        # Outputs up to this size fit in any case: no event id is longer than its value.
        self._small = (config.max_bytes - EXAMPLE_OVERHEAD_BYTES - SAFETY_MARGIN_BYTES) // 3
        # Largest record in a dead letter or in the state.
        self._max_kept = config.max_bytes + ENVELOPE_BYTES - SAFETY_MARGIN_BYTES

    def reset(self, state: PartitionState) -> None:
        """Continue with another state, as if nothing had failed before."""
        self.state = state
        self._predictor.reset()

    def score(
        self, records: Iterable[Record], model: Model, now: int, schemas: Schemas = NO_SCHEMAS
    ) -> list[Output]:
        """Return the outputs of raw records.

        Args:
            records: raw records in the order of their offsets.
            model: version to score with.
            now: wall-clock time in Unix milliseconds.
            schemas: writer schemas that Avro records refer to.
        """
        outputs: list[Output] = []
        self.failures, self.degraded_cause = [], ""
        self._encoder.begin(model, now)
        for index, record in enumerate(records):
            failure = self._score_one(record, model, now, schemas, outputs)
            if failure is not None:
                self.failures.append(IndexedFailure(index, failure.code))
                outputs += self._fail(record, failure, model, now)
        outputs += self.state.full_blocks()
        return outputs + self.expire(model, now)

    def score_direct(
        self, records: Iterable[Record], model: Model, now: int, schemas: Schemas = NO_SCHEMAS
    ) -> list[Output]:
        """Return the outputs of events of a pipeline with a direct source, as `score` does.

        Records of that source are filtered, and checked to be in the partition of their key.
        """
        direct = self._direct
        if direct is None:
            return self.score(records, model, now, schemas)
        outputs: list[Output] = []
        self.failures, self.degraded_cause = [], ""
        self._encoder.begin(model, now)
        for index, record in enumerate(records):
            sent, result = direct.read(record, schemas)
            failure = (
                self._score_one(sent, model, now, schemas, outputs)
                if result is None
                else self._leave_out(result)
            )
            if failure is not None:
                self.failures.append(IndexedFailure(index, failure.code))
                outputs += self._fail(sent, failure, model, now)
        outputs += self.state.full_blocks()
        return outputs + self.expire(model, now)

    def _leave_out(self, result: Skipped | Failure) -> Failure | None:
        """Count a record of a source that is no event; a failure is returned."""
        if isinstance(result, Failure):
            return result
        if result == "filtered":
            self.state.counts.filtered += 1
        else:
            self.state.counts.tombstones += 1
        return None

    def retry(
        self, records: Iterable[Record], model: Model, now: int, schemas: Schemas = NO_SCHEMAS
    ) -> list[Output]:
        """Return the outputs of raw records whose retry is due; arguments as for `score`."""
        outputs: list[Output] = []
        self._encoder.begin(model, now)
        for record in records:
            failure = self._score_one(record, model, now, schemas, outputs)
            if failure is not None:
                outputs += self._fail(record, failure, model, now)
            else:
                outputs += self._release(record)
        return outputs + self.state.full_blocks()

    def join(
        self, records: Iterable[Record], model: Model, now: int, schemas: Schemas = NO_SCHEMAS
    ) -> list[Output]:
        """Return the outputs of label records; arguments as for `score`."""
        outputs: list[Output] = []
        for record in records:
            label = self._labels.read(record, now, schemas)
            outputs += (
                self._fail_label(record, label, model, now)
                if isinstance(label, Failure)
                else self._join_one(record, label, model, now)
            )
        return outputs + self.expire(model, now)

    def reject(
        self, record: Record, failure: Failure, model: Model, now: int, *, label: bool
    ) -> list[Output]:
        """Return the outputs of a record, or label, that must not be processed."""
        sent = record if self._direct is None else self._direct.marked(record)
        dead = (
            self._dead_label(sent, None, failure, model, now)
            if label
            else self._dead("raw.dlq", sent, failure, model, now)
        )
        return dead + self._release(record)

    def expire(self, model: Model, now: int) -> list[Output]:
        """Close expired entries, and the oldest ones while the state exceeds its limit.

        Many entries may expire at once, for example when labels stop; later calls close the rest.

        Args:
            model: served version, for dead letters.
            now: wall-clock time in Unix milliseconds.
        """
        state = self.state
        state.advance(now)
        outputs: list[Output] = []
        for identity, entry, tombstones in islice(state.pop_expired(), MAX_EXPIRED_PER_CALL):
            outputs += tombstones + self._close(identity, entry, model, now)
        while len(state.entries) > self._config.max_entries:
            identity, entry, tombstones = state.pop_oldest()
            outputs += tombstones + self._evict(identity, entry, model, now)
        return outputs + state.floor_records()

    def _close(self, identity: str, entry: Entry, model: Model, now: int) -> list[Output]:
        """Return the outputs of an entry that the clock has passed, and that was removed."""
        if isinstance(entry, PendingPrediction):
            return self._close_prediction(identity, entry, now)
        if isinstance(entry, WaitingLabel):
            failure = label_without_event(self.state, entry.label_time)
            return self._give_up(identity, entry, failure, model, now)
        return []

    def _close_prediction(
        self, identity: str, prediction: PendingPrediction, now: int
    ) -> list[Output]:
        """Return the example with the assumed label, if one is declared and proven."""
        state, absent = self.state, self._absent
        closed_at = prediction.event_time + state.retention
        if absent is None or prediction.features is None:
            state.counts.expired += 1
            return []
        if state.clock.labels.watermark <= closed_at:
            state.counts.expired += 1
            state.counts.absent_unproven += 1
            state.alarms.raise_(UNPROVEN_ALARM, "no label of a later time", now)
            return []
        state.counts.assumed += 1
        kept = state.put(identity, AssumedEvent(prediction.event_time))
        key, event_id = self._key_and_id(identity)
        partition = self.state.partition
        example = _example_of(event_id, prediction, absent, closed_at, partition, assumed=True)
        return [kept, Output("examples", 0, key.encode(), example.encode())]

    def _evict(self, identity: str, entry: Entry, model: Model, now: int) -> list[Output]:
        """Return the outputs of an entry that was removed because the state is full."""
        state = self.state
        state.counts.expired += isinstance(entry, PendingPrediction)
        kind = eviction_kind(entry)
        state.counts.evicted[kind] += 1
        state.alarms.raise_(FULL_STATE_ALARM, kind, now, limit=self._config.max_entries)
        if isinstance(entry, WaitingLabel):
            failure = label_evicted(entry.label_time)
            return self._give_up(identity, entry, failure, model, now)
        return []

    def _give_up(
        self, identity: str, waiting: WaitingLabel, failure: Failure, model: Model, now: int
    ) -> list[Output]:
        """Return the dead letter of a label that waited for its event, and its outcome."""
        self.state.replayed_labels.count(waiting.record, "waiting", -1)
        label = waiting.of_event(self._key_and_id(identity)[1])
        return self._dead_label(waiting.record, label, failure, model, now)

    def _score_one(
        self, record: Record, model: Model, now: int, schemas: Schemas, outputs: list[Output]
    ) -> Failure | None:
        """Add the scored record, the change of the state and, if the label waits, the example.

        Hot path, as in the reader: what every event needs is done in place.
        """
        topic, partition, offset, _, key, sent, headers = record
        event = self._events.read(record, now, schemas)
        if isinstance(event, Failure):
            if sent or not headers or is_replay_topic(topic) or not is_completeness(record):
                return event
            return self._complete(record, "events", now)
        event_id, event_time, _, features, imputed, _, position, schema_id = event
        state = self.state
        if event_time < state.oldest_event:
            return event_too_late(state, event_time)
        identity = self.identity(key, event_id) if self._keyed else event_id
        waiting = None
        if identity in state.entries:
            known = state.find(identity)
            if not isinstance(known, WaitingLabel):
                state.counts.duplicates += 1
                return None
            waiting = known
        result = self._predictor.predict(model, features, now)
        if isinstance(result, Failure):
            return result
        if isinstance(result, Degraded):
            degraded, score, version = result, result.score, result.version
        else:
            degraded, score, version = None, result, model.version
        predicted = self._prediction_fields(score)
        value = self._encoder.encode(event, topic, offset, predicted, degraded)
        scored = _output(("scored", partition, key, value, headers and _copied(record)))
        learned = (
            None if headers and _NOT_LEARNED in headers and is_replay_topic(topic) else features
        )
        source = None if position is None else position.source
        origin = self._origins.get((topic, source, schema_id)) or self._origin(
            topic, predicted[2], source, schema_id
        )
        pending = _prediction((event_time, score, version, learned, origin, offset))
        packed = state.pack(pending)
        fits = (
            len(value) + len(packed) < self._small
            and len(key or b"") < SAFETY_MARGIN_BYTES
            and not headers
        )
        if not fits and self._is_too_large(scored, packed, identity):
            limit = self._config.max_bytes
            return Failure("output-too-large", f"the scored record exceeds {limit} bytes")
        state.counts.scored += 1
        if imputed or degraded is not None:
            self._count_corrections(imputed, degraded, now)
        state.clock.events.own.times.append(event_time if event_time < now else now)
        outputs.append(scored)
        if waiting is None:
            outputs += state.expect(identity, event_time, packed)
            return None
        label = waiting.of_event(event_id)
        state.replayed_labels.count(waiting.record, "waiting", -1)
        if is_within_horizon(state, event_time, label.label_time):
            outputs += self._example(identity, waiting.record, pending, label)
        else:
            outputs += self._expired_label(waiting.record, label, event_time)
            outputs += state.expect(identity, event_time, packed)
        return None

    def identity(self, key: bytes | None, event_id: str) -> str:
        """Return the identity of an event by which the state keeps it.

        Args:
            key: key of the record of the event or its label, which is in UTF-8.
            event_id: id of the event.
        """
        return event_identity((key or b"").decode(), event_id) if self._keyed else event_id

    def _key_and_id(self, identity: str) -> tuple[str, str]:
        """Return the key of the records of an event, and its id."""
        return EventIdentity.parse(identity) if self._keyed else (identity, identity)

    def _origin(
        self, topic: str, threshold: float | None, source: str | None, schema_id: str | None
    ) -> PredictionOrigin:
        """Return the origin of predictions for events of a topic, a source and a schema."""
        kind: TopicKind = "raw.replay" if is_replay_topic(topic) else "raw"
        found = PredictionOrigin(self._config.fingerprint, threshold, kind, source, schema_id)
        return self._origins.setdefault((topic, source, schema_id), found)

    def _complete(self, record: Record, name: InputName, now: int) -> Failure | None:
        """Apply a completeness record of an input; it has no output."""
        clock, counts = self.state.clock, self.state.counts
        found = read_completeness(record, now)
        if isinstance(found, Failure):
            return found
        # Of a source that was ingested before, nobody writes further ones.
        direct = self._direct.name if self._direct is not None else None
        is_stale = name == "events" and found.source == direct
        sources = (clock.events if name == "events" else clock.labels).sources
        if not is_stale and not sources.set(found):
            return Failure("completeness-invalid", f"the input has more than {MAX_SOURCES} sources")
        if name == "events":
            counts.completeness += 1
        else:
            counts.label_completeness += 1
        return None

    def _is_too_large(self, scored: Output, packed: bytes, identity: str) -> bool:
        """Return True if the scored record, or the example, does not fit into its topic."""
        example = len(packed) + EXAMPLE_OVERHEAD_BYTES + 2 * len(identity.encode())
        max_bytes = self._config.max_bytes
        return output_size(scored) > max_bytes or example > max_bytes + ENVELOPE_BYTES

    def _count_corrections(
        self, imputed: Iterable[str], degraded: Degraded | None, now: int
    ) -> None:
        """Count the corrective actions by which an event could be scored."""
        state = self.state
        for field in imputed:
            state.actions.add("impute", field, now)
        if degraded is not None:
            state.counts.degraded += 1
            self.degraded_cause = degraded.cause
            state.actions.add("fallback", degraded.cause, now)
            state.alarms.raise_(DEGRADED_ALARM, degraded.cause, now)

    def _fail_label(self, record: Record, failure: Failure, model: Model, now: int) -> list[Output]:
        """Return the dead letter of a record that is no label, unless it is for completeness."""
        if not record.value and is_completeness(record):
            problem = self._complete(record, "labels", now)
            if problem is None:
                return []
            failure = problem
        return self._dead_label(record, None, failure, model, now)

    def _join_one(self, record: Record, label: LabelEvent, model: Model, now: int) -> list[Output]:
        state = self.state
        identity = self.identity(record.key, label.event_id)
        known = state.find(identity)
        if known is None:
            return self._wait(identity, record, label, model, now)
        if isinstance(known, AssumedEvent):
            return self._join_assumed(record, label, known, now)
        if not isinstance(known, PendingPrediction):
            # A label that waits has no event yet.
            time = known.event_time if isinstance(known, JoinedEvent) else None
            return self._duplicate_label(record, label, time)
        state.clock.labels.own.times.append(min(label.label_time, now))
        if not is_within_horizon(state, known.event_time, label.label_time):
            return self._expired_label(record, label, known.event_time)
        return self._example(identity, record, known, label)

    def _duplicate_label(
        self, record: Record, label: LabelEvent, event_time: int | None
    ) -> list[Output]:
        self.state.counts.label_duplicates += 1
        self.state.replayed_labels.count(record, "duplicate")
        return [self._outcome("duplicate", record, label, event_time)]

    def _expired_label(self, record: Record, label: LabelEvent, event_time: int) -> list[Output]:
        self.state.counts.label_expired += 1
        self.state.replayed_labels.count(record, "expired")
        return [self._outcome("expired", record, label, event_time)]

    def _join_assumed(
        self, record: Record, label: LabelEvent, known: AssumedEvent, now: int
    ) -> list[Output]:
        """Count a label of an event whose label was assumed; it is not learned."""
        state, counts = self.state, self.state.counts
        state.clock.labels.own.times.append(min(label.label_time, now))
        if not is_within_horizon(state, known.event_time, label.label_time):
            return self._expired_label(record, label, known.event_time)
        if label.label == self._absent:
            return self._duplicate_label(record, label, known.event_time)
        counts.contradicting += 1
        delay = (label.label_time - known.event_time) / 1000
        limit = state.retention / 1000
        state.alarms.raise_(CONTRADICTING_ALARM, "a label came", now, delay, limit)
        state.replayed_labels.count(record, "contradicting")
        return [self._outcome("contradicting", record, label, known.event_time)]

    def _wait(
        self, identity: str, record: Record, label: LabelEvent, model: Model, now: int
    ) -> list[Output]:
        """Keep a label until its event comes, unless it is too late for that."""
        state = self.state
        failure = label_too_late(state, label.label_time)
        if failure is not None:
            return self._dead_label(record, label, failure, model, now)
        waiting = WaitingLabel(label.label, label.label_time, record)
        encoded = waiting.encode()
        if len(encoded) + len(identity.encode()) > self._max_kept:
            failure = Failure(
                "output-too-large", "the label record is too large to be kept until its event comes"
            )
            return self._dead_label(record, label, failure, model, now)
        state.clock.labels.own.times.append(min(label.label_time, now))
        state.replayed_labels.count(record, "waiting")
        return [state.put(identity, waiting, encoded)]

    def _example(
        self, identity: str, record: Record, prediction: PendingPrediction, label: LabelEvent
    ) -> list[Output]:
        """Join a label to its prediction; return the example, with the key of both records."""
        self.state.counts.joined += 1
        self.state.replayed_labels.count(record, "joined")
        event_time = prediction.event_time
        joined = self.state.put(identity, JoinedEvent(event_time))
        if prediction.features is None:
            self.state.counts.unlearned += 1
            return [joined, self._outcome("unlearned", record, label, event_time)]
        event_id, target, time, source = label
        example = _example_of(
            event_id, prediction, target, time, self.state.partition, source=source
        )
        outcome = self._outcome("joined", record, label, event_time)
        return [joined, Output("examples", 0, record.key, example.encode()), outcome]

    def _outcome(
        self,
        outcome: LabelOutcomeName,
        record: Record,
        label: LabelEvent | None,
        event_time: int | None,
        error_code: str | None = None,
    ) -> Output:
        """Return the outcome of a label, without the label if it would not fit into its topic."""
        found = label_outcome(outcome, record, label, event_time, error_code)
        if output_size(found) <= self._max_kept:
            return found
        short = record._replace(key=(record.key or b"")[:MAX_KEY_BYTES])
        return label_outcome(outcome, short, None, event_time, error_code)

    def _dead_label(
        self,
        record: Record,
        label: LabelEvent | None,
        failure: Failure,
        model: Model,
        now: int,
    ) -> list[Output]:
        """Return the dead letter of a label, None if it could not be read, and its outcome."""
        outcome = self._outcome("dead-lettered", record, label, None, _named(failure).code)
        return [*self._dead("labels.dlq", record, failure, model, now), outcome]

    def _fail(self, record: Record, failure: Failure, model: Model, now: int) -> list[Output]:
        """Let a failed event wait for a retry if that may help, else make it a dead letter."""
        state = self.state
        if ERROR_CODES[failure.code].error_class is ErrorClass.TRANSIENT:
            waiting = state.retries.add(record, now, self._max_kept)
            if waiting is not None:
                state.counts.retrying = len(state.retries)
                state.actions.add("retry", failure.code, now)
                return [waiting]
        return self._dead("raw.dlq", record, failure, model, now) + self._release(record)

    def _release(self, record: Record) -> list[Output]:
        """Remove a record that has its outcome from the retries."""
        released = self.state.retries.release(record)
        self.state.counts.retrying = len(self.state.retries)
        return released

    def _dead(
        self, topic: DeadLetterKind, record: Record, failure: Failure, model: Model, now: int
    ) -> list[Output]:
        failure = _named(failure)
        counts, config = self.state.counts, self._config
        (counts.dead if topic == "raw.dlq" else counts.label_dead)[failure.code] += 1
        context = FailureContext(
            config.group, str(model.version), config.fingerprint, config.app_version
        )
        last_attempt = self.state.retries.last_attempt(record)
        # `ingest` would get replays of its stage.
        is_filter = ERROR_CODES[failure.code].stage is Stage.INGEST
        stage = Stage.PROCESS if is_filter else None
        letter = dead_letter(topic, record, failure, context, now, last_attempt, stage)
        return [letter if output_size(letter) <= self._max_kept else shortened(letter)]


def _named(failure: Failure) -> Failure:
    """Return the failure with the code of its cause, if memory was exhausted."""
    if isinstance(failure.exception, MemoryError):
        return failure._replace(code="record-exhausts-memory")
    return failure


def _example_of(
    event_id: str,
    prediction: PendingPrediction,
    label: Target,
    label_time: int,
    partition: int,
    *,
    assumed: bool = False,
    source: str | None = None,
) -> Example:
    """Return the example of a prediction that may be learned."""
    event_time, score, version, features, origin, _ = prediction
    return Example(
        event_id,
        event_time,
        label_time,
        label,
        score,
        version,
        features or {},
        origin.fingerprint,
        assumed,
        source,
        origin.event_source,
        origin.schema_id,
        partition,
    )


def _copied(record: Record) -> Headers:
    """Return the headers of a raw record that its scored record gets as well."""
    copied = [
        (name, text)
        for name, text in record.headers
        if name in _COPIED_HEADERS and len(text or b"") < 100
    ]
    if all(name != REPLAY_ID for name, _ in copied) or replay_headers(record):
        return copied
    return [(name, text) for name, text in copied if name != REPLAY_ID]
