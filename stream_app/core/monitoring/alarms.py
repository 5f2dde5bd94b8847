"""Lasting alarms, from the beginning to the end of a problem, and counted corrective actions."""

from dataclasses import astuple, dataclass
from typing import Any

from stream_app.core.published_records import LimitCheck, Measurement

# Time between two reports of a lasting alarm.
REPORT_INTERVAL_MS = 60_000
# Time between two reports of one action and cause; doubled after each report, up to the maximum.
FIRST_INTERVAL_MS = 10_000
MAX_INTERVAL_MS = 600_000

# Number of actions and causes that are told apart at a time; further causes are counted as OTHER.
MAX_CAUSES = 100
OTHER = "other"


@dataclass(slots=True)
class _Alarm:
    """State of one alarm.

    Attributes:
        cause: newest cause.
        since: time at which it was raised first.
        n: number of times that it was raised.
        value: newest value, beyond `limit`.
        limit: newest limit.
        reported: time of the last report, None before.
        ended: time of its end, None while it lasts.
        last: time at which it was raised last.
    """

    cause: str
    since: int
    n: int = 0
    value: float | None = None
    limit: float | None = None
    reported: int | None = None
    ended: int | None = None
    last: int = 0

    def report(self, name: str, end: int, breached: bool) -> Measurement:
        end = max(end, self.since) + 1
        check = LimitCheck(self.limit, breached)
        return Measurement("alarm", name, self.since, end, self.n, self.value, check, self.cause)


class LastingAlarms:
    """Lasting alarms of one task by name. Times are Unix milliseconds of the worker's clock.

    An alarm is reported when it is raised first, once a minute while it lasts, and when it has
    ended. It is part of the task's state, so that the next worker that gets the task can end it.

    >>> alarms = LastingAlarms()
    >>> alarms.raise_("breaker-open", "ConnectionError", now=1_000, value=0.7, limit=0.5)
    >>> alarms.end("breaker-open", now=5_000)
    >>> [(report.name, report.limit_check.breached) for report in alarms.due(6_000)]
    [('breaker-open', True), ('breaker-open', False)]
    """

    def __init__(self) -> None:
        self._alarms: dict[str, _Alarm] = {}

    @property
    def open(self) -> list[str]:
        """Names of the alarms that have not ended."""
        return [name for name, alarm in self._alarms.items() if alarm.ended is None]

    def raise_(
        self,
        name: str,
        cause: str,
        now: int,
        value: float | None = None,
        limit: float | None = None,
    ) -> None:
        """Raise an alarm, or update one that lasts.

        Args:
            name: name of the alarm.
            cause: cause, such as an error code.
            now: time in Unix milliseconds.
            value: measured value.
            limit: limit that the value is beyond.
        """
        alarm = self._alarms.setdefault(name, _Alarm(cause, now))
        alarm.cause, alarm.value, alarm.limit, alarm.ended = cause, value, limit, None
        alarm.n += 1
        alarm.last = now

    def end(self, name: str, now: int, quiet: int = 0) -> None:
        """End an alarm if it was not raised in the last `quiet` milliseconds."""
        alarm = self._alarms.get(name)
        if alarm is not None and alarm.ended is None and not 0 <= now - alarm.last < quiet:
            alarm.ended = now

    def due(self, now: int) -> list[Measurement]:
        """Return the reports that are due: of new, lasting and ended alarms."""
        reports = []
        for name, alarm in list(self._alarms.items()):
            end = now if alarm.ended is None else alarm.ended
            overdue = (
                alarm.ended is None
                and alarm.reported is not None
                and not 0 <= now - alarm.reported < REPORT_INTERVAL_MS
            )
            if alarm.reported is None or overdue:
                reports.append(alarm.report(name, end, breached=True))
                alarm.reported = now
            if alarm.ended is not None:
                reports.append(alarm.report(name, end, breached=False))
                del self._alarms[name]
        return reports

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for a changelog."""
        return {name: astuple(alarm) for name, alarm in self._alarms.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "LastingAlarms":
        """Return the alarms of `as_dict`."""
        alarms = cls()
        alarms._alarms = {name: _Alarm(*fields) for name, fields in values.items()}
        return alarms


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
