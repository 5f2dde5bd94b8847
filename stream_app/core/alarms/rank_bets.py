"""Bets on ranks: windows of counts that are less like those before than windows usually are."""

from bisect import bisect_left, insort
from collections.abc import Sequence
from math import exp, log

from stream_app.core.alarms.evidence import DAY_MS, Evidence, PlainState, total_of
from stream_app.core.alarms.tempering import Tempering
from stream_app.core.reading.event_time import NEVER

# Exponents of the bets: k p^(k - 1) for a rank p from 0 to 1.
EXPONENTS: list[float] = [0.1, 0.3, 0.6]
# Records that a window needs, past windows that are compared, and number of them before any bet.
MIN_RECORDS = 20
MAX_PAST = 500
MIN_PAST = 100
# Decay of the reference per window: a half-life of 10 windows.
_DECAY: float = 2.0 ** (-1.0 / 10.0)


class RankBets:
    """Bets that a histogram is not like the ones before.

    The distance of a window from the reference, which decays, is ranked among the distances of the
    last 500 windows. So a feature that always varies a lot needs a larger distance.

    Args:
        stake: sum of the bets that begin with each window.

    Attributes:
        then: reference at the time since which the heaviest bet wins, as counts.
        now: counts since that time.
    """

    def __init__(self, stake: float) -> None:
        self._stake: float = stake / len(EXPONENTS)
        self._day: int = NEVER
        self._past: list[float] = []
        self._ranked: list[float] = []
        self._reference: list[float] = []
        self._tempering = Tempering(400.0, 3.0)
        self._evidence: list[Evidence] = [Evidence() for _ in EXPONENTS]
        self.then: list[float] = []
        self.now: list[float] = []

    @property
    def may_bet(self) -> bool:
        """True if enough windows have passed."""
        return len(self._past) >= MIN_PAST

    @property
    def evidence(self) -> float:
        """Sum of all bets."""
        return total_of(self._evidence)

    def add(self, time: int, counts: Sequence[int]) -> None:
        """Bet on the counts of a window, then learn them.

        Args:
            time: start of the window in Unix milliseconds; windows come in order.
            counts: number of records by bin; always of the same bins. A window with fewer than 20
                records is ignored.
        """
        # Lists and indexes, because iterating over other sequences is not compiled.
        observed = list(counts)
        n = 0
        for count in observed:
            n += count
        if n < MIN_RECORDS:
            return
        day = time // DAY_MS
        if day > self._day:
            self._day = day
            self._tempering.start_day(day, counts=True)
        reference = self._reference
        if reference:
            # Rounded, so that the checkpoint is a third as long.
            self._bet(time, observed, round(_distance(reference, observed, n), 4))
            decay: float = _DECAY
            self._reference = [reference[i] * decay + observed[i] for i in range(len(observed))]
        else:
            self._reference = [float(count) for count in observed]

    def heaviest(self) -> tuple[int, float]:
        """Return the time since which the heaviest bets win, and their exponent."""
        best = self._best()
        return self._evidence[best].since, EXPONENTS[best]

    def restart(self) -> None:
        """Forget the evidence, but nothing that was learned."""
        for one in self._evidence:
            one.clear()

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        return [
            self._day,
            self._past.copy(),
            self._reference.copy(),
            self._tempering.state(),
            [one.state() for one in self._evidence],
            self.then.copy(),
            self.now.copy(),
        ]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        self._day, self._past, self._reference = state[0], list(state[1]), list(state[2])
        self._ranked = sorted(self._past)
        self._tempering.restore(state[3])
        for one, content in zip(self._evidence, state[4], strict=True):
            one.restore(content)
        self.then, self.now = list(state[5]), list(state[6])

    def _bet(self, time: int, counts: list[int], distance: float) -> None:
        past, ranked = self._past, self._ranked
        if self.may_bet:
            above = len(ranked) - bisect_left(ranked, distance)
            log_rank = log((1.0 + above) / (1.0 + len(ranked)))
            self._multiply(time, counts, log_rank)
            # Equal distances of 0 have the largest rank, which is no deviation.
            self._tempering.add(-log_rank - 1.0 if distance > 0.0 else 0.0, 1.0)
        past.append(distance)
        insort(ranked, distance)
        if len(past) > MAX_PAST:
            del ranked[bisect_left(ranked, past.pop(0))]

    def _multiply(self, time: int, counts: list[int], log_rank: float) -> None:
        exponent = self._tempering.exponent
        since = self._evidence[self._best()].since
        for i in range(len(self._evidence)):
            one, k = self._evidence[i], EXPONENTS[i]
            one.begin(self._stake, time)
            one.multiply(exp(exponent * (log(k) + (k - 1.0) * log_rank)))
        now = self.now
        if self._evidence[self._best()].since != since or not now:
            self.then, now = self._reference, [0.0] * len(counts)
        self.now = [now[i] + counts[i] for i in range(len(counts))]

    def _best(self) -> int:
        evidence = self._evidence
        best = 0
        for i in range(1, len(evidence)):
            if evidence[i].total > evidence[best].total:
                best = i
        return best


def _distance(reference: list[float], counts: list[int], n: int) -> float:
    """Return G per degree of freedom, of counts against a reference.

    It is exactly 0 if one bin has everything in both, so that all such windows have one rank.
    """
    bins = len(counts)
    total = 0.0
    for weight in reference:
        total += weight
    for i in range(bins):
        if counts[i] == n and total - reference[i] < 0.5:
            return 0.0
    total += 0.5 * bins
    found = 0.0
    for i in range(bins):
        count = counts[i]
        if count:
            found += count * log(count / n / ((reference[i] + 0.5) / total))
    return 2.0 * found / max(bins - 1, 1)
