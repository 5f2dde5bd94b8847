"""Reference distributions: of each numeric feature and of the score, as a manifest has them."""

from math import inf
from typing import Any, TypeGuard

import numpy as np
from river import stats

from stream_app.core.monitoring.histogram import ReferenceSample
from stream_app.records import Features

SCORE = "score"
_SAMPLED = 20_000  # values, up to which the deciles are exact
_TENTHS = [tenth / 10 for tenth in range(1, 10)]


class Distribution:
    """The values of one variable, in bounded memory: deciles are those of up to 20,000 values evenly spread in time.

    >>> numbers = Distribution()
    >>> for number in range(101):
    ...     numbers.add(number)
    >>> numbers.summary()["mean"], numbers.summary()["deciles"][:3]
    (50.0, [10.0, 20.0, 30.0])
    """

    __slots__ = ("_sample", "_spread", "maximum", "minimum")

    def __init__(self) -> None:
        self.minimum, self.maximum = inf, -inf
        self._spread = stats.Var(ddof=0)
        self._sample = ReferenceSample(_SAMPLED)

    @property
    def seen(self) -> int:
        """How many values there were."""
        return self._sample.seen

    def add(self, value: float) -> None:
        """Note a value."""
        self._spread.update(value)
        self._sample.add(value)
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)

    def summary(self) -> dict[str, Any]:
        """As `schemas/manifest.avsc` has it, of at least one value."""
        deciles = np.quantile(
            np.asarray(self._sample.values, dtype=float), _TENTHS, method="inverted_cdf"
        )
        return {
            "n": self.seen,
            "mean": float(self._spread.mean.get()),
            "deviation": float(self._spread.get()) ** 0.5,
            "minimum": float(self.minimum),
            "maximum": float(self.maximum),
            "deciles": deciles.tolist(),
        }


class ReferenceProfile:
    """The distributions of all numeric features and of the score; `features` are the names of all features seen."""

    def __init__(self) -> None:
        self.features: set[str] = set()
        self._numbers: dict[str, Distribution] = {}
        self._score = Distribution()

    def add(self, features: Features, score: object) -> None:
        """Note what the model saw and what it said; a score that is no number has no distribution."""
        self.features.update(features)
        for name, value in features.items():
            if _is_number(value):
                found = self._numbers.get(name)
                if found is None:
                    found = self._numbers[name] = Distribution()
                found.add(value)
        if _is_number(score):
            self._score.add(score)

    def summary(self) -> dict[str, dict[str, Any]]:
        """By name of the feature; `score` is that of the model, also if there is a feature of that name."""
        named = {**self._numbers, SCORE: self._score}
        return {name: found.summary() for name, found in sorted(named.items()) if found.seen}


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
