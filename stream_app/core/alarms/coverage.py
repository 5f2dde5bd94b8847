"""Label coverage per hour: the share of events that have a label by some time after them."""

from math import exp, log

from stream_app.core.alarms.count_bets import MAX_LOG
from stream_app.core.alarms.evidence import DAY_MS, HOUR_MS, AlarmFinding, Evidence, PlainState
from stream_app.core.alarms.tempering import Tempering
from stream_app.core.alarms.week_hours import WeekHours
from stream_app.core.reading.event_time import NEVER

# Relative decrease of the share that is acceptable, and multiples of the rest that are bet on.
TOLERANCE = 0.1
MULTIPLES: tuple[float, ...] = (0.5, 0.1)
# Decay per day: a half-life of ten days; days before the first bet on an hour; least usual share.
_DECAY: float = 2.0 ** (-1.0 / 10.0)
_NEEDED = 3
MIN_SHARE = 0.02


class CoverageDetector:
    """E-detector of hours whose events have far fewer labels than usual at that hour of the day.

    Args:
        limit: evidence at which an alarm is raised.
        hours: hours of the week of the zone whose clock the source follows.
        name: name of the source of labels.
    """

    def __init__(self, limit: float, hours: WeekHours, name: str = "") -> None:
        self._limit = limit
        self._hours = hours
        self._name = name
        # Decayed labels, decayed events, and number of days, by hour of the day.
        self._usual = [[0.0, 0.0, 0.0] for _ in range(24)]
        self._tempering = Tempering(100.0, 4.0)
        self._evidence = [Evidence() for _ in MULTIPLES]
        self._day = NEVER
        # True if no hour of the day has been bet on.
        self._is_new_day = True

    def add(self, hour: int, events: int, labelled: int) -> AlarmFinding | None:
        """Bet on the number of labelled events of an hour, then learn it.

        Args:
            hour: start of the hour in Unix milliseconds; hours come in order.
            events: number of events of the hour.
            labelled: number of them whose label became known within a fixed time.

        Returns:
            The alarm if the evidence reaches the limit; the bets are forgotten then.
        """
        day = hour // DAY_MS
        if day > self._day:
            self._day = day
            self._tempering.start_day(day, counts=True)
            self._is_new_day = True
        if self._hours.is_holiday(hour) or events == 0:
            return None
        entry = self._usual[self._hours.index(hour) % 24]
        if entry[2] >= _NEEDED:
            self._bet(hour, events, labelled, min(entry[0] / entry[1], 0.999))
        entry[0] = entry[0] * _DECAY + labelled
        entry[1] = entry[1] * _DECAY + events
        entry[2] += 1.0
        return self._found(hour + HOUR_MS)

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        return [
            self._day,
            [entry.copy() for entry in self._usual],
            self._tempering.state(),
            [one.state() for one in self._evidence],
            self._is_new_day,
        ]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        self._day, self._usual = state[0], [list(entry) for entry in state[1]]
        self._tempering.restore(state[2])
        for one, content in zip(self._evidence, state[3], strict=True):
            one.restore(content)
        self._is_new_day = state[4]

    def _bet(self, hour: int, events: int, labelled: int, usual: float) -> None:
        if usual < MIN_SHARE:
            return
        if self._is_new_day:
            for one in self._evidence:
                one.begin(1.0 / len(MULTIPLES), hour)
            self._is_new_day = False
        bound, exponent = usual * (1.0 - TOLERANCE), self._tempering.exponent
        for one, multiple in zip(self._evidence, MULTIPLES, strict=True):
            other = bound * multiple
            gain = labelled * log(multiple)
            gain += (events - labelled) * log((1.0 - other) / (1.0 - bound))
            one.multiply(exp(min(max(exponent * gain, -MAX_LOG), MAX_LOG)))
        self._tempering.add(labelled - events * usual, events * usual * (1.0 - usual))

    def _found(self, time: int) -> AlarmFinding | None:
        few, fewer = self._evidence
        total = few.total + fewer.total
        if total < self._limit:
            return None
        heaviest, multiple = (
            (few, MULTIPLES[0]) if few.total >= fewer.total else (fewer, MULTIPLES[1])
        )
        since = heaviest.since
        for one in self._evidence:
            one.clear()
        return AlarmFinding(time, since, total, self._limit, self._name, multiple)
