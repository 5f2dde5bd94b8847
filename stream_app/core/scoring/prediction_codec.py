"""Predictions as small JSON arrays, in memory as in the changelog: encoded once, without the names of the features."""

from collections.abc import Sequence
from typing import Any

import orjson

from stream_app.records import Features, Score

MOST_NAME_BYTES = 16_384
"""How much the names that are kept take in the state, as JSON."""

Prediction = tuple[int, Score, int, Features | None]
"""Event time (epoch milliseconds), score, model version, features."""


class PredictionCodec:
    """Packs predictions; the names of the features, which nearly all have in common, are kept once, in `names`.

    A packed prediction is `["p", event time, score, version, names, value, ...]`, where the names are a place in
    `names`, or the features themselves where there is no room for more names, or null where there are no features. The
    bytes can be read for as long as `names` are kept as well.
    """

    def __init__(self, names: Sequence[Sequence[str]] = ()) -> None:
        self.names: list[tuple[str, ...]] = list(map(tuple, names))
        self._numbers = {names: number for number, names in enumerate(self.names)}
        self._room = MOST_NAME_BYTES - sum(map(_size, self.names))

    def pack(self, prediction: Prediction) -> bytes:
        """The bytes; a name that is new is in `names` from then on."""
        event_time, score, version, features = prediction
        packed: tuple[Any, ...]
        if features is None:
            packed = "p", event_time, score, version, None
        elif (number := self._number(tuple(features))) is None:
            packed = "p", event_time, score, version, features
        else:
            packed = "p", event_time, score, version, number, *features.values()
        return b"%b" % orjson.dumps(
            packed
        )  # a copy, for orjson's own bytes lie in a block of 1 kB and more

    def _number(self, names: tuple[str, ...]) -> int | None:
        """Their place in `names`; None if there is no room for them."""
        known = self._numbers.get(names)
        if known is not None:
            return known
        size = _size(names)
        if size > self._room:
            return None
        self._room -= size
        number = self._numbers[names] = len(self.names)
        self.names.append(names)
        return number

    def unpack(self, packed: bytes) -> Prediction:
        """The prediction that `pack` packed."""
        _, event_time, score, version, names, *values = orjson.loads(packed)
        features = (
            dict(zip(self.names[names], values, strict=True)) if type(names) is int else names
        )
        return event_time, score, version, features


def _size(names: tuple[str, ...]) -> int:
    return len(orjson.dumps(names)) + 1


def event_time_of(packed: bytes) -> int:
    """Of a packed prediction, for which no names are needed."""
    time: int = orjson.loads(packed)[1]
    return time


def is_packed(value: bytes) -> bool:
    """Whether these bytes of the changelog are a packed prediction."""
    return value.startswith(b'["p",')
