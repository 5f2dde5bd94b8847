"""Evidence against "all is as it was": sums of bets, and what a detector finds."""

from typing import Any, NamedTuple

PlainState = list[Any]
"""State as JSON data: lists, texts and numbers."""

HOUR_MS = 3_600_000
DAY_MS = 86_400_000

# Larger evidence is cut, so that it stays finite.
MAX_EVIDENCE = 1e250


class AlarmFinding(NamedTuple):
    """Alarm that a detector raises.

    Attributes:
        time: time at which the evidence reached the limit, in Unix milliseconds: label time for
            labels, event time for windows.
        since: time of the same kind since which the bets have won.
        evidence: sum of the bets.
        limit: evidence at which the alarm is raised.
        name: what the heaviest bet is about, such as a class or a feature; "" if there is only one.
        alternative: what the heaviest bet assumes, such as the share of flipped labels.
    """

    time: int
    since: int
    evidence: float
    limit: float
    name: str
    alternative: float


class Evidence:
    """Evidence for one alternative: the sum of bets that were begun at different times.

    Every bet has a stake and is multiplied by the same factors from then on. If the mean of a
    factor is at most 1 while all is as it was, that of the sum is at most the sum of the stakes.

    >>> evidence = Evidence()
    >>> evidence.begin(1.0, time=10)
    >>> evidence.multiply(0.25)
    >>> evidence.begin(1.0, time=20)
    >>> evidence.multiply(8.0)
    >>> evidence.total, evidence.since
    (10.0, 20)

    Attributes:
        total: sum of all bets.
        heaviest: value of the heaviest bet, the last one of equals.
        since: time at which that bet was begun.
    """

    def __init__(self) -> None:
        self.total: float = 0.0
        self.heaviest: float = 0.0
        self.since: int = 0

    def begin(self, stake: float, time: int) -> None:
        """Begin a bet; `time` is in Unix milliseconds."""
        self.total += stake
        if self.heaviest <= stake:
            self.heaviest = stake
            self.since = time

    def multiply(self, factor: float) -> None:
        """Multiply all bets by a finite factor, at least 0."""
        most: float = MAX_EVIDENCE
        self.total = min(self.total * factor, most)
        self.heaviest = min(self.heaviest * factor, most)

    def clear(self) -> None:
        """Forget all bets."""
        self.total = self.heaviest = 0.0

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        return [self.total, self.heaviest, self.since]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        self.total, self.heaviest, self.since = state[0], state[1], state[2]


def total_of(evidence: list[Evidence]) -> float:
    """Return the sum of all bets on several alternatives."""
    found = 0.0
    for one in evidence:
        found += one.total
    return found
