"""Tempering: bets are reduced because days differ more than independent draws would."""

from stream_app.core.alarms.evidence import PlainState

# Half-life of what the days have shown, in days, and number of days that the prior counts as.
_DECAY: float = 2.0 ** (-1.0 / 30.0)
_PRIOR_DAYS = 5.0
# Age in days of the dispersion that is used, so that a disturbance does not reduce its own bets.
_AGE = 7


class Tempering:
    """Dispersion φ of daily sums, and the exponent 1 / max(1, φ) of the bets on them.

    φ is the mean over the days of (sum of deviations)² / (sum of their variances), each at most
    `cap`. It is 1 for independent deviations with these variances, and larger if all deviations of
    a day have a common cause. The exponent follows from φ as it was seven days ago.

    >>> tempering = Tempering(cap=100.0, prior=4.0)
    >>> tempering.exponent
    0.25
    >>> for day in range(100):
    ...     tempering.start_day(day, counts=True)
    ...     tempering.add(3.0, 1.0)
    >>> round(tempering.exponent, 2)
    0.12

    Args:
        cap: largest dispersion that one day counts with.
        prior: dispersion before the first day.

    Attributes:
        exponent: exponent of the bets of the present day.
    """

    def __init__(self, cap: float, prior: float) -> None:
        self._cap: float = cap
        self._prior: float = prior
        self._sum: float = 0.0
        self._days: float = 0.0
        self._deviation: float = 0.0
        self._variance: float = 0.0
        # Dispersions by the day from which they were known, oldest first.
        self._history: list[tuple[int, float]] = []
        self.exponent: float = 1.0 / max(1.0, prior)

    def add(self, deviation: float, variance: float) -> None:
        """Add a deviation of the present day from what was expected, and its variance."""
        self._deviation += deviation
        self._variance += variance

    def start_day(self, day: int, counts: bool) -> None:
        """Close the present day, and start another.

        Args:
            day: number of the new day.
            counts: False if the day that ends is left out.
        """
        if counts and self._variance > 0.0:
            ratio = self._deviation * self._deviation / self._variance
            self._sum = self._sum * _DECAY + min(ratio, self._cap)
            self._days = self._days * _DECAY + 1.0
            self._history.append((day, self._dispersion()))
        self._deviation = self._variance = 0.0
        history = self._history
        while len(history) > 1 and history[1][0] <= day - _AGE:
            del history[0]
        known = bool(history) and history[0][0] <= day - _AGE
        self.exponent = 1.0 / max(1.0, history[0][1] if known else self._prior)

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        history = [[day, dispersion] for day, dispersion in self._history]
        sums = [self._sum, self._days, self._deviation, self._variance]
        return [*sums, self.exponent, history]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        self._sum, self._days = state[0], state[1]
        self._deviation, self._variance = state[2], state[3]
        self.exponent = state[4]
        self._history = [(day, dispersion) for day, dispersion in state[5]]

    def _dispersion(self) -> float:
        return (self._sum + self._prior * _PRIOR_DAYS) / (self._days + _PRIOR_DAYS)
