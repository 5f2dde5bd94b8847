"""Times of events in Unix milliseconds, between the years 1 and 9999, and suspected units."""

import re
from datetime import UTC, datetime, timedelta

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIX_EPOCH_WITHOUT_OFFSET = _UNIX_EPOCH.replace(tzinfo=None)
_MILLISECOND = timedelta(milliseconds=1)
# Watermark before anything was seen; every event time is later.
NEVER = -(2**62)
FIRST_MS = (datetime.min.replace(tzinfo=UTC) - _UNIX_EPOCH) // _MILLISECOND
LAST_MS = (datetime.max.replace(tzinfo=UTC) - _UNIX_EPOCH) // _MILLISECOND
# Tolerance for the clocks of producers: a time that is further ahead is invalid.
MAX_AHEAD_MS = 24 * 60 * 60 * 1000
_OFFSETS_MS = {"Z": 0} | {
    f"{sign}{hours:02}:{minutes:02}": int(f"{sign}1") * (hours * 60 + minutes) * 60_000
    for sign in "+-"
    for hours in range(15)
    for minutes in (0, 15, 30, 45)
}
"""Offsets in use, by the text that follows date and time to the second (19 characters)."""
# As milliseconds these are times of January 1970. So are times of this century that are read in a
# unit that is too small: seconds as milliseconds or less, milliseconds as micro- or nanoseconds.
_SMALL = range(1_000, 30 * 86_400_000)

SUSPICION = "is in January 1970, as if its unit were wrong by a factor of 1,000 or more"
UNIT_REMEDY = (
    "Send the unit of the schema (timestamp-millis: Unix milliseconds) or ISO 8601 text, or "
    "declare the unit that is sent (timestamp-seconds, timestamp-micros)"
)

# Milliseconds of the parts of common texts, such as `2013-01-01T`, `05:15` and `:00-05:00`.
_HOURS_AND_MINUTES = {
    f"{hour:02}:{minute:02}": (hour * 60 + minute) * 60_000
    for hour in range(24)
    for minute in range(60)
}
_SECONDS_AND_OFFSET: dict[str, int] = {}
_DATES: dict[str, int] = {}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]")
_SECONDS = re.compile(r":[0-5][0-9]")
# Parts that are kept; of a stream with more dates, all are forgotten now and then.
_MAX_PARTS = 4096


def to_unix_ms(value: object) -> int | None:
    """Return the Unix milliseconds of an integer, or of an ISO 8601 text with an offset.

    An integer already is in Unix milliseconds. Anything else, and times out of range, give None.

    >>> to_unix_ms("2013-01-01T05:15:00-05:00")
    1357035300000
    >>> to_unix_ms("2013-01-01T05:15:00") is None
    True
    """
    if type(value) is str:
        # Fast path: a look-up of the parts is twice as fast as the library.
        try:
            return (
                _DATES[value[:11]]
                + _HOURS_AND_MINUTES[value[11:16]]
                + _SECONDS_AND_OFFSET[value[16:]]
            )
        except KeyError:
            return _learn(value)
    return value if type(value) is int and FIRST_MS <= value <= LAST_MS else None


def _learn(text: str) -> int | None:
    """Parse a text and remember its parts if they are in the common format."""
    time = _parse(text)
    date, minutes, rest = text[:11], text[11:16], text[16:]
    if (
        time is not None
        and minutes in _HOURS_AND_MINUTES
        and _SECONDS.fullmatch(rest[:3])
        and rest[3:] in _OFFSETS_MS
        and _DATE.fullmatch(date)
        # Every time of these years is in range.
        and "0001" < date[:4] < "9999"
    ):
        for parts in (_DATES, _SECONDS_AND_OFFSET):
            if len(parts) >= _MAX_PARTS:
                parts.clear()
        seconds = _SECONDS_AND_OFFSET[rest] = int(rest[1:3]) * 1000 - _OFFSETS_MS[rest[3:]]
        _DATES[date] = time - _HOURS_AND_MINUTES[minutes] - seconds
    return time


def _parse(text: str) -> int | None:
    offset = _OFFSETS_MS.get(text[19:])
    if offset is None:
        return to_unix_ms(_parse_any(text))
    # Subtracting times with offsets would take twice as long.
    try:
        since = datetime.fromisoformat(text[:19]) - _UNIX_EPOCH_WITHOUT_OFFSET
    except (ValueError, TypeError):
        return to_unix_ms(_parse_any(text))
    time = since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000 - offset
    # In UTC, a time of the year 1 or 9999 may be in the year 0 or 10000, which no library accepts.
    return time if FIRST_MS <= time <= LAST_MS else None


def _parse_any(text: str) -> int | None:
    """Return the Unix milliseconds of a text, perhaps out of range."""
    try:
        time = datetime.fromisoformat(text)
        return None if time.tzinfo is None else (time - _UNIX_EPOCH) // _MILLISECOND
    except (ValueError, OverflowError):
        return None


def time_problem(value: object) -> str:
    """Return why `to_unix_ms` gives None for a value, without the value.

    >>> time_problem("0001-01-01T00:00:00+01:00")
    'is before the year 1 in UTC'
    >>> time_problem(2**62), time_problem("2013-01-01T05:15:00")
    ('is after the year 9999 in UTC', 'has no offset from UTC')
    >>> time_problem("soon"), time_problem(1.5)
    ('is not ISO 8601', 'is not a time but float')
    """
    if type(value) is int:
        return f"is {'before the year 1' if value < FIRST_MS else 'after the year 9999'} in UTC"
    if type(value) is not str:
        return f"is not a time but {type(value).__name__}"
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return "is not ISO 8601"
    if time.tzinfo is None:
        return "has no offset from UTC"
    return time_problem((time - _UNIX_EPOCH) // _MILLISECOND)


def with_utc(text: str) -> str:
    """Return a time with the offset of UTC if it has none; other text is unchanged.

    >>> with_utc("2013-01-01 05:15:00"), with_utc("2013-01-01T05:15:00-05:00")
    ('2013-01-01T05:15:00+00:00', '2013-01-01T05:15:00-05:00')
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if time.tzinfo else time.replace(tzinfo=UTC).isoformat()


def is_suspect(time: int | None) -> bool:
    """Return True if a time in Unix milliseconds seems to have been sent in seconds.

    So does a time in any unit that is read in a smaller one.

    >>> is_suspect(1_760_000_000), is_suspect(1_760_000_000_000), is_suspect(0)
    (True, False, False)
    """
    return time in _SMALL
