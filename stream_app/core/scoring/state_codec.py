"""Compact encodings of predictions and records in the keyed state of a partition."""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

import orjson

from stream_app.records import Features, Record, Score

# Limit of the size of the feature names that are kept in the state, as JSON.
MAX_NAME_BYTES = 16_384

Prediction = tuple[int, Score, int, Features | None]
"""Event time in Unix milliseconds, score, model version, features."""


class PredictionCodec:
    """Packs predictions as JSON arrays without feature names, for memory and changelog alike.

    A packed prediction is `["p", event time, score, version, names, value, ...]`; `names` is an
    index into the attribute `names`, or the features themselves if there is no room for more names,
    or null without features. The bytes can be unpacked as long as `names` is kept as well.

    Attributes:
        names: tuples of feature names that were seen together.
    """

    def __init__(self, names: Sequence[Sequence[str]] = ()) -> None:
        self.names: list[tuple[str, ...]] = list(map(tuple, names))
        self._indexes = {names: index for index, names in enumerate(self.names)}
        self._room = MAX_NAME_BYTES - sum(map(_json_size, self.names))

    def pack(self, prediction: Prediction) -> bytes:
        """Return the bytes of a prediction; new feature names are added to `names`."""
        event_time, score, version, features = prediction
        packed: tuple[Any, ...]
        if features is None:
            packed = "p", event_time, score, version, None
        elif (index := self._index(tuple(features))) is None:
            packed = "p", event_time, score, version, features
        else:
            packed = "p", event_time, score, version, index, *features.values()
        # Copy: orjson returns over-allocated buffers (1 kB and more).
        return b"%b" % orjson.dumps(packed)

    def unpack(self, packed: bytes) -> Prediction:
        """Return the prediction of packed bytes."""
        _, event_time, score, version, names, *values = orjson.loads(packed)
        features = (
            dict(zip(self.names[names], values, strict=True)) if type(names) is int else names
        )
        return event_time, score, version, features

    def _index(self, names: tuple[str, ...]) -> int | None:
        """Return the index of names; None if there is no room for them."""
        known = self._indexes.get(names)
        if known is not None:
            return known
        size = _json_size(names)
        if size > self._room:
            return None
        self._room -= size
        index = self._indexes[names] = len(self.names)
        self.names.append(names)
        return index


def packed_event_time(packed: bytes) -> int:
    """Return the event time of a packed prediction, which takes no names."""
    time: int = orjson.loads(packed)[1]
    return time


def is_packed(value: bytes) -> bool:
    """Return True if a value of the changelog is a packed prediction."""
    return value.startswith(b'["p",')


def record_to_json(record: Record) -> list[Any]:
    """Return a record as JSON data; bytes are base64."""
    topic, partition, offset, timestamp, key, value, headers = record
    texts = [(name, _text(content)) for name, content in headers]
    return [topic, partition, offset, timestamp, _text(key), _text(value), texts]


def record_from_json(content: list[Any]) -> Record:
    """Return the record of `record_to_json`."""
    topic, partition, offset, timestamp, key, value, headers = content
    originals = tuple((name, _bytes(text)) for name, text in headers)
    return Record(topic, partition, offset, timestamp, _bytes(key), _bytes(value), originals)


def _json_size(names: tuple[str, ...]) -> int:
    return len(orjson.dumps(names)) + 1


def _text(content: bytes | None) -> str | None:
    return None if content is None else b64encode(content).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)
