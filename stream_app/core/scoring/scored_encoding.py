"""Encoding of scored records, in JSON or another format.

The records of a batch differ in few fields. In JSON a template holds the others: filling it takes
half the time of encoding a whole record, and gives the same bytes.
"""

from collections.abc import Callable
from typing import Any

import orjson

from stream_app.core.published_records import EventOrigin, ScoredRecord
from stream_app.core.reading.record_reader import Event
from stream_app.core.scoring.model_protocols import Model
from stream_app.core.scoring.predictor import Degraded
from stream_app.headers import SourcePosition

# Places in a template; orjson escapes these characters everywhere else.
_BYTES, _NUMBER = orjson.Fragment(b"\0"), orjson.Fragment(b"\1")


class ScoredEncoder:
    """Encodes the scored records of one partition.

    Args:
        partition: number of the partition.
        fingerprint: fingerprint of the pipeline's declaration.
        horizon: time in milliseconds in which a label may become known.
        publish_features: True if records contain the features.
        encode: encoder of a whole record.
    """

    def __init__(
        self,
        partition: int,
        fingerprint: str,
        horizon: int,
        publish_features: bool,
        encode: Callable[[Any], bytes] = orjson.dumps,
    ) -> None:
        self._partition = partition
        self._fingerprint = fingerprint
        self._horizon = horizon
        self._publish_features = publish_features
        self._encode = encode
        self._uses_template = encode is orjson.dumps and not publish_features
        self._model: Model | None = None
        self._now = 0
        self._topic = ""
        self._threshold: float | None = None
        self._schema_id: str | None = None
        self._template = b""

    def begin(self, model: Model, now: int) -> None:
        """Begin a batch with its served version and wall-clock time in Unix milliseconds."""
        self._model, self._now, self._topic = model, now, ""

    def encode(
        self,
        event: Event,
        topic: str,
        offset: int,
        predicted: tuple[Any, ...],
        degraded: Degraded | None,
    ) -> bytes:
        """Return the value of a scored record.

        Args:
            event: the event.
            topic: topic of its record.
            offset: offset of its record.
            predicted: values of `PREDICTION_FIELDS`.
            degraded: the score if the served version did not make it.
        """
        event_id, event_time, _, _, imputed, passed, origin, schema_id = event
        prediction, score, threshold, probabilities = predicted
        if topic != self._topic or threshold != self._threshold or schema_id != self._schema_id:
            self._topic, self._threshold, self._schema_id = topic, threshold, schema_id
            self._template = self._new_template(event, topic, offset, predicted)
        if (
            self._template
            and degraded is None
            and not imputed
            and passed is None
            and origin is None
            and probabilities is None
        ):
            dumps = orjson.dumps
            if prediction is True:
                shown = b"true"
            else:
                shown = b"false" if prediction is False else dumps(prediction)
            filled: bytes = self._template % (
                dumps(event_id),
                event_time,
                shown,
                dumps(score),
                offset,
                event_time + self._horizon,
            )
            return filled
        record = self._record(event, topic, offset, predicted, degraded)
        # Copy: orjson returns over-allocated buffers (1 kB and more).
        return b"%b" % self._encode(record)

    def _record(
        self,
        event: Event,
        topic: str,
        offset: int,
        predicted: tuple[Any, ...],
        degraded: Degraded | None,
    ) -> ScoredRecord:
        """Return a whole record."""
        event_id, event_time, _, features, imputed, passed, origin, schema_id = event
        prediction, score, threshold, probabilities = predicted
        model = self._model
        assert model is not None
        record: ScoredRecord = {
            "event_id": event_id,
            "event_time": event_time,
            "scored_at": self._now,
            "prediction": prediction,
            "score": score,
            "threshold": threshold,
            "probabilities": probabilities,
            "model": {
                "name": model.name,
                "version": model.version if degraded is None else degraded.version,
            },
            "degraded": None if degraded is None else degraded.by,
            "source": {"topic": topic, "partition": self._partition, "offset": offset},
            "fingerprint": self._fingerprint,
            "imputed": imputed,
            "label_due_by": event_time + self._horizon,
            "features": features if self._publish_features else None,
            "origin": None if origin is None else _event_origin(origin),
            "schema_id": schema_id,
        }
        if passed is not None:
            record["fields"] = passed
        return record

    def _new_template(
        self, event: Event, topic: str, offset: int, predicted: tuple[Any, ...]
    ) -> bytes:
        """Return the template of a batch's records from a topic, empty if it has none."""
        if not self._uses_template:
            return b""
        plain = event._replace(imputed=(), passed=None, origin=None)
        template: dict[str, Any] = {
            **self._record(plain, topic, offset, predicted, None),
            "event_id": _BYTES,
            "event_time": _NUMBER,
            "prediction": _BYTES,
            "score": _BYTES,
            "probabilities": None,
            "source": {"topic": topic, "partition": self._partition, "offset": _NUMBER},
            "label_due_by": _NUMBER,
        }
        text = orjson.dumps(template).replace(b"%", b"%%")
        return text.replace(b"\0", b"%b").replace(b"\1", b"%d")


def _event_origin(position: SourcePosition) -> EventOrigin:
    return {
        "source": position.source,
        "partition": position.partition,
        "offset": position.offset,
    }
