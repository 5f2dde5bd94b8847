"""Scoring one partition: a batch of records in, outcomes out; every record has exactly one."""

from collections.abc import Callable, Iterable
from itertools import islice

import orjson

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.example import Example
from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas
from stream_app.core.reading.record_reader import EventReader, LabelEvent, LabelReader
from stream_app.core.scoring.circuit_breaker import IndexedFailure
from stream_app.core.scoring.dead_letter import dead_letter, shortened
from stream_app.core.scoring.partition_state import (
    JoinedEvent,
    PartitionState,
    PendingPrediction,
    WaitingLabel,
)
from stream_app.core.scoring.prediction_codec import MOST_NAME_BYTES, Prediction
from stream_app.core.scoring.predictor import Degraded, Model, Predictor
from stream_app.error_codes import ERROR_CODES, ErrorClass
from stream_app.headers import (
    APP_VERSION,
    MODEL_VERSION,
    REPLAY_ID,
    REPLAY_LEARN,
    SCHEMA_VERSION,
    TRACEPARENT,
)
from stream_app.pipeline import Pipeline
from stream_app.records import (
    ENVELOPE_BYTES,
    Failure,
    Fields,
    Headers,
    Output,
    Record,
    Target,
    fast_namedtuple,
    output_size,
)
from stream_app.topic_kinds import DeadLetterKind

DEGRADED_ALARM = "degraded"
MARGIN = 1024  # bytes
MOST_EXPIRED = 1000  # at once: a transaction takes no more than so many and what comes with a batch
_PASSED_ON = (TRACEPARENT, REPLAY_ID)
_NOT_LEARNED = (REPLAY_LEARN, b"no")
_output = fast_namedtuple(Output)
EXAMPLE_OVERHEAD = (
    4096 + MOST_NAME_BYTES
)  # that an example has on top of the state record and twice the event id


