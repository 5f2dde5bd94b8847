"""Alarms that last: raised when something goes wrong, ended when it is well again, told of at most once a minute."""

from dataclasses import astuple, dataclass
from typing import Any

from stream_app.core.measurement import LimitCheck, Measurement

UPDATE = 60_000  # milliseconds between two reports of an alarm that lasts


@dataclass(slots=True)
class _Alarm:
    """An alarm, how often it was raised, and when it was last reported; `ended` once it is over."""

    cause: str
    since: int
    n: int = 0
    value: float | None = None
    limit: float | None = None
    reported: int | None = None
    ended: int | None = None
    last: int = 0  # when it was raised again last

    def report(self, name: str, end: int, breached: bool) -> Measurement:
        verdict = LimitCheck(self.limit, breached)
        return Measurement(
            "alarm",
            name,
            self.since,
            max(end, self.since) + 1,
            self.n,
            self.value,
            verdict,
            self.cause,
        )


class Alarms:
    """The alarms of one task, by name; times are epoch milliseconds of the worker's clock.

    An alarm is reported when it is raised first, once a minute while it lasts, and when it has ended. It is part of the
    task's state, so whoever takes the task over can end it.

    >>> alarms = Alarms()
    >>> alarms.raise_("breaker-open", "ConnectionError", now=1_000, value=0.7, limit=0.5)
    >>> alarms.end("breaker-open", now=5_000)
    >>> [(report.name, report.judgement.breached) for report in alarms.due(6_000)]
    [('breaker-open', True), ('breaker-open', False)]
    """

    def __init__(self) -> None:
        self._alarms: dict[str, _Alarm] = {}

    @property
    def open(self) -> list[str]:
        """Names of the alarms that last."""
        return [name for name, alarm in self._alarms.items() if alarm.ended is None]

    def raise_(
        self,
        name: str,
        cause: str,
        now: int,
        value: float | None = None,
        limit: float | None = None,
    ) -> None:
        """It is wrong: `value` is beyond `limit`. Again for an alarm that lasts, cause and numbers are the newest."""
        alarm = self._alarms.setdefault(name, _Alarm(cause, now))
        alarm.cause, alarm.value, alarm.limit, alarm.ended = cause, value, limit, None
        alarm.n += 1
        alarm.last = now

    def end(self, name: str, now: int, quiet: int = 0) -> None:
        """It is well again, and has been for `quiet` milliseconds; without such an alarm, nothing happens."""
        alarm = self._alarms.get(name)
        if alarm is not None and alarm.ended is None and not 0 <= now - alarm.last < quiet:
            alarm.ended = now

    def due(self, now: int) -> list[Measurement]:
        """What is to be reported: what was raised, what lasts and was not reported for a minute, what has ended."""
        reports = []
        for name, alarm in list(self._alarms.items()):
            end = now if alarm.ended is None else alarm.ended
            lasts = (
                alarm.ended is None
                and alarm.reported is not None
                and not 0 <= now - alarm.reported < UPDATE
            )
            if alarm.reported is None or lasts:
                reports.append(alarm.report(name, end, breached=True))
                alarm.reported = now
            if alarm.ended is not None:
                reports.append(alarm.report(name, end, breached=False))
                del self._alarms[name]
        return reports

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a changelog."""
        return {name: astuple(alarm) for name, alarm in self._alarms.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Alarms":
        """From `as_dict`."""
        alarms = cls()
        alarms._alarms = {name: _Alarm(*fields) for name, fields in values.items()}
        return alarms
