"""Corrective actions: what was done about a fault without anyone's help, counted by action and cause."""

from dataclasses import dataclass
from typing import Any

from stream_app.core.measurement import Measurement

FIRST_WAIT = 10_000  # milliseconds between two reports of one action and cause; doubled while it goes on, up to
LONGEST_WAIT = 600_000
MOST_CAUSES = 100  # that are told apart at a time; others are counted as
OTHER = "other"


@dataclass(slots=True)
class _ActionCount:
    """What was noted since the last report (`n`, first at `since`, last at `last`), and when that was."""

    n: int = 0
    since: int = 0
    last: int = 0
    fresh: int = 0
    reported: int | None = None
    wait: int = FIRST_WAIT


class CorrectiveActions:
    """The corrective actions of one task; times are epoch milliseconds of the worker's clock.

    Nothing is counted twice or left out: each report counts what came since the one before it, and what is not yet
    reported is part of the task's state.

    >>> actions = CorrectiveActions()
    >>> actions.add("impute", "wind_speed", now=1_000)
    >>> actions.add("impute", "wind_speed", now=1_500, n=2)
    >>> [(report.name, report.reference, report.n) for report in actions.due(2_000)]
    [('impute', 'wind_speed', 3)]
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], _ActionCount] = {}

    def add(self, action: str, cause: str, now: int, n: int = 1) -> None:
        """It was taken `n` times; `cause` is a name out of few (a field, a code, an exception), never a value."""
        entry = self._entries.get((action, cause)) or self._entry(action, cause)
        if not entry.n:
            entry.since = now
        entry.n += n
        entry.fresh += n
        entry.last = now

    def due(self, now: int) -> list[Measurement]:
        """What is to be reported: at once what is new, then at growing intervals for as long as it goes on."""
        reports = []
        for (action, cause), entry in list(self._entries.items()):
            if entry.reported is not None and 0 <= now - entry.reported < entry.wait:
                continue
            if entry.n:
                reports.append(_report(action, cause, entry))
                entry.wait = (
                    FIRST_WAIT if entry.reported is None else min(2 * entry.wait, LONGEST_WAIT)
                )
                entry.n, entry.reported = 0, now
            elif not entry.fresh:
                del self._entries[action, cause]
        return reports

    def take_new(self) -> dict[tuple[str, str], int]:
        """How often each action was taken for each cause since this was last asked."""
        found = {}
        for key, entry in self._entries.items():
            if entry.fresh:
                found[key] = entry.fresh
                entry.fresh = 0
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a changelog: what is not reported yet."""
        return {
            "open": [
                [*key, entry.n, entry.since, entry.last]
                for key, entry in self._entries.items()
                if entry.n
            ]
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "CorrectiveActions":
        """From `as_dict`."""
        actions = cls()
        actions._entries = {
            (action, cause): _ActionCount(n, since, last)
            for action, cause, n, since, last in values["open"]
        }
        return actions

    def _entry(self, action: str, cause: str) -> _ActionCount:
        key = action, cause if len(self._entries) < MOST_CAUSES else OTHER
        return self._entries.setdefault(key, _ActionCount())


def _report(action: str, cause: str, entry: _ActionCount) -> Measurement:
    return Measurement(
        "corrective_action",
        action,
        entry.since,
        max(entry.last, entry.since) + 1,
        entry.n,
        reference=cause,
    )