class Scorer:
    """The scoring of one partition over its `PartitionState`.

    `group` and `app_version` go into dead letters; `max_bytes` is the largest value the scored topic takes,
    `max_entries` the most that the state may hold. `write` encodes the scored records, `clock` gives seconds for the
    budget of a prediction, `last_good` the version that stands in for one that fails, if there is one. `failed` are the
    failures of the last batch of events, `degraded` why one of it was not scored by the version that is served.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        fingerprint: str,
        state: PartitionState,
        *,
        group: str,
        app_version: str,
        max_bytes: int,
        max_entries: int,
        clock: Callable[[], float],
        last_good: Callable[[Model], Model | None] = lambda _: None,
        write: Callable[[Fields], bytes] = orjson.dumps,
    ) -> None:
        self.state = state
        self.failed: list[IndexedFailure] = []
        self.degraded = ""
        task = task_of(pipeline)
        self._shown = task.prediction_fields
        self._predictor = Predictor(
            task, pipeline.fallback, pipeline.limits.predict_seconds, clock, last_good
        )
        self._write = write
        self._events = EventReader(pipeline)
        self._labels = LabelReader(pipeline)
        self._fingerprint = fingerprint
        self._publish_features = pipeline.publish_features
        self._group = group
        self._app_version = app_version
        self._max_bytes = max_bytes
        self._little = (
            max_bytes - EXAMPLE_OVERHEAD - MARGIN
        ) // 3  # that surely fits: no id is longer than its value
        self._largest_kept = (
            max_bytes + ENVELOPE_BYTES - MARGIN
        )  # of a record in a dead letter or in the state
        self._max_entries = max_entries

    def start_over(self, state: PartitionState) -> None:
        """Go on with another state, as if nothing had failed before."""
        self.state = state
        self._predictor.start_over()

    def score(
        self, records: Iterable[Record], model: Model, now: int, schemas: Schemas = NO_SCHEMAS
    ) -> list[Output]:
        """Outcomes of raw records; `now` is epoch milliseconds, `schemas` has those that Avro records name."""
        outputs: list[Output] = []
        self.failed, self.degraded = [], ""
        for place, record in enumerate(records):
            result = self._score_one(record, model, now, schemas)
            if isinstance(result, Failure):
                self.failed.append(IndexedFailure(place, result.code))
                result = self._fail(record, result, model, now)
            outputs += result
        return outputs + self.expire(model, now, labels_at_end=False)

    def retry(
        self, records: Iterable[Record], model: Model, now: int, schemas: Schemas = NO_SCHEMAS
    ) -> list[Output]:
        """Outcomes of raw records that waited to be tried again, and are due."""
        outputs: list[Output] = []
        for record in records:
            result = self._score_one(record, model, now, schemas)
            if isinstance(result, Failure):
                outputs += self._fail(record, result, model, now)
            else:
                outputs += result + self._release(record)
        return outputs

    def join(
        self, records: Iterable[Record], model: Model, now: int, schemas: Schemas = NO_SCHEMAS
    ) -> list[Output]:
        """Outcomes of label records."""
        outputs: list[Output] = []
        for record in records:
            result = self._join_one(record, now, schemas)
            outputs += (
                self._dead("labels.dlq", record, result, model, now)
                if isinstance(result, Failure)
                else result
            )
        return outputs + self.expire(model, now, labels_at_end=False)

    def reject(
        self, record: Record, failure: Failure, model: Model, now: int, *, label: bool
    ) -> list[Output]:
        """The outcome of a record that must not be worked on."""
        return self._dead(
            "labels.dlq" if label else "raw.dlq", record, failure, model, now
        ) + self._release(record)

    def expire(self, model: Model, now: int, *, labels_at_end: bool) -> list[Output]:
        """Close what has fallen due, the oldest first, and the oldest while the state is over its limit.

        Much may fall due at once, as when labels stop coming; what is left is closed by the next calls.
        """
        self.state.advance(labels_at_end)
        due = list(islice(self.state.pop_due(), MOST_EXPIRED))
        while len(self.state.entries) > self._max_entries:
            due.append(self.state.pop_oldest())
        outputs: list[Output] = []
        for _, entry, tombstone in due:
            outputs.append(tombstone)
            if isinstance(entry, PendingPrediction):
                self.state.tallies.expired += 1
            elif isinstance(entry, WaitingLabel):
                failure = Failure(
                    "unknown-event", "no event came for this label within its horizon"
                )
                outputs += self._dead("labels.dlq", entry.record, failure, model, now)
        return outputs

    def _score_one(
        self, record: Record, model: Model, now: int, schemas: Schemas
    ) -> list[Output] | Failure:
        """The scored record, the change of state and, when its label already waits, the example.

        The fast path, as in the reader: what every event needs is done in place.
        """
        topic, partition, offset, _, key, _, headers = record
        event = self._events.read(record, now, schemas)
        if isinstance(event, Failure):
            return event
        event_id, event_time, _, features, imputed = event
        state = self.state
        if event_time + state.kept_for < state.clock:
            return Failure("event-too-late", "the event is older than horizon + allowed lateness")
        waiting = None
        if event_id in state.entries:
            known = state.find(event_id)
            if not isinstance(known, WaitingLabel):
                state.tallies.duplicates += 1
                return []
            waiting = known
        made = self._predictor.predict(model, features, now)
        if isinstance(made, Failure):
            return made
        if isinstance(made, Degraded):
            degraded, score, version = made, made.score, made.version
        else:
            degraded, score, version = None, made, model.version
        prediction, number, threshold, probabilities = self._shown(score)
        value = self._write(  # a record of `schemas/scored.avsc`; times are epoch milliseconds
            {
                "event_id": event_id,
                "event_time": event_time,
                "scored_at": now,
                "prediction": prediction,
                "score": number,
                "threshold": threshold,
                "probabilities": probabilities,
                "model": {"name": model.name, "version": version},
                "degraded": None if degraded is None else degraded.by,
                "source": {"topic": topic, "partition": partition, "offset": offset},
                "fingerprint": self._fingerprint,
                "imputed": imputed,
                "label_due_by": event_time + state.horizon,
                "features": features if self._publish_features else None,
            }
        )
        # The value is copied, for orjson's own bytes lie in a block of 1 kB and more.
        scored = _output(("scored", partition, key, b"%b" % value, headers and _trace(headers)))
        kept = event_time, score, version, None if headers and _NOT_LEARNED in headers else features
        packed = state.pack(kept)
        fits = len(value) + len(packed) < self._little and len(key or b"") < MARGIN and not headers
        if not fits and self._is_too_large(scored, packed, event_id):
            return Failure("output-too-large", f"the scored record exceeds {self._max_bytes} bytes")
        state.tallies.scored += 1
        if imputed or degraded is not None:
            self._note(imputed, degraded, now)
        state.saw_event(event_time, now)
        if waiting is None or waiting.label_time > event_time + state.horizon:
            state.tallies.label_expired += waiting is not None
            return [scored, state.expect(event_id, event_time, packed)]
        return [scored, *self._example(event_id, kept, waiting.label, waiting.label_time)]

    def _is_too_large(self, scored: Output, packed: bytes, event_id: str) -> bool:
        """Whether the scored record does not fit into its topic, or its example would not."""
        example = len(packed) + EXAMPLE_OVERHEAD + 2 * len(event_id.encode())
        return output_size(scored) > self._max_bytes or example > self._max_bytes + ENVELOPE_BYTES

    def _note(self, imputed: Iterable[str], degraded: Degraded | None, now: int) -> None:
        """What was done about an event so that it could be scored."""
        state = self.state
        for field in imputed:
            state.actions.note("impute", field, now)
        if degraded is not None:
            state.tallies.degraded += 1
            self.degraded = degraded.cause
            state.actions.note("fallback", degraded.cause, now)
            state.alarms.raise_(DEGRADED_ALARM, degraded.cause, now)

    def _join_one(self, record: Record, now: int, schemas: Schemas) -> list[Output] | Failure:
        label = self._labels.read(record, now, schemas)
        if isinstance(label, Failure):
            return label
        state = self.state
        known = state.find(label.event_id)
        if known is None:
            return self._wait(record, label, now)
        if not isinstance(known, PendingPrediction):
            state.tallies.label_duplicates += 1
            return []
        state.label_watermark = max(state.label_watermark, min(label.label_time, now))
        if label.label_time > known.event_time + state.horizon:
            state.tallies.label_expired += 1
            return []
        return self._example(label.event_id, known, label.label, label.label_time)

    def _wait(self, record: Record, label: LabelEvent, now: int) -> list[Output] | Failure:
        """Keep a label until its event comes; one that is too late for that is counted as expired."""
        state = self.state
        if label.label_time + state.lateness < state.clock:
            state.tallies.label_expired += 1
            return []
        waiting = WaitingLabel(label.label, label.label_time, record)
        encoded = waiting.encode()
        if len(encoded) + len(label.event_id.encode()) > self._largest_kept:
            return Failure(
                "output-too-large", "the label record is too large to be kept until its event comes"
            )
        state.label_watermark = max(state.label_watermark, min(label.label_time, now))
        return [state.put(label.event_id, waiting, encoded)]

    def _example(
        self, event_id: str, prediction: Prediction, label: Target, label_time: int
    ) -> list[Output]:
        event_time, score, version, features = prediction
        self.state.tallies.joined += 1
        joined = self.state.put(event_id, JoinedEvent(event_time))
        if features is None:
            self.state.tallies.unlearned += 1
            return [joined]
        example = Example(
            event_id, event_time, label_time, label, score, version, features, self._fingerprint
        )
        return [joined, Output("examples", 0, event_id.encode(), example.encode())]

    def _fail(self, record: Record, failure: Failure, model: Model, now: int) -> list[Output]:
        """A failed event waits for another try, where that may help, or is a dead letter."""
        state = self.state
        if ERROR_CODES[failure.code].error_class is ErrorClass.TRANSIENT:
            kept = state.retries.keep(record, now, self._largest_kept)
            if kept is not None:
                state.tallies.retrying = len(state.retries)
                state.actions.note("retry", failure.code, now)
                return [kept]
        return self._dead("raw.dlq", record, failure, model, now) + self._release(record)

    def _release(self, record: Record) -> list[Output]:
        """It has its outcome, and waits for nothing any more."""
        released = self.state.retries.release(record)
        self.state.tallies.retrying = len(self.state.retries)
        return released

    def _dead(
        self, topic: DeadLetterKind, record: Record, failure: Failure, model: Model, now: int
    ) -> list[Output]:
        if isinstance(failure.exception, MemoryError):
            failure = failure._replace(code="record-exhausts-memory")
        dead = self.state.tallies.dead if topic == "raw.dlq" else self.state.tallies.label_dead
        dead[failure.code] += 1
        context = {
            "group": self._group,
            MODEL_VERSION: str(model.version),
            SCHEMA_VERSION: self._fingerprint,
            APP_VERSION: self._app_version,
        }
        letter = dead_letter(
            topic, record, failure, context, now, self.state.retries.before(record)
        )
        return [letter if output_size(letter) <= self._largest_kept else shortened(letter)]


def _trace(headers: Headers) -> Headers:
    """Those that a scored record has from its raw record."""
    return [(name, text) for name, text in headers if name in _PASSED_ON and len(text or b"") < 100]
