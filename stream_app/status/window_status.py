"""Watermarks of the partitions, read from `<p>.watermarks`, and what holds windows back."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from stream_app.core.monitoring.log_alignment import DAY_MS
from stream_app.core.monitoring.partition_watermark import (
    PartitionWatermark,
    decode_watermark,
    holding,
)
from stream_app.core.reading.event_time import NEVER
from stream_app.formatting import iso_time
from stream_app.kafka.offsets import OffsetBounds
from stream_app.kafka.partition_reader import PartitionReader
from stream_app.status.measurements import WrittenMeasurement
from stream_app.status.status_model import InputStatus, WatermarkStatus, WindowStatus

# Newest offsets that are read at first, and at most.
FIRST_OFFSETS = 1_000
MAX_OFFSETS = 100_000


class WrittenWatermark(NamedTuple):
    """A watermark and the time at which it was written, in Unix milliseconds."""

    at: int
    watermark: PartitionWatermark

    @property
    def events(self) -> int:
        """Time that the events of the partition have reached."""
        return self.watermark.events


Watermarks = Mapping[int, WrittenWatermark | None]
"""Newest watermark of each partition, None for one without any."""


def read_watermarks(
    reader: PartitionReader, bounds: OffsetBounds, partitions: Iterable[int]
) -> Watermarks:
    """Return the newest watermark of each partition; reads backwards.

    Args:
        reader: reads the topic.
        bounds: bounds of the topic.
        partitions: numbers of the partitions.
    """
    found: dict[int, WrittenWatermark | None] = dict.fromkeys(partitions)
    for one, (low, end) in bounds.items():
        window, limit = FIRST_OFFSETS, max(low, end - MAX_OFFSETS)
        while end > limit and None in found.values():
            start = max(limit, end - window)
            # The newest of this part, for partitions that are not found in a later one.
            newest: dict[int, WrittenWatermark] = {}
            for message in reader.records({one: (start, end)}):
                watermark = decode_watermark(message.value())
                if watermark is not None:
                    written = WrittenWatermark(message.timestamp()[1], watermark)
                    newest[watermark.partition] = written
            for partition, written in newest.items():
                if partition in found:
                    found[partition] = found[partition] or written
            end, window = start, window * 10
    return found


def holder(watermarks: Watermarks) -> int | None:
    """Return the partition that holds windows back, None if there are no partitions.

    That is one without a watermark, else the one that is behind the others that hold windows back.
    """
    known = []
    for partition, written in watermarks.items():
        if written is None:
            return partition
        known.append(written.watermark)
    least = min(holding(known), key=lambda one: one.events, default=None)
    return None if least is None else least.partition


def mark_waiting(
    inputs: Iterable[InputStatus], scored: str, watermarks: Watermarks
) -> tuple[InputStatus, ...]:
    """Return inputs, those marked in which the monitor waits for a watermark.

    Either the scorer has not said which watermark holds at its position, or the partition is more
    than a day ahead of the one that holds windows back.

    Args:
        inputs: inputs of all roles.
        scored: topic of the scored records.
        watermarks: watermarks of its partitions.
    """
    held_by = holder(watermarks)
    slowest = None if held_by is None else watermarks[held_by]

    def waits(one: InputStatus) -> bool:
        own = watermarks.get(one.partition)
        if own is None or slowest is None or one.position >= own.watermark.scored:
            return True
        return own.events > slowest.events + DAY_MS

    return tuple(
        replace(one, waiting=True)
        if one.role == "monitor" and one.topic == scored and one.lag_records and waits(one)
        else one
        for one in inputs
    )


def window_status(
    watermarks: Watermarks, measurements: Iterable[WrittenMeasurement], now: int
) -> WindowStatus:
    """Return the status of the windows; `now` is in Unix milliseconds."""
    windows = [
        one.fields["window"]
        for one in measurements
        if (one.fields["kind"], one.fields["name"]) == ("volume", "scored")
    ]
    newest = max(windows, key=lambda window: window["end"], default=None)
    return WindowStatus(
        window_end=None if newest is None else iso_time(newest["end"]),
        window_seconds=None if newest is None else (newest["end"] - newest["start"]) // 1000,
        held_by=holder(watermarks),
        watermarks=tuple(
            _watermark_status(partition, written, now)
            for partition, written in sorted(watermarks.items())
        ),
    )


def _watermark_status(
    partition: int, written: WrittenWatermark | None, now: int
) -> WatermarkStatus:
    if written is None:
        return WatermarkStatus(partition, None, None, None, False)
    watermark = written.watermark
    return WatermarkStatus(
        partition=partition,
        events=None if watermark.events == NEVER else iso_time(watermark.events),
        clock=None if watermark.clock == NEVER else iso_time(watermark.clock),
        age_seconds=round(max(0, now - written.at) / 1000, 1),
        idle=watermark.idle,
    )
