"""Units of integer times, and values of Avro timestamps: integers with their unit."""

from typing import ClassVar, NamedTuple


class TimeUnit(NamedTuple):
    """Unit of integer times.

    Attributes:
        name: plural name, for messages.
        per_millisecond: units in a millisecond; 1 if the unit is longer.
        milliseconds: milliseconds in a unit; 1 if the unit is shorter.
    """

    name: str
    per_millisecond: int = 1
    milliseconds: int = 1

    def to_ms(self, number: int) -> int:
        """Return a number of units in milliseconds, rounded down."""
        return number * self.milliseconds // self.per_millisecond

    def from_ms(self, milliseconds: int) -> int:
        """Return milliseconds in this unit, rounded down."""
        return milliseconds * self.per_millisecond // self.milliseconds


SECONDS = TimeUnit("seconds", milliseconds=1_000)
MILLISECONDS = TimeUnit("milliseconds")
MICROSECONDS = TimeUnit("microseconds", per_millisecond=1_000)
NANOSECONDS = TimeUnit("nanoseconds", per_millisecond=1_000_000)


class AvroTimestamp(int):
    """Value of an Avro timestamp: an integer with its unit."""

    unit: ClassVar[TimeUnit]


class _Seconds(AvroTimestamp):
    unit = SECONDS


class _Milliseconds(AvroTimestamp):
    unit = MILLISECONDS


class _Microseconds(AvroTimestamp):
    unit = MICROSECONDS


class _Nanoseconds(AvroTimestamp):
    unit = NANOSECONDS


TIMESTAMP_TYPES: dict[str, type[AvroTimestamp]] = {
    f"{zone}timestamp-{unit}": kind
    for zone in ("", "local-")
    for unit, kind in (
        ("seconds", _Seconds),
        ("millis", _Milliseconds),
        ("micros", _Microseconds),
        ("nanos", _Nanoseconds),
    )
}
"""Class of the values by logical type. `timestamp-seconds` is not one of Avro's own."""


def likely_unit(number: float) -> TimeUnit | None:
    """Return the unit in which a number is a time from 1973 to 2096, None if there is none.

    >>> likely_unit(1_760_000_000_000_000).name, likely_unit(1_760_000_000).name, likely_unit(7)
    ('microseconds', 'seconds', None)
    """
    return next((unit for unit, low, high in _LIKELY if low <= number < high), None)


_LIKELY = (
    (SECONDS, 10**8, 4 * 10**9),
    (MILLISECONDS, 10**11, 4 * 10**12),
    (MICROSECONDS, 10**14, 4 * 10**15),
    (NANOSECONDS, 10**17, 4 * 10**18),
)
