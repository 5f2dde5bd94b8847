"""Values of Avro timestamps: integers with their unit."""

from typing import ClassVar


class AvroTimestamp(int):
    """Value of an Avro timestamp: an integer with its unit."""

    per_millisecond: ClassVar[int]


class _Milliseconds(AvroTimestamp):
    per_millisecond = 1


class _Microseconds(AvroTimestamp):
    per_millisecond = 1_000


class _Nanoseconds(AvroTimestamp):
    per_millisecond = 1_000_000


TIMESTAMP_TYPES: dict[str, type[AvroTimestamp]] = {
    f"{zone}timestamp-{unit}": kind
    for zone in ("", "local-")
    for unit, kind in (
        ("millis", _Milliseconds),
        ("micros", _Microseconds),
        ("nanos", _Nanoseconds),
    )
}
"""Class of the values by logical type."""
