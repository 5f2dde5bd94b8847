"""Corrective actions: automatic responses to faults, counted by action and cause."""

from dataclasses import dataclass
from typing import Any

from stream_app.core.scored_record import Measurement

# Time between two reports of one action and cause; doubled after each report, up to the maximum.
FIRST_INTERVAL_MS = 10_000
MAX_INTERVAL_MS = 600_000

# Number of actions and causes that are told apart at a time; further causes are counted as OTHER.
MAX_CAUSES = 100
OTHER = "other"


@dataclass(slots=True)
class _ActionCount:
    """Count of one action and cause.

    Attributes:
        n: number since the last report.
        since: time of the first of them.
        last: time of the last of them.
        new: number since the last `take_new`.
        reported: time of the last report, None before.
        interval: time to the next report in milliseconds.
    """

    n: int = 0
    since: int = 0
    last: int = 0
    new: int = 0
    reported: int | None = None
    interval: int = FIRST_INTERVAL_MS


class CorrectiveActions:
    """Corrective actions of one task. Times are Unix milliseconds of the worker's clock.

    No action is counted twice or left out: each report counts the actions since the one before, and
    actions that are not reported yet are part of the task's state.

    >>> actions = CorrectiveActions()
    >>> actions.add("impute", "wind_speed", now=1_000)
    >>> actions.add("impute", "wind_speed", now=1_500, n=2)
    >>> [(report.name, report.reference, report.n) for report in actions.due(2_000)]
    [('impute', 'wind_speed', 3)]
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], _ActionCount] = {}

    def add(self, action: str, cause: str, now: int, n: int = 1) -> None:
        """Count an action.

        Args:
            action: name of the action.
            cause: one of few names, such as a field, code or exception; never a value.
            now: time in Unix milliseconds.
            n: number of times that the action was taken.
        """
        entry = self._entries.get((action, cause)) or self._entry(action, cause)
        if not entry.n:
            entry.since = now
        entry.n += n
        entry.new += n
        entry.last = now

    def due(self, now: int) -> list[Measurement]:
        """Return the reports that are due: new actions at once, recurring ones at intervals."""
        reports = []
        for (action, cause), entry in list(self._entries.items()):
            if entry.reported is not None and 0 <= now - entry.reported < entry.interval:
                continue
            if entry.n:
                reports.append(_report(action, cause, entry))
                if entry.reported is not None:
                    entry.interval = min(2 * entry.interval, MAX_INTERVAL_MS)
                entry.n, entry.reported = 0, now
            elif not entry.new:
                del self._entries[action, cause]
        return reports

    def take_new(self) -> dict[tuple[str, str], int]:
        """Return the number of times of each action and cause since the last call, for metrics."""
        found = {}
        for key, entry in self._entries.items():
            if entry.new:
                found[key] = entry.new
                entry.new = 0
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for a changelog: the actions that are not reported yet."""
        return {
            "open": [
                [*key, entry.n, entry.since, entry.last]
                for key, entry in self._entries.items()
                if entry.n
            ]
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "CorrectiveActions":
        """Return the actions of `as_dict`."""
        actions = cls()
        actions._entries = {
            (action, cause): _ActionCount(n, since, last)
            for action, cause, n, since, last in values["open"]
        }
        return actions

    def _entry(self, action: str, cause: str) -> _ActionCount:
        key = action, cause if len(self._entries) < MAX_CAUSES else OTHER
        return self._entries.setdefault(key, _ActionCount())


def _report(action: str, cause: str, entry: _ActionCount) -> Measurement:
    end = max(entry.last, entry.since) + 1
    return Measurement("corrective_action", action, entry.since, end, entry.n, reference=cause)
