"""Watermarks of partitions, which scorers publish and the monitor reads."""

from collections.abc import Collection
from typing import Any, NamedTuple

import orjson

from stream_app.core.reading.event_time import FIRST_MS, LAST_MS, NEVER
from stream_app.records import Output


class PartitionWatermark(NamedTuple):
    """Watermark of a partition, and the offsets from which it holds.

    Attributes:
        partition: number of the partition.
        events: time that the events have reached in Unix milliseconds, `NEVER` before any.
        clock: time that events and labels have reached, `NEVER` before any.
        scored: offset in the partition of the scored records from which they hold.
        examples: offset in the examples from which they hold for those of the partition.
        idle: True if the partition had no event for so long that it holds no window open.
    """

    partition: int
    events: int
    clock: int
    scored: int
    examples: int
    idle: bool = False

    def output(self) -> Output:
        """Return the record for `<p>.watermarks`, with the number of the partition as its key."""
        fields = self._asdict() | {"events": _or_none(self.events), "clock": _or_none(self.clock)}
        return Output("watermarks", 0, str(self.partition).encode(), orjson.dumps(fields))


def holding(newest: Collection[PartitionWatermark]) -> list[PartitionWatermark]:
    """Return the watermarks that windows wait for, of the newest one of each partition.

    A partition that is idle holds nothing back, unless all are; then those that had events do.
    """
    busy = [one for one in newest if not one.idle]
    return busy or [one for one in newest if one.events != NEVER]


def decode_watermark(value: bytes | None) -> PartitionWatermark | None:
    """Return the watermark that a value holds, None if it holds none.

    >>> decode_watermark(PartitionWatermark(3, 60_000, NEVER, 7, 5).output().value)
    PartitionWatermark(partition=3, events=60000, clock=-4611686018427387904, scored=7, \
examples=5, idle=False)
    >>> decode_watermark(b"{}")
    """
    try:
        fields: dict[str, Any] = orjson.loads(value or b"")
        numbers = fields["partition"], fields["scored"], fields["examples"]
        times = _or_never(fields["events"]), _or_never(fields["clock"])
        partition, scored, examples = numbers
        found = PartitionWatermark(partition, *times, scored, examples, fields["idle"])
    except (ValueError, KeyError, TypeError):
        return None
    is_valid = (
        type(found.idle) is bool
        and all(type(number) is int for number in found[:-1])
        and min(numbers) >= 0
        and all(time == NEVER or FIRST_MS <= time <= LAST_MS for time in times)
    )
    return found if is_valid else None


WINDOW_KEY = b"window"
"""Key of a command in `<p>.watermarks` that changes the length of windows."""


def window_command(length: int) -> Output:
    """Return the record that changes the length of windows, in milliseconds.

    >>> decode_window(window_command(3_600_000).value)
    3600000
    """
    return Output("watermarks", 0, WINDOW_KEY, orjson.dumps({"length": length}))


def decode_window(value: bytes | None) -> int | None:
    """Return the length that a command sets in milliseconds, None if the value is no command."""
    try:
        length = orjson.loads(value or b"")["length"]
    except (ValueError, KeyError, TypeError):
        return None
    return length if type(length) is int else None


def _or_none(time: int) -> int | None:
    return None if time == NEVER else time


def _or_never(time: int | None) -> int:
    return NEVER if time is None else time
