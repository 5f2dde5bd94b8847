"""Drift of inputs: features, missing values and unseen values per window, by ranks and bets."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stream_app.core.alarms.evidence import AlarmFinding, PlainState
from stream_app.core.alarms.rank_bets import RankBets
from stream_app.core.monitoring.distribution_monitor import InputCounts

# Parts of the stake of a feature: its values, the share that is missing, the share that is unseen.
_STAKES = (0.5, 0.25, 0.25)
_SUFFIXES = ("", " missing", " unseen")


class DriftCulprit(NamedTuple):
    """Feature that has drifted.

    Attributes:
        name: name of the feature, with " missing" or " unseen" if that share has changed.
        weight: its part of the evidence, from 0 to 1.
        since: start of the first window of the heaviest bets, in Unix milliseconds.
        then: shares of the bins before that time; for missing and unseen (yes, no).
        now: shares since then.
    """

    name: str
    weight: float
    since: int
    then: list[float]
    now: list[float]


class InputDriftFinding(NamedTuple):
    """Drift of inputs, with at most five culprits, heaviest first."""

    alarm: AlarmFinding
    culprits: list[DriftCulprit]


class InputDriftDetector:
    """E-detector of drifting inputs, over the features that it was made for.

    Args:
        limit: evidence at which drift is reported, for stakes of 1 per window.
        names: names of features, scores and predictions; at least one.
    """

    def __init__(self, limit: float, names: Sequence[str]) -> None:
        self._limit = limit
        self._bets = {
            name + suffix: RankBets(stake / len(names))
            for name in names
            for suffix, stake in zip(_SUFFIXES, _STAKES, strict=True)
        }

    @property
    def waiting(self) -> list[str]:
        """Names of what has not enough windows yet to be bet on."""
        return [name for name, bets in self._bets.items() if not bets.may_bet]

    def add(
        self, start: int, end: int, counts: Mapping[str, InputCounts]
    ) -> InputDriftFinding | None:
        """Bet on a window.

        Args:
            start, end: span of event time in Unix milliseconds; windows come in order.
            counts: counts by name; a name without counts is left out.

        Returns:
            The drift if the evidence reaches the limit; the bets are forgotten then.
        """
        for name, (values, missing, unseen) in counts.items():
            present = 0
            for count in values:
                present += count
            self._bets[name].add(start, values)
            self._bets[name + _SUFFIXES[1]].add(start, (missing, present))
            self._bets[name + _SUFFIXES[2]].add(start, (unseen, present - unseen))
        evidence = 0.0
        for bets in self._bets.values():
            evidence += bets.evidence
        return None if evidence < self._limit else self._report(end, evidence)

    def restart(self) -> None:
        """Forget the evidence, but nothing that was learned."""
        for bets in self._bets.values():
            bets.restart()

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        return [[name, bets.state()] for name, bets in self._bets.items()]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned, without names that are not monitored any more."""
        for name, content in state:
            if name in self._bets:
                self._bets[name].restore(content)

    def _report(self, end: int, evidence: float) -> InputDriftFinding:
        ranked = sorted(self._bets, key=lambda name: (-self._bets[name].evidence, name))
        culprits = [self._culprit(name, evidence) for name in ranked[:5]]
        culprits = [one for one in culprits if one.weight >= 0.1 or one.name == ranked[0]]
        since, exponent = self._bets[ranked[0]].heaviest()
        self.restart()
        alarm = AlarmFinding(end, since, evidence, self._limit, ranked[0], exponent)
        return InputDriftFinding(alarm, culprits)

    def _culprit(self, name: str, evidence: float) -> DriftCulprit:
        bets = self._bets[name]
        return DriftCulprit(
            name,
            bets.evidence / evidence,
            bets.heaviest()[0],
            _shares(bets.then),
            _shares(bets.now),
        )


def _shares(counts: Sequence[float]) -> list[float]:
    total = 0.0
    for count in counts:
        total += count
    return [count / total if total else 0.0 for count in counts]
