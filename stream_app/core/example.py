"""A labelled example: what the scorer hands to the learner."""

from typing import Any, NamedTuple

import orjson

from stream_app.records import Features, Score, Target


class Example(NamedTuple):
    """An event with the prediction that was served, and its label.

    Times are epoch milliseconds: `event_time` of the event, `label_time` when the label became known.
    `features` are as they were at prediction; `score` is what was served by `model_version`.
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
        """As the JSON object that `<pipeline>.examples` carries."""
        return orjson.dumps({"kind": "example", **self._asdict()})

    @classmethod
    def decode(cls, value: bytes) -> "Example":
        """From that JSON object."""
        fields: dict[str, Any] = orjson.loads(value)
        return cls(**{name: fields[name] for name in cls._fields})


class ExampleOffsets(NamedTuple):
    """Examples of the log, from offset `first` to `last` (both inclusive)."""

    first: int
    last: int
