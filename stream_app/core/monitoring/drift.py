"""Drift: population stability index of two histograms."""

import math
from collections.abc import Sequence


def stability(reference: Sequence[int], window: Sequence[int]) -> float:
    """Return the population stability index of two histograms with the same bins.

    The index is the sum of (p - q) ln(p / q) over the bins. Half a count is added to each bin, so
    that the index is finite; bins that are empty on both sides do not count. It depends on the
    sample sizes: for n and m independent observations of one distribution in B bins it follows
    (1/n + 1/m) chi²(B - 1); Yurdakul (2018), "Statistical properties of population stability
    index". Observations that share a cause, such as the weather of a day, are not independent.

    Args:
        reference: counts of the reference.
        window: counts of the window.

    >>> stability([100, 100], [100, 100])
    0.0
    """
    pairs = [(a, b) for a, b in zip(reference, window, strict=True) if a or b]
    n, m, bins = sum(reference), sum(window), len(pairs)
    if bins < 2 or n == 0 or m == 0:
        return 0.0
    shares = [((a + 0.5) / (n + bins / 2), (b + 0.5) / (m + bins / 2)) for a, b in pairs]
    return sum((p - q) * math.log(p / q) for p, q in shares)
