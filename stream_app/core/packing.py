"""Predictions as small byte strings, which take a third of the memory that objects or JSON would."""

import marshal  # the most compact quick form; it never leaves the process, whose Python alone can read it

from stream_app.core.records import Features

_MOST_NAMES = 1000
_FORMAT = 2  # the last one whose bytes depend on the values alone

_NONE = -2  # in place of the number of the names: there are no features

Prediction = tuple[int, float, int, Features | None]
"""Event time (epoch milliseconds), score, model version, features."""


class Packer:
    """Packs predictions; the names of the features, which nearly all have in common, are kept once."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, ...], int] = {}
        self._names: list[tuple[str, ...]] = []

    def pack(self, prediction: Prediction) -> bytes:
        """Only this packer can unpack it."""
        event_time, score, version, features = prediction
        if features is None:
            return marshal.dumps((event_time, score, version, _NONE), _FORMAT)
        names = tuple(features)
        number = self._numbers.get(names)
        if number is None:
            if len(self._names) == _MOST_NAMES:
                return marshal.dumps((event_time, score, version, -1, *features.items()), _FORMAT)
            number = self._numbers[names] = len(self._names)
            self._names.append(names)
        return marshal.dumps((event_time, score, version, number, *features.values()), _FORMAT)

    def unpack(self, packed: bytes) -> Prediction:
        """What was packed."""
        event_time, score, version, number, *values = marshal.loads(packed)
        if number == _NONE:
            return event_time, score, version, None
        features = dict(values) if number < 0 else dict(zip(self._names[number], values, strict=True))
        return event_time, score, version, features
