"""Constant scores: a version that gives different events the same score has stopped to distinguish.

One huge number in a scaler, for example, leaves all scores finite and equal.
"""

from stream_app.records import Features, Score

# Number of different events with the score of their version, in a row, that opens an alarm.
MAX_EQUAL_SCORES = 2_000

# Versions whose scores come interleaved, because scorers change versions at different times.
_MAX_VERSIONS = 16


class ConstantScore:
    """Counts examples in a row that have different features and exactly the score of their version.

    Each version may have a score of its own.
    """

    __slots__ = ("_features", "_last", "_n", "_scores")

    def __init__(self) -> None:
        self._scores: dict[int, Score] = {}
        self._last: Score = 0.0
        self._features: Features = {}
        self._n = 0

    def update(self, version: int, score: Score, features: Features) -> int:
        """Add the score that a version gave to an event.

        Returns:
            The number of equal scores if it opens an alarm, else 0. An alarm opens at 2,000 and
            whenever the number has doubled.
        """
        known = self._scores.get(version)
        if known is None:
            # The first score of a version is evidence only if it equals the one before.
            if len(self._scores) >= _MAX_VERSIONS:
                del self._scores[next(iter(self._scores))]
            self._scores[version] = score
            if self._n == 0:
                self._features = features
            known = self._last
            self._last = score
            if score != known:
                return 0
        elif score != known:
            self._scores, self._last, self._features, self._n = {version: score}, score, features, 0
            return 0
        if features == self._features:
            return 0
        self._n += 1
        times, rest = divmod(self._n, MAX_EQUAL_SCORES)
        return self._n if rest == 0 and times & (times - 1) == 0 else 0
