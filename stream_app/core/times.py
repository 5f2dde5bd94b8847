"""Event times: epoch milliseconds, between the years 1 and 9999."""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND


def epoch_milliseconds(value: object) -> int | None:
    """Epoch milliseconds of an integer (which they are) or an ISO 8601 text with offset; None if it is neither.

    >>> epoch_milliseconds("2013-01-01T05:15:00-05:00")
    1357035300000
    >>> epoch_milliseconds("2013-01-01T05:15:00") is None
    True
    """
    if type(value) is str:
        return _parse(value)
    return value if type(value) is int and _FIRST <= value <= _LAST else None


def _parse(text: str) -> int | None:
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
    for unit, kind in (("millis", _Milliseconds), ("micros", _Microseconds), ("nanos", _Nanoseconds))
}
"""By logical type."""
