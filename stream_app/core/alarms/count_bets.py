"""Bets on counts: far fewer or far more than expected, beyond a tolerance."""

from math import exp, log

from stream_app.core.alarms.evidence import AlarmFinding, Evidence, PlainState
from stream_app.core.alarms.tempering import Tempering

# Multiples of the expected count that are bet on.
MULTIPLES: tuple[float, ...] = (0.5, 0.1, 1.5, 3.0)
_STAKE = 0.25
# Logarithms of factors are cut, so that the factors are finite.
MAX_LOG = 500.0


class CountBets:
    """E-detector of counts that are half, a tenth, 1.5 or 3 times what was expected.

    A count within the tolerance is no evidence, on average: bets are against the bound of the
    tolerance. One bet per alternative begins with the first count of every day.

    Args:
        limit: evidence at which an alarm is raised.
        tolerance: relative deviation that is acceptable, in (0, 0.5).
        cap: largest dispersion that one day counts with.
    """

    def __init__(self, limit: float, tolerance: float, cap: float) -> None:
        self._limit: float = limit
        self._tolerance: float = tolerance
        self._tempering = Tempering(cap, 4.0)
        self._evidence: list[Evidence] = [Evidence() for _ in MULTIPLES]
        # True if no count of the day has been bet on.
        self._is_new_day: bool = True

    def start_day(self, day: int) -> None:
        """Start a day; `day` is its number."""
        self._tempering.start_day(day, counts=True)
        self._is_new_day = True

    def add(self, time: int, count: float, expected: float, begins: bool = True) -> None:
        """Bet on a count.

        Args:
            time: beginning of what was counted in Unix milliseconds.
            count: what was counted.
            expected: what is usual, more than 0.
            begins: False to learn the dispersion only; no bet begins then.
        """
        exponent = self._tempering.exponent
        for i in range(len(MULTIPLES)):
            if self._is_new_day and begins:
                self._evidence[i].begin(_STAKE, time)
            multiple = MULTIPLES[i]
            bound = 1.0 - self._tolerance if multiple < 1.0 else 1.0 + self._tolerance
            gain = count * log(multiple / bound) - expected * (multiple - bound)
            gain = min(max(exponent * gain, -MAX_LOG), MAX_LOG)
            self._evidence[i].multiply(exp(gain))
        self._is_new_day = False
        self._tempering.add(count - expected, expected)

    def found(self, time: int, name: str = "") -> AlarmFinding | None:
        """Return the alarm if the evidence reaches the limit, and forget the evidence then.

        Args:
            time: end of what was counted in Unix milliseconds.
            name: name of what was counted.
        """
        total, best = 0.0, 0
        for i in range(len(MULTIPLES)):
            total += self._evidence[i].total
            if self._evidence[i].total > self._evidence[best].total:
                best = i
        if total < self._limit:
            return None
        since = self._evidence[best].since
        self.restart()
        return AlarmFinding(time, since, total, self._limit, name, MULTIPLES[best])

    def restart(self) -> None:
        """Forget the evidence, but nothing that was learned."""
        for one in self._evidence:
            one.clear()

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        evidence = [one.state() for one in self._evidence]
        return [self._tempering.state(), evidence, self._is_new_day]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        self._tempering.restore(state[0])
        for one, content in zip(self._evidence, state[1], strict=True):
            one.restore(content)
        self._is_new_day = state[2]
