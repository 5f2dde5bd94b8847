"""Share of positive labels per day, against the mean served probability."""

from stream_app.core.alarms.count_bets import CountBets
from stream_app.core.alarms.evidence import DAY_MS, AlarmFinding, PlainState
from stream_app.core.reading.event_time import NEVER

# Relative deviation of a day's share that is acceptable.
TOLERANCE = 0.25
# Days before the first bet, and decay of what earlier days have shown: a half-life of 14 days.
WARM_UP_DAYS = 14
_DECAY: float = 2.0 ** (-1.0 / 14.0)


class PositiveShareDetector:
    """E-detector of days with far fewer or far more positive labels than the scores say.

    It finds what `FlipDetector` hardly can: labels that are set to negative only, or to positive
    only. What is usual is learned: the mean ratio of positive labels to served probabilities. The
    rarer of the two labels is counted. A day is that of the labels.

    Args:
        limit: evidence at which an alarm is raised.
    """

    def __init__(self, limit: float) -> None:
        self._bets = CountBets(limit, TOLERANCE, cap=100.0)
        self._day: int = NEVER
        # Number of days that were learned.
        self._days: int = 0
        self._labels: float = 0.0
        self._positive: float = 0.0
        self._served: float = 0.0
        self._usual_labels: float = 0.0
        self._usual_positive: float = 0.0
        self._usual_served: float = 0.0

    def add(self, label_time: int, label: bool, probability: float) -> AlarmFinding | None:
        """Count a label; the first one of a day closes the day before.

        Args:
            label_time: time at which the label became known in Unix milliseconds.
            label: the label.
            probability: served probability of a positive label; other numbers are ignored.

        Returns:
            The alarm if the day that is closed raises one.
        """
        if not 0.0 <= probability <= 1.0:
            return None
        found: AlarmFinding | None = None
        day = label_time // DAY_MS
        if day > self._day:
            found = self._close_day(day)
        self._labels += 1.0
        self._served += probability
        if label:
            self._positive += 1.0
        return found

    def restart(self) -> None:
        """Forget the evidence and the usual ratio, because another version is served."""
        self._bets.restart()
        self._days = 0
        self._usual_labels = self._usual_positive = self._usual_served = 0.0

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        today = [self._labels, self._positive, self._served]
        usual = [self._usual_labels, self._usual_positive, self._usual_served]
        return [self._day, self._days, *today, *usual, self._bets.state()]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        self._day, self._days = state[0], state[1]
        self._labels, self._positive, self._served = state[2], state[3], state[4]
        self._usual_labels, self._usual_positive = state[5], state[6]
        self._usual_served = state[7]
        self._bets.restore(state[8])

    def _close_day(self, day: int) -> AlarmFinding | None:
        found: AlarmFinding | None = None
        if self._labels > 0.0:
            if self._usual_served > 0.0:
                found = self._bet()
            self._usual_labels = self._usual_labels * _DECAY + self._labels
            self._usual_positive = self._usual_positive * _DECAY + self._positive
            self._usual_served = self._usual_served * _DECAY + self._served
            self._days += 1
        self._bets.start_day(day)
        self._day = day
        self._labels = self._positive = self._served = 0.0
        return found

    def _bet(self) -> AlarmFinding | None:
        """Bet on the number of the rarer label of the day that ends."""
        expected = self._served * self._usual_positive / self._usual_served
        count = self._positive
        if self._usual_positive > self._usual_labels / 2.0:
            count, expected = self._labels - count, self._labels - expected
        if expected <= 0.0:
            return None
        begins = self._days >= WARM_UP_DAYS
        self._bets.add(self._day * DAY_MS, count, expected, begins)
        return self._bets.found((self._day + 1) * DAY_MS)
