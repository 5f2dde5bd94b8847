"""Scoring one partition: a batch of records in, outcomes out; every record has exactly one."""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Protocol

import orjson

from stream_app.core.decode import NO_SCHEMAS, Schemas
from stream_app.core.events import Event, EventReader, LabelEvent, LabelReader
from stream_app.core.example import Example
from stream_app.core.records import ENVELOPE_BYTES, Failure, Features, Fields, Output, Record, size
from stream_app.core.route import dead_letter, shortened
from stream_app.core.state import Joined, Pending, State, Waiting, plain
from stream_app.pipeline import Pipeline

MARGIN = 1024  # bytes
EXAMPLE_OVERHEAD = 4096  # bytes that an example has on top of the state record and twice the event id, at most


class Model(Protocol):
    """A loaded model version; `score` may raise whatever the model raises."""

    name: str
    version: int

    def score(self, features: Features) -> float:
        """Probability that the label will be true."""


class Scorer:
    """The scoring of one partition over its `State`.

    `group` and `app_version` go into dead letters; `max_bytes` is the largest value the scored topic takes,
    `max_entries` the most that the state may hold. `write` encodes the scored records.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        fingerprint: str,
        state: State,
        *,
        group: str,
        app_version: str,
        max_bytes: int,
        max_entries: int,
        write: Callable[[Fields], bytes] = orjson.dumps,
    ) -> None:
        self.state = state
        self._write = write
        self._events = EventReader(pipeline)
        self._labels = LabelReader(pipeline)
        self._fingerprint = fingerprint
        self._threshold = pipeline.thresholds.decision
        self._publish_features = pipeline.publish_features
        self._group = group
        self._app_version = app_version
        self._max_bytes = max_bytes
        self._max_entries = max_entries

    def score(self, records: Sequence[Record], model: Model, now: int, schemas: Schemas = NO_SCHEMAS) -> list[Output]:
        """Outcomes of raw records; `now` is epoch milliseconds, `schemas` has those that Avro records name."""
        outputs: list[Output] = []
        for record in records:
            result = self._score_one(record, model, now, schemas)
            outputs += self._dead("raw.dlq", record, result, model, now) if isinstance(result, Failure) else result
        return outputs + self.expire(model, now, labels_at_end=False)

    def join(self, records: Sequence[Record], model: Model, now: int, schemas: Schemas = NO_SCHEMAS) -> list[Output]:
        """Outcomes of label records."""
        outputs: list[Output] = []
        for record in records:
            result = self._join_one(record, now, schemas)
            outputs += self._dead("labels.dlq", record, result, model, now) if isinstance(result, Failure) else result
        return outputs + self.expire(model, now, labels_at_end=False)

    def expire(self, model: Model, now: int, *, labels_at_end: bool) -> list[Output]:
        """Close what has fallen due, and the oldest while the state is over its limit."""
        self.state.advance(labels_at_end)
        due = list(self.state.pop_due())
        while len(self.state.entries) > self._max_entries:
            due.append(self.state.pop_oldest())
        outputs: list[Output] = []
        for _, entry, tombstone in due:
            outputs.append(tombstone)
            if isinstance(entry, Pending):
                self.state.tallies.expired += 1
            elif isinstance(entry, Waiting):
                failure = Failure("unknown-event", "no event came for this label within its horizon")
                outputs += self._dead("labels.dlq", entry.record, failure, model, now)
        return outputs

    def _score_one(self, record: Record, model: Model, now: int, schemas: Schemas) -> list[Output] | Failure:
        event = self._events.read(record, now, schemas)
        if isinstance(event, Failure):
            return event
        state = self.state
        if event.event_time + state.horizon + state.lateness < state.clock:
            return Failure("event-too-late", "the event is older than horizon + allowed lateness")
        known = state.find(event.event_id)
        if known is not None and not isinstance(known, Waiting):
            state.tallies.duplicates += 1
            return []
        score = _predict(model, event.features)
        if isinstance(score, Failure):
            return score
        return self._accept(record, event, score, known, model, now)

    def _accept(
        self, record: Record, event: Event, score: float, waiting: Waiting | None, model: Model, now: int
    ) -> list[Output] | Failure:
        """The scored record, the change of state and, when its label already waits, the example."""
        state = self.state
        value = self._scored(record, event, score, model, now)
        pending = Pending(event.event_time, score, model.version, event.features)
        trace = [(name, text) for name, text in record.headers if name == "traceparent" and len(text or b"") < 100]
        scored = Output("scored", record.partition, record.key, value, trace)
        encoded = pending.encode()
        kept = len(encoded) + EXAMPLE_OVERHEAD + 2 * len(event.event_id.encode())
        if size(scored) > self._max_bytes or kept > self._max_bytes + ENVELOPE_BYTES:
            return Failure("output-too-large", f"the scored record exceeds {self._max_bytes} bytes")
        outputs = [scored]
        state.tallies.scored += 1
        state.event_watermark = max(state.event_watermark, min(event.event_time, now))
        if waiting is None:
            outputs.append(state.put(event.event_id, pending, encoded))
        elif waiting.label_time > event.event_time + state.horizon:
            state.tallies.label_expired += 1
            outputs.append(state.put(event.event_id, pending, encoded))
        else:
            outputs += self._example(event.event_id, pending, waiting.label, waiting.label_time)
        return outputs

    def _join_one(self, record: Record, now: int, schemas: Schemas) -> list[Output] | Failure:
        label = self._labels.read(record, now, schemas)
        if isinstance(label, Failure):
            return label
        state = self.state
        known = state.find(label.event_id)
        if known is None:
            return self._wait(record, label, now)
        if not isinstance(known, Pending):
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
        waiting = Waiting(label.label, label.label_time, plain(record))
        encoded = waiting.encode()
        if len(encoded) + len(label.event_id.encode()) > self._max_bytes + ENVELOPE_BYTES - MARGIN:
            return Failure("output-too-large", "the label record is too large to be kept until its event comes")
        state.label_watermark = max(state.label_watermark, min(label.label_time, now))
        return [state.put(label.event_id, waiting, encoded)]

    def _example(self, event_id: str, pending: Pending, label: bool, label_time: int) -> list[Output]:
        event_time, score, version, features = pending
        example = Example(event_id, event_time, label_time, label, score, version, features, self._fingerprint)
        self.state.tallies.joined += 1
        return [
            self.state.put(event_id, Joined(event_time)),
            Output("examples", 0, event_id.encode(), example.encode()),
        ]

    def _scored(self, record: Record, event: Event, score: float, model: Model, now: int) -> bytes:
        """A record of `schemas/scored.avsc`; times are epoch milliseconds."""
        fields = {
            "event_id": event.event_id,
            "event_time": event.event_time,
            "scored_at": now,
            "prediction": score >= self._threshold,
            "score": score,
            "threshold": self._threshold,
            "model": {"name": model.name, "version": model.version},
            "source": {"topic": record.topic, "partition": record.partition, "offset": record.offset},
            "fingerprint": self._fingerprint,
            "imputed": event.imputed,
            "label_due_by": event.event_time + self.state.horizon,
            "features": event.features if self._publish_features else None,
        }
        return self._write(fields)

    def _dead(self, topic: str, record: Record, failure: Failure, model: Model, now: int) -> list[Output]:
        dead = self.state.tallies.dead if topic == "raw.dlq" else self.state.tallies.label_dead
        dead[failure.code] += 1
        context = {
            "group": self._group,
            "model-version": str(model.version),
            "schema-version": self._fingerprint,
            "app-version": self._app_version,
        }
        letter = dead_letter(topic, record, failure, context, now)
        return [letter if size(letter) <= self._max_bytes + ENVELOPE_BYTES - MARGIN else shortened(letter)]


def _predict(model: Model, features: Features) -> float | Failure:
    try:
        score = model.score(features)
    except Exception as error:  # a model may raise anything; whatever it is, it costs this record only
        return Failure("model-failed", f"the model raised {type(error).__name__}", error)
    if not isinstance(score, float) or not isfinite(score) or not 0.0 <= score <= 1.0:
        return Failure("score-invalid", f"the score is not a probability but {type(score).__name__}")
    return float(score)
