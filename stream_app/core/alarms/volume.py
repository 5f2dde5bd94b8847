"""Volume per hour: events or labels of a source, against the same hour of the week."""

from stream_app.core.alarms.count_bets import CountBets
from stream_app.core.alarms.evidence import DAY_MS, HOUR_MS, AlarmFinding, PlainState
from stream_app.core.alarms.week_hours import HOURS_A_WEEK, WeekHours
from stream_app.core.reading.event_time import NEVER

# Relative deviation of an hour that is acceptable.
TOLERANCE = 0.25
# Decay per week: a half-life of three weeks; weeks before the first bet on an hour of the week. The
# mean of the hour of the day will not do before that: the first weekend would raise an alarm.
_DECAY: float = 2.0 ** (-1.0 / 3.0)
_NEEDED = 2


class UsualCounts:
    """Decayed means by hour of the week."""

    def __init__(self) -> None:
        # Decayed sum, decayed number, and number of weeks.
        self._hours = [[0.0, 0.0, 0.0] for _ in range(HOURS_A_WEEK)]

    def mean(self, hour: int) -> float | None:
        """Return the usual count of an hour of the week, None before its third week."""
        total, weight, seen = self._hours[hour]
        return total / weight if seen >= _NEEDED else None

    def learn(self, hour: int, count: float) -> None:
        """Learn the count of an hour of the week."""
        entry = self._hours[hour]
        entry[0] = entry[0] * _DECAY + count
        entry[1] = entry[1] * _DECAY + 1.0
        entry[2] += 1.0

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        return [entry.copy() for entry in self._hours]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        self._hours = [list(entry) for entry in state]


class VolumeDetector:
    """E-detector of hours with far fewer or far more records than usual.

    Args:
        limit: evidence at which an alarm is raised.
        hours: hours of the week of the zone whose clock the source follows.
        name: name of what is counted.
    """

    def __init__(self, limit: float, hours: WeekHours, name: str = "") -> None:
        self._hours = hours
        self._name = name
        self._usual = UsualCounts()
        self._bets = CountBets(limit, TOLERANCE, cap=20.0)
        self._day = NEVER

    def add(self, hour: int, count: int) -> AlarmFinding | None:
        """Bet on the number of records of an hour, then learn it.

        Args:
            hour: start of the hour in Unix milliseconds. Hours come in order, those without records
                too.
            count: number of records.

        Returns:
            The alarm if the evidence reaches the limit; the bets are forgotten then.
        """
        day = hour // DAY_MS
        index = self._hours.index(hour)
        usual = self._usual.mean(index)
        if day > self._day:
            self._day = day
            self._bets.start_day(day)
        if self._hours.is_holiday(hour):
            return None
        if usual:
            self._bets.add(hour, count, usual)
        self._usual.learn(index, count)
        return self._bets.found(hour + HOUR_MS, self._name)

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        return [self._day, self._usual.state(), self._bets.state()]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        self._day = state[0]
        self._usual.restore(state[1])
        self._bets.restore(state[2])
