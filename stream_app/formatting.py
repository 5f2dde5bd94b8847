"""Times, durations and counts as text."""

from datetime import UTC, datetime, timedelta

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso_time(milliseconds: float) -> str:
    """Return Unix milliseconds as ISO 8601 in UTC, or as a number outside the years 1 to 9999.

    >>> iso_time(1_700_000_000_000)
    '2023-11-14T22:13:20.000+00:00'
    >>> iso_time(253_402_300_799_999), iso_time(253_402_300_800_000)
    ('9999-12-31T23:59:59.999+00:00', '253402300800000')
    """
    # Added to the epoch, because a float of seconds is not exact in years far from 1970.
    try:
        moment = _UNIX_EPOCH + timedelta(milliseconds=round(milliseconds))
        return moment.isoformat(timespec="milliseconds")
    except OverflowError:
        return str(round(milliseconds))


def seconds_since(text: str, now: float) -> float:
    """Return the age of an ISO 8601 time in seconds, zero for the future; `now` is Unix seconds."""
    moment = datetime.fromisoformat(text)
    return max(0.0, now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def duration(seconds: float) -> str:
    """Return a duration in the largest suitable unit.

    >>> [duration(seconds) for seconds in (0.04, 3.21, 75, 7300, 200_000)]
    ['0.0 s', '3.2 s', '75 s', '2 h', '56 h']
    >>> duration(1_000_000)
    '12 days'
    """
    for limit, unit, name in ((10, 1, ""), (120, 1, "s"), (7200, 60, "min"), (259_200, 3600, "h")):
        if seconds < limit:
            return f"{seconds:.1f} s" if not name else f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400:.0f} days"


def exact_duration(milliseconds: int) -> str:
    """Return a duration of zero or more, to the millisecond; all have the same form.

    >>> exact_duration(90_061_005)
    '25 h 01 min 01.005 s'
    """
    seconds, thousandths = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min {seconds:02}.{thousandths:03} s"


def counted(count: int, noun: str) -> str:
    """Return a number with a noun, in the plural unless it is 1.

    >>> counted(1, "duplicate"), counted(1200, "duplicate")
    ('1 duplicate', '1,200 duplicates')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
