"""Alarm that the monitor raises, and its life: opened, updated, closed."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from stream_app.core.alarms.evidence import DAY_MS, PlainState
from stream_app.core.published_records import ExampleOffsets, LimitCheck, Measurement

AlarmName = Literal[
    "label-flips", "positive-share", "event-volume", "label-coverage", "input-drift"
]
# An alarm without new evidence for so long is closed.
QUIET_MS = 3 * DAY_MS
# An open alarm is written again after so long, so that readers of recent records see it.
REPEAT_MS = DAY_MS // 4


class RaisedAlarm(NamedTuple):
    """Evidence that has reached its limit.

    Attributes:
        name: name of the alarm.
        source: what it is about: `events`, `labels` or `inputs`.
        raised_at: time up to which all partitions were read then, in Unix milliseconds.
        since: time since which there is evidence.
        strength: evidence by its limit, at least 1.
        cause: what the evidence says.
        examples: offsets of the labels since eight hours before `since`, if it is about labels.
    """

    name: AlarmName
    source: str
    raised_at: int
    since: int
    strength: float
    cause: str
    examples: ExampleOffsets | None = None


class OpenAlarm(NamedTuple):
    """Alarm that is open.

    Attributes:
        first: the first evidence.
        n: number of times that the evidence reached its limit.
        last: time of the last of them, in Unix milliseconds.
        strength: greatest evidence by its limit.
        written: time of the last record.
    """

    first: RaisedAlarm
    n: int
    last: int
    strength: float
    written: int

    def measurement(self, end: int, *, closed: bool) -> Measurement:
        """Return the record of the alarm as it is at a time in Unix milliseconds."""
        first = self.first
        check = LimitCheck(1.0, not closed)
        return Measurement(
            "alarm",
            first.name,
            first.since,
            max(end, first.since + 1),
            self.n,
            self.strength,
            check,
            first.cause,
            source=first.source,
            examples=first.examples,
        )


class OpenAlarms:
    """Alarms that are open: one per cause, however often its evidence reaches the limit.

    It is a function of the alarms that were raised and of the times that all partitions have
    passed.

    >>> alarms = OpenAlarms()
    >>> raised = RaisedAlarm("event-volume", "events", 1_000, 500, 2.0, "half as many as usual")
    >>> alarms.add(raised).limit_check.breached
    True
    >>> [one.limit_check.breached for one in alarms.pass_time(("event-volume",), QUIET_MS + 1_000)]
    [False]
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], OpenAlarm] = {}

    def is_open(self, *names: AlarmName) -> bool:
        """Return True if an alarm with one of these names is open."""
        return any(name in names for name, _ in self._open)

    def add(self, raised: RaisedAlarm) -> Measurement:
        """Open an alarm, or update the open one of this cause; returns the record to write."""
        key = raised.name, raised.source
        at = raised.raised_at
        known = self._open.get(key) or OpenAlarm(raised, 0, at, raised.strength, at)
        strength = max(known.strength, raised.strength)
        self._open[key] = found = OpenAlarm(known.first, known.n + 1, at, strength, at)
        return found.measurement(at, closed=False)

    def pass_time(self, names: Sequence[AlarmName], time: int) -> list[Measurement]:
        """Close the alarms with these names that had no evidence for three days; repeat others.

        Args:
            time: time that all partitions have passed, in Unix milliseconds.

        Returns:
            The records to write.
        """
        found = []
        for key in sorted(key for key in self._open if key[0] in names):
            alarm = self._open[key]
            if alarm.last + QUIET_MS <= time:
                found.append(self._open.pop(key).measurement(time, closed=True))
            elif alarm.written + REPEAT_MS <= time:
                self._open[key] = alarm._replace(written=time)
                found.append(alarm.measurement(time, closed=False))
        return found

    def records(self) -> list[Measurement]:
        """Return the records of all that are open, as they were written last."""
        return [one.measurement(one.written, closed=False) for one in self._open.values()]

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        found: PlainState = []
        for (*values, examples), *counts in self._open.values():
            offsets = None if examples is None else list(examples)
            found.append([[*values, offsets], *counts])
        return found

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        for (*values, examples), *counts in state:
            offsets = None if examples is None else ExampleOffsets(*examples)
            first = RaisedAlarm._make([*values, offsets])
            self._open[first.name, first.source] = OpenAlarm(first, *counts)
