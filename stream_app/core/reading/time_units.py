"""Times that seem to have been sent in another unit than the declared one."""

# As milliseconds these are times of January 1970, as seconds times since 1973.
_SMALL = range(10**8, 30 * 86_400_000)
# Times from 1973 to 2096 in smaller units, of which milliseconds are after the year 9999.
_LARGE = (("microseconds", range(10**14, 4 * 10**15)), ("nanoseconds", range(10**17, 4 * 10**18)))

SUSPICION = "is in January 1970, as if its unit were wrong by a factor of 1,000"
UNIT_REMEDY = "Send the unit of the schema (timestamp-millis: Unix milliseconds), or ISO 8601 text"


def is_suspect(time: int | None) -> bool:
    """Return True if a time in Unix milliseconds seems to have been sent in seconds.

    So does a time in milliseconds of a field that is declared in microseconds.

    >>> is_suspect(1_760_000_000), is_suspect(1_760_000_000_000), is_suspect(0)
    (True, False, False)
    """
    return time in _SMALL


def smaller_unit(milliseconds: int) -> str | None:
    """Return the unit that a number seems to have if it is too large for milliseconds.

    >>> smaller_unit(1_760_000_000_000_000), smaller_unit(1_760_000_000_000)
    ('microseconds', None)
    """
    return next((unit for unit, numbers in _LARGE if milliseconds in numbers), None)
