"""Has something changed? Population stability index on distributions, ADWIN on errors."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from river.drift import ADWIN
from scipy.special import chdtri


class StabilityIndex(NamedTuple):
    """Population stability index of a window, and the value that chance alone exceeds with the chosen probability."""

    value: float
    threshold: float

    @property
    def breached(self) -> bool:
        """Is this more than chance?"""
        return self.value > self.threshold


def stability(
    reference: Sequence[int], window: Sequence[int], significance: float
) -> StabilityIndex:
    """Compare two histograms over the same bins.

    The index is the sum of (p - q) ln(p / q) over the bins; the customary limits 0.1 and 0.25 ignore the sample sizes.
    For n and m independent observations of one distribution in B bins it follows (1/n + 1/m) chi²(B - 1): Yurdakul
    (2018), "Statistical properties of population stability index". Half a count is added to each bin, so that it is
    finite; bins that are empty on both sides do not count.

    >>> stability([100, 100], [100, 100], 0.01).value
    0.0
    """
    pairs = [(a, b) for a, b in zip(reference, window, strict=True) if a or b]
    n, m, bins = sum(reference), sum(window), len(pairs)
    if bins < 2 or n == 0 or m == 0:
        return StabilityIndex(0.0, 0.0)
    shares = [((a + 0.5) / (n + bins / 2), (b + 0.5) / (m + bins / 2)) for a, b in pairs]
    value = sum((p - q) * math.log(p / q) for p, q in shares)
    return StabilityIndex(value, float(chdtri(bins - 1, significance)) * (1 / n + 1 / m))


class ErrorRise(NamedTuple):
    """The mean error rose from `before` to `after`, seen over the last `n` predictions."""

    before: float
    after: float
    n: int


class ErrorAlarm:
    """ADWIN on errors from 0 (right) to 1 (wrong); a rise opens one alarm, and no other for `quiet` ms of label time.

    Bifet and Gavaldà (2007), "Learning from time-changing data with adaptive windowing". A fall is no alarm. On
    shuffled real streams ADWIN on errors stays silent, which Page-Hinkley and EDDM do not.
    """

    __slots__ = ("_adwin", "_errors", "_n", "_quiet", "_quiet_until")

    def __init__(self, delta: float, quiet: int) -> None:
        self._adwin = ADWIN(delta=delta)
        self._quiet = quiet
        self._quiet_until = -1
        self._errors = 0.0
        self._n = 0

    @property
    def delta(self) -> float:
        """ADWIN's confidence."""
        return float(self._adwin.delta)

    def update(self, error: float, time: int) -> ErrorRise | None:
        """Note one prediction at label time `time`; return the rise if that opens an alarm."""
        self._adwin.update(error)
        self._errors += error
        self._n += 1
        return self._changed(time) if self._adwin.drift_detected else None

    def _changed(self, time: int) -> ErrorRise | None:
        rise = ErrorRise(
            self._errors / self._n, float(self._adwin.estimation), int(self._adwin.width)
        )
        self._errors, self._n = 0.0, 0
        if rise.after <= rise.before or time < self._quiet_until:
            return None
        self._quiet_until = time + self._quiet
        return rise
