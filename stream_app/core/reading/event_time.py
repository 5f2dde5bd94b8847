"""Event times: epoch milliseconds, between the years 1 and 9999."""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WITHOUT_OFFSET = _EPOCH.replace(tzinfo=None)
_MILLISECOND = timedelta(milliseconds=1)
FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
_OFFSETS = {"Z": 0} | {
    f"{sign}{hours:02}:{minutes:02}": int(f"{sign}1") * (hours * 60 + minutes) * 60_000
    for sign in "+-"
    for hours in range(15)
    for minutes in (0, 15, 30, 45)
}
"""In milliseconds, how those in use are written after date and time to the second, which are 19 characters."""


def epoch_milliseconds(value: object) -> int | None:
    """Epoch milliseconds of an integer (which they are) or an ISO 8601 text with offset; None if it is neither.

    >>> epoch_milliseconds("2013-01-01T05:15:00-05:00")
    1357035300000
    >>> epoch_milliseconds("2013-01-01T05:15:00") is None
    True
    """
    if type(value) is str:
        return _parse(value)
    return value if type(value) is int and FIRST <= value <= LAST else None


def _parse(text: str) -> int | None:
    offset = _OFFSETS.get(text[19:])
    if offset is None:
        return _parse_any(text)
    try:  # subtracting times that have offsets would take twice as long
        since = datetime.fromisoformat(text[:19]) - _EPOCH_WITHOUT_OFFSET
    except (ValueError, TypeError):
        return _parse_any(text)
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000 - offset


def _parse_any(text: str) -> int | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if time.tzinfo is None else (time - _EPOCH) // _MILLISECOND


class Instant(int):
    """A time as Avro's timestamps have it: an integer that knows its unit."""

    per_millisecond: ClassVar[int]


class _Milliseconds(Instant):
    per_millisecond = 1


class _Microseconds(Instant):
    per_millisecond = 1_000


class _Nanoseconds(Instant):
    per_millisecond = 1_000_000


INSTANTS: dict[str, type[Instant]] = {
    f"{zone}timestamp-{unit}": kind
    for zone in ("", "local-")
    for unit, kind in (
        ("millis", _Milliseconds),
        ("micros", _Microseconds),
        ("nanos", _Nanoseconds),
    )
}
"""By logical type."""
