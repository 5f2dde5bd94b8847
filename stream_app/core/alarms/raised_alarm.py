"""Alarm that the monitor raises, and its life: opened, updated, closed."""

from collections.abc import Sequence
from typing import NamedTuple

from stream_app.core.alarms.alarm_record import AlarmName, AlarmRecord
from stream_app.core.alarms.evidence import DAY_MS, PlainState
from stream_app.core.published_records import ExampleOffsets

# An alarm without new evidence for so long is closed.
QUIET_MS = 3 * DAY_MS


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
        culprits: names of the inputs that drift.
    """

    name: AlarmName
    source: str
    raised_at: int
    since: int
    strength: float
    cause: str
    examples: ExampleOffsets | None = None
    culprits: tuple[str, ...] = ()

    def opened(self) -> AlarmRecord:
        """Return the alarm that this evidence opens."""
        at = self.raised_at
        return AlarmRecord(
            self.name,
            self.source,
            self.since,
            opened_at=at,
            updated_at=at,
            closed_at=None,
            strength=self.strength,
            n=1,
            cause=self.cause,
            culprits=self.culprits,
            examples=self.examples,
        )


class OpenAlarms:
    """Alarms that are open: one per cause, however often its evidence reaches the limit.

    It is a function of the alarms that were raised and of the times that all partitions have
    passed.

    >>> alarms = OpenAlarms()
    >>> raised = RaisedAlarm("event-volume", "events", 1_000, 500, 2.0, "half as many as usual")
    >>> alarms.add(raised).is_open
    True
    >>> [one.closed_at for one in alarms.pass_time(("event-volume",), QUIET_MS + 1_000)]
    [259201000]
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], AlarmRecord] = {}

    def is_open(self, source: str, *names: AlarmName) -> bool:
        """Return True if an alarm about a source with one of these names is open."""
        return any((name, source) in self._open for name in names)

    def add(self, raised: RaisedAlarm) -> AlarmRecord:
        """Open an alarm, or update the open one of this cause; returns the record to write."""
        key = raised.name, raised.source
        known = self._open.get(key)
        if known is None:
            found = raised.opened()
        else:
            found = known._replace(
                updated_at=raised.raised_at,
                strength=max(known.strength, raised.strength),
                n=known.n + 1,
            )
        self._open[key] = found
        return found

    def pass_time(self, names: Sequence[AlarmName], time: int) -> list[AlarmRecord]:
        """Close the alarms with these names that had no evidence for three days.

        Args:
            time: time that all partitions have passed, in Unix milliseconds.

        Returns:
            The records to write.
        """
        quiet = [
            key
            for key, alarm in self._open.items()
            if key[0] in names and alarm.updated_at + QUIET_MS <= time
        ]
        return [self._open.pop(key)._replace(closed_at=time) for key in sorted(quiet)]

    def records(self) -> list[AlarmRecord]:
        """Return all that are open, as they were written last."""
        return list(self._open.values())

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        return [
            [*one[:-1], None if one.examples is None else list(one.examples)]
            for one in self._open.values()
        ]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        for *values, culprits, examples in state:
            offsets = None if examples is None else ExampleOffsets(*examples)
            alarm = AlarmRecord._make([*values, tuple(culprits), offsets])
            self._open[alarm.name, alarm.source] = alarm
