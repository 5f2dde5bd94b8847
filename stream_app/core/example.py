"""Labelled example: what the scorer passes to the learner."""

from typing import Any, NamedTuple

import orjson

from stream_app.records import Features, Score, Target


class Example(NamedTuple):
    """Event with the prediction that was served, and its label.

    Attributes:
        event_id: id of the event.
        event_time: time of the event in Unix milliseconds.
        label_time: time at which the label became known in Unix milliseconds.
        label: the label.
        score: served score.
        model_version: version that made the score.
        features: features as they were at the prediction.
        fingerprint: fingerprint of the pipeline's declaration.
    """

    event_id: str
    event_time: int
    label_time: int
    label: Target
    score: Score
    model_version: int
    features: Features
    fingerprint: str

    def encode(self) -> bytes:
        """Return the JSON object that `<p>.examples` carries."""
        return orjson.dumps({"kind": "example", **self._asdict()})

    @classmethod
    def decode(cls, value: bytes) -> "Example":
        """Return the example of `encode`, without any check."""
        fields: dict[str, Any] = orjson.loads(value)
        return cls(**{name: fields[name] for name in cls._fields})


class ExampleOffsets(NamedTuple):
    """Offsets of examples in the log, from `first` to `last`, both inclusive."""

    first: int
    last: int
