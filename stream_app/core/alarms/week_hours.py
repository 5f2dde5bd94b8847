"""Hours of the week in a declared time zone."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

HOURS_A_WEEK = 168


class WeekHours:
    """Hours of the week of a time zone, so that the clock of its people decides what is usual.

    >>> hours = WeekHours("America/New_York")
    >>> hours.index(1_704_067_200_000)  # 2024-01-01T00:00Z, the evening before in New York
    163

    Args:
        zone: name of the time zone in the IANA database.
        holidays: local dates of which nothing is expected.

    Raises:
        ZoneInfoNotFoundError: there is no such zone.
    """

    def __init__(self, zone: str = "UTC", holidays: Iterable[date] = ()) -> None:
        # A machine without a database of time zones knows this one, too.
        self._zone = UTC if zone == "UTC" else ZoneInfo(zone)
        self._holidays = frozenset(holidays)

    def index(self, time: int) -> int:
        """Return the hour of the week of a time in Unix milliseconds: 0 is Monday's first."""
        local = self._local(time)
        return local.weekday() * 24 + local.hour

    def is_holiday(self, time: int) -> bool:
        """Return True if a time in Unix milliseconds is on a declared holiday."""
        return bool(self._holidays) and self._local(time).date() in self._holidays

    def _local(self, time: int) -> datetime:
        return datetime.fromtimestamp(time / 1000, self._zone)
