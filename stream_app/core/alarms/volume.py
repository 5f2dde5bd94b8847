"""Volume per hour: events or labels of a source, against the same hour of the week."""

from stream_app.core.alarms.count_bets import CountBets
from stream_app.core.alarms.evidence import DAY_MS, HOUR_MS, AlarmFinding, PlainState
from stream_app.core.alarms.week_hours import HOURS_A_WEEK, WeekHours
from stream_app.core.reading.event_time import NEVER

# Relative deviation of an hour that is acceptable.
TOLERANCE = 0.25
# Decay per occurrence: half-lives of three weeks and of ten days; occurrences before the first use.
_WEEKLY_DECAY: float = 2.0 ** (-1.0 / 3.0)
_DAILY_DECAY: float = 2.0 ** (-1.0 / 10.0)
_WEEKLY_NEEDED = 2
_DAILY_NEEDED = 3


class UsualCounts:
    """Decayed means by hour of the week, and by hour of the day while there are few weeks."""

    def __init__(self) -> None:
        self._weekly = [[0.0, 0.0, 0.0] for _ in range(HOURS_A_WEEK)]
        self._daily = [[0.0, 0.0, 0.0] for _ in range(24)]

    def mean(self, hour: int) -> float | None:
        """Return the usual count of an hour of the week, None while too little is known."""
        total, weight, seen = self._weekly[hour]
        needed = _WEEKLY_NEEDED
        if seen < needed:
            total, weight, seen = self._daily[hour % 24]
            needed = _DAILY_NEEDED
        return total / weight if seen >= needed else None

    def learn(self, hour: int, count: float) -> None:
        """Learn the count of an hour of the week."""
        for entry, decay in (
            (self._weekly[hour], _WEEKLY_DECAY),
            (self._daily[hour % 24], _DAILY_DECAY),
        ):
            entry[0] = entry[0] * decay + count
            entry[1] = entry[1] * decay + 1.0
            entry[2] += 1.0

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        return [[entry.copy() for entry in entries] for entries in (self._weekly, self._daily)]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        self._weekly, self._daily = ([list(entry) for entry in entries] for entries in state)


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
        self._bets = CountBets(limit, TOLERANCE)
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
            self._bets.start_day(day, hour, bets=usual is not None)
        if self._hours.is_holiday(hour):
            return None
        if usual:
            self._bets.add(count, usual)
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
