"""Drift: population stability index of distributions, ADWIN on errors."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from river import drift

from stream_app.core.reading.event_time import NEVER


class StabilityIndex(NamedTuple):
    """Population stability index of a window.

    Attributes:
        value: value of the index.
        threshold: value that chance alone exceeds with the chosen probability.
    """

    value: float
    threshold: float

    @property
    def breached(self) -> bool:
        """True if the value is above the threshold."""
        return self.value > self.threshold


def stability(
    reference: Sequence[int], window: Sequence[int], significance: float
) -> StabilityIndex:
    """Compare two histograms with the same bins.

    The index is the sum of (p - q) ln(p / q) over the bins. The customary limits 0.1 and 0.25
    ignore the sample sizes: for n and m independent observations of one distribution in B bins the
    index follows (1/n + 1/m) chi²(B - 1); Yurdakul (2018), "Statistical properties of population
    stability index". Half a count is added to each bin, so that the index is finite; bins that are
    empty on both sides do not count.

    Args:
        reference: counts of the reference.
        window: counts of the window.
        significance: probability that chance alone exceeds the threshold.

    >>> stability([100, 100], [100, 100], 0.01).value
    0.0
    """
    # Imported when it is needed: scipy costs a command 0.2 s of CPU.
    from scipy.special import chdtri

    pairs = [(a, b) for a, b in zip(reference, window, strict=True) if a or b]
    n, m, bins = sum(reference), sum(window), len(pairs)
    if bins < 2 or n == 0 or m == 0:
        return StabilityIndex(0.0, 0.0)
    shares = [((a + 0.5) / (n + bins / 2), (b + 0.5) / (m + bins / 2)) for a, b in pairs]
    value = sum((p - q) * math.log(p / q) for p, q in shares)
    return StabilityIndex(value, float(chdtri(bins - 1, significance)) * (1 / n + 1 / m))


class ErrorRise(NamedTuple):
    """Rise of the mean error.

    Attributes:
        before: mean error since the last change.
        after: mean error over the last `n` predictions.
        n: number of predictions after the rise.
    """

    before: float
    after: float
    n: int


class ErrorAlarm:
    """ADWIN on errors from 0 (correct) to 1 (wrong). A rise opens an alarm; a fall does not.

    Bifet and Gavaldà (2007), "Learning from time-changing data with adaptive windowing". On
    shuffled real streams ADWIN on errors stays silent, which Page-Hinkley and EDDM do not.

    Args:
        delta: confidence parameter of ADWIN.
        quiet: label time in milliseconds after an alarm in which no other is opened.
    """

    __slots__ = ("_adwin", "_errors", "_n", "_quiet", "_quiet_until")

    def __init__(self, delta: float, quiet: int) -> None:
        self._adwin = drift.ADWIN(delta=delta)
        self._quiet = quiet
        self._quiet_until = NEVER
        self._errors = 0.0
        self._n = 0

    @property
    def delta(self) -> float:
        """Confidence parameter of ADWIN."""
        return float(self._adwin.delta)

    def update(self, error: float, time: int) -> ErrorRise | None:
        """Add the error of one prediction.

        Args:
            error: error from 0 to 1.
            time: label time in Unix milliseconds.

        Returns:
            The rise if it opens an alarm, else None.
        """
        self._adwin.update(error)
        self._errors += error
        self._n += 1
        return self._changed(time) if self._adwin.drift_detected else None

    def _changed(self, time: int) -> ErrorRise | None:
        before = self._errors / self._n
        rise = ErrorRise(before, float(self._adwin.estimation), int(self._adwin.width))
        self._errors, self._n = 0.0, 0
        if rise.after <= rise.before or time < self._quiet_until:
            return None
        self._quiet_until = time + self._quiet
        return rise
