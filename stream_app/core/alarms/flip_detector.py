"""Flipped labels of binary predictions: bets that labels say less than they did."""

from math import exp, log

from stream_app.core.alarms.evidence import (
    DAY_MS,
    HOUR_MS,
    AlarmFinding,
    Evidence,
    PlainState,
    total_of,
)
from stream_app.core.alarms.flip_check import FlipCheck
from stream_app.core.alarms.flip_null import FlipNull, sigmoid
from stream_app.core.alarms.tempering import Tempering
from stream_app.core.reading.event_time import NEVER

# Shares of flipped labels that are bet on.
FLIPPED: tuple[float, ...] = (0.1, 0.2, 0.4)
_STAKE = 1.0 / 3.0

# Days after the first event's horizon from which days count for the tempering, and before any bet.
_TEMPERING_DAYS = 6
WARM_UP_DAYS = 14

_INTERCEPT_RATE = 0.05
_INTERCEPT_DECAY = 0.001


class FlipDetector(FlipCheck):
    """E-detector of flipped labels; one bet per alternative begins with every hour of label time.

    Args:
        limit: evidence at which an alarm is raised.
        horizon_ms: longest time from an event to its label in milliseconds.

    Attributes:
        begins_at: label time of the first bets; None before `start`.
        off: True while it only learns.
    """

    def __init__(self, limit: float, horizon_ms: int) -> None:
        self.horizon_ms: int = horizon_ms
        self.begins_at: int | None = None
        self.off: bool = False
        self._limit: float = limit
        self._tempered_from: int = 0
        self._usual = FlipNull(horizon_ms)
        self._intercept: float = 0.0
        self._intercepts: list[float] = [0.0] * len(FLIPPED)
        self._tempering: list[Tempering] = [Tempering(20.0, 2.0) for _ in FLIPPED]
        self._evidence: list[Evidence] = [Evidence() for _ in FLIPPED]
        # Hour of the newest label, counted from the Unix epoch.
        self._hour: int = NEVER

    @property
    def evidence(self) -> float:
        """Sum of all bets."""
        return total_of(self._evidence)

    def start(self, first_event: int) -> None:
        """Set the time of the first event in Unix milliseconds; only the first call counts."""
        if self.begins_at is None:
            first_label = first_event + self.horizon_ms
            self.begins_at = first_label + WARM_UP_DAYS * DAY_MS
            self._tempered_from = first_label // DAY_MS + _TEMPERING_DAYS

    def check(
        self, label_time: int, event_time: int, label: object, score: object
    ) -> AlarmFinding | None:
        """Bet on a label and learn it, as `add` does; values of another type are ignored."""
        if isinstance(label, bool) and isinstance(score, (float, int)):
            return self.add(label_time, event_time, label, float(score))
        return None

    def add(
        self, label_time: int, event_time: int, label: bool, probability: float
    ) -> AlarmFinding | None:
        """Bet on a label, then learn it.

        Args:
            label_time: time at which the label became known in Unix milliseconds; labels come in
                order of it, and one that does not counts in the hour of the newest one.
            event_time: time of the event in Unix milliseconds.
            label: the label.
            probability: served probability of a positive label; other numbers are ignored.

        Returns:
            The alarm if the evidence reaches the limit; the bets are forgotten then.
        """
        if not 0.0 <= probability <= 1.0:
            return None
        if label_time >= (self._hour + 1) * HOUR_MS:
            self._start_hour(label_time)
        bets = self._bets_at(label_time)
        logit = self._usual.predict(event_time, label_time, probability)
        self._bet(logit, label, bets)
        self._usual.learn(1.0 if label else 0.0)
        if not bets or self.evidence < self._limit:
            return None
        total, (since, flipped) = self.evidence, self.heaviest()
        self.restart()
        return AlarmFinding(label_time, since, total, self._limit, "", flipped)

    def heaviest(self) -> tuple[int, float]:
        """Return the label time since which the heaviest bets win, and their share of flips."""
        best = 0
        for i in range(1, 3):
            if self._evidence[i].total > self._evidence[best].total:
                best = i
        return self._evidence[best].since, FLIPPED[best]

    def restart(self) -> None:
        """Forget the evidence, but nothing that was learned, because another version is served."""
        for one in self._evidence:
            one.clear()

    def hold(self, since: int) -> None:
        """Forget the evidence, and learn nothing since a label time: an alarm was opened."""
        self._usual.return_to(since)
        self._usual.learns = False
        self.restart()

    def resume(self) -> None:
        """Forget the evidence, and learn again: the alarm was closed."""
        self._usual.learns = True
        self.restart()

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        return [
            self.begins_at,
            self._tempered_from,
            self._hour,
            self._intercept,
            self._intercepts.copy(),
            [one.state() for one in self._tempering],
            [one.state() for one in self._evidence],
            self._usual.state(),
            self.off,
        ]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        self.begins_at, self._tempered_from, self._hour = state[0], state[1], state[2]
        self._intercept, self._intercepts = state[3], list(state[4])
        for i in range(len(FLIPPED)):
            self._tempering[i].restore(state[5][i])
            self._evidence[i].restore(state[6][i])
        self._usual.restore(state[7])
        self.off = state[8]

    def _bets_at(self, label_time: int) -> bool:
        begins_at = self.begins_at
        return begins_at is not None and label_time >= begins_at and not self.off

    def _start_hour(self, label_time: int) -> None:
        """Let old bets fade, and begin new ones; a new day comes with its first hour."""
        hour, before = label_time // HOUR_MS, self._hour
        self._hour = hour
        day = hour // 24
        if before == NEVER or day > before // 24:
            started = self.begins_at is not None and day > self._tempered_from
            for tempering in self._tempering:
                tempering.start_day(day, started)
            self._usual.start_day(day)
        self._usual.start_hour(label_time)
        if not self._bets_at(label_time):
            return
        fading = exp(-float(hour - before) / 24.0) if hour - before < 10_000 else 0.0
        for one in self._evidence:
            one.multiply(fading)
            one.begin(_STAKE, hour * HOUR_MS)

    def _bet(self, logit: float, label: bool, bets: bool) -> None:
        """Compare the null with the alternatives at a label, and adapt their intercepts."""
        y = 1.0 if label else 0.0
        expected = sigmoid(logit + self._intercept)
        log_1, log_0 = log(expected), log(1.0 - expected)
        off, variance = y - expected, expected * (1.0 - expected)
        self._intercept += _INTERCEPT_RATE * off - _INTERCEPT_DECAY * self._intercept
        for i in range(3):
            flipped, intercept = FLIPPED[i], self._intercepts[i]
            kept = 1.0 - 2.0 * flipped
            unflipped = sigmoid(logit + intercept)
            other = flipped + kept * unflipped
            ratio_1, ratio_0 = log(other) - log_1, log(1.0 - other) - log_0
            slope = ratio_1 - ratio_0
            tempering = self._tempering[i]
            tempering.add(off * slope, slope * slope * variance)
            if bets:
                self._evidence[i].multiply(
                    exp(tempering.exponent * (ratio_1 if label else ratio_0))
                )
            step = (y - other) / (other * (1.0 - other)) * kept * unflipped * (1.0 - unflipped)
            step = min(max(step, -1.0), 1.0)
            self._intercepts[i] = intercept + _INTERCEPT_RATE * step - _INTERCEPT_DECAY * intercept
