"""Times as people and programs read them."""

from datetime import UTC, datetime

from stream_app.core import route


def iso(milliseconds: float) -> str:
    """Epoch milliseconds as ISO 8601 in UTC; a time beyond the calendar is given as the number it is."""
    try:
        return route.iso(round(milliseconds))
    except (ValueError, OverflowError, OSError):
        return str(round(milliseconds))


def seconds_since(text: str, now: float) -> float:
    """How long ago an ISO 8601 time was, in seconds; `now` is epoch seconds, and the future is now."""
    moment = datetime.fromisoformat(text)
    return max(0.0, now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def duration(seconds: float) -> str:
    """As people say it.

    >>> [duration(seconds) for seconds in (0.04, 3.21, 75, 7300, 200_000)]
    ['0.0 s', '3.2 s', '75 s', '2 h', '56 h']
    >>> duration(1_000_000)
    '12 days'
    """
    for limit, unit, name in ((10, 1, ""), (120, 1, "s"), (7200, 60, "min"), (259_200, 3600, "h")):
        if seconds < limit:
            return f"{seconds:.1f} s" if not name else f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400:.0f} days"


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "duplicate"), counted(1200, "duplicate")
    ('1 duplicate', '1,200 duplicates')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
