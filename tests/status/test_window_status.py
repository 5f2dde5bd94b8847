"""Status of windows: newest watermarks, the partition that holds windows back, and its line."""

from collections.abc import Iterator
from typing import Any

import pytest

from stream_app.core.monitoring.log_alignment import DAY_MS
from stream_app.core.monitoring.partition_watermark import PartitionWatermark, window_command
from stream_app.core.reading.event_time import NEVER
from stream_app.status.measurements import WrittenMeasurement
from stream_app.status.status_model import InputStatus, WatermarkStatus, WindowStatus
from stream_app.status.status_rendering import window_line
from stream_app.status.window_status import (
    FIRST_OFFSETS,
    Watermarks,
    WrittenWatermark,
    holder,
    mark_waiting,
    read_watermarks,
    window_status,
)

TOPIC = "p.watermarks", 0
T0 = 1_700_000_000_000


class LoggedMessage:
    def __init__(self, value: bytes | None, at: int) -> None:
        self._value, self._at = value, at

    def value(self) -> bytes | None:
        return self._value

    def timestamp(self) -> tuple[int, int]:
        return 1, self._at


class LogReader:
    """Reader of one partition whose records have consecutive offsets."""

    def __init__(self, values: list[bytes | None]) -> None:
        self.messages = [LoggedMessage(value, at) for at, value in enumerate(values)]
        self.ranges: list[tuple[int, int]] = []

    def records(self, bounds: Any) -> Iterator[LoggedMessage]:
        self.ranges.append(bounds[TOPIC])
        return iter(self.messages[slice(*bounds[TOPIC])])


def watermark(partition: int, events: int = T0, **changes: Any) -> PartitionWatermark:
    return PartitionWatermark(partition, events, events, 10, 5)._replace(**changes)


def written(*watermarks: PartitionWatermark, at: int = T0) -> Watermarks:
    return {one.partition: WrittenWatermark(at, one) for one in watermarks}


def test_the_newest_watermark_of_each_partition_is_found_backwards() -> None:
    values = [watermark(0).output().value, watermark(1).output().value]
    values += [watermark(1, T0 + number).output().value for number in range(2 * FIRST_OFFSETS)]
    values += [None, b"nonsense", window_command(DAY_MS).value, watermark(7).output().value]
    reader: Any = LogReader(values)
    end = len(values)
    found = read_watermarks(reader, {TOPIC: (0, end)}, [0, 1])
    assert found == {
        0: WrittenWatermark(0, watermark(0)),
        1: WrittenWatermark(end - 5, watermark(1, T0 + 2 * FIRST_OFFSETS - 1)),
    }
    assert reader.ranges == [(end - FIRST_OFFSETS, end), (0, end - FIRST_OFFSETS)]
    assert read_watermarks(reader, {TOPIC: (0, end)}, [1, 2])[2] is None
    reader.ranges.clear()
    assert read_watermarks(reader, {TOPIC: (0, end)}, [1]) == {1: found[1]}
    assert len(reader.ranges) == 1


@pytest.mark.parametrize(
    ("watermarks", "expected"),
    [
        ({}, None),
        (written(watermark(0, T0 + 1), watermark(1)), 1),
        (written(watermark(0, T0 + 1), watermark(1, idle=True)), 0),
        (written(watermark(0, idle=True), watermark(1, NEVER, idle=True)), 0),
        (written(watermark(0), watermark(1, NEVER)), 1),
        ({**written(watermark(0)), 1: None}, 1),
        (written(watermark(0, NEVER, idle=True)), None),
    ],
)
def test_the_partition_that_is_behind_holds_windows_back(
    watermarks: Watermarks, expected: int | None
) -> None:
    assert holder(watermarks) == expected


@pytest.mark.parametrize(
    ("ahead", "position", "waiting"),
    [(DAY_MS, 9, False), (DAY_MS, 10, True), (DAY_MS + 1, 0, True)],
)
def test_the_monitor_waits_for_a_watermark_or_a_slow_partition(
    ahead: int, position: int, waiting: bool
) -> None:
    known = written(watermark(0, T0 + ahead), watermark(1))
    one = InputStatus("monitor", "p.scored", 0, "monitor-0", position, 12, 2, 1.0, 0)
    (found,) = mark_waiting([one], "p.scored", known)
    assert found.waiting is waiting
    others = [
        InputStatus("score", "p.scored", 0, "score-0", 10, 12, 2, 1.0, 0),
        InputStatus("monitor", "p.examples", 0, "monitor-0", 10, 12, 2, 1.0, 0),
        InputStatus("monitor", "p.scored", 0, "monitor-0", 12, 12, 0, 0.0, 0),
    ]
    assert mark_waiting(others, "p.scored", known) == tuple(others)


def volume(start: int, end: int, name: str = "scored") -> WrittenMeasurement:
    return WrittenMeasurement(
        end, {"kind": "volume", "name": name, "window": {"start": start, "end": end}}
    )


def test_the_line_says_which_partition_the_next_window_waits_for() -> None:
    known = written(watermark(0, T0 + 1), watermark(1), watermark(2, NEVER, idle=True))
    hour = 3_600_000
    found = window_status(
        known, [volume(0, 2 * hour), volume(0, hour), volume(0, DAY_MS, "late")], T0 + 9_000
    )
    assert found == WindowStatus(
        window_end="1970-01-01T02:00:00.000+00:00",
        window_seconds=7200,
        held_by=1,
        watermarks=(
            WatermarkStatus(
                0, "2023-11-14T22:13:20.001+00:00", "2023-11-14T22:13:20.001+00:00", 9.0, False
            ),
            WatermarkStatus(
                1, "2023-11-14T22:13:20.000+00:00", "2023-11-14T22:13:20.000+00:00", 9.0, False
            ),
            WatermarkStatus(2, None, None, 9.0, True),
        ),
    )
    assert window_line(found) == (
        "2 h each, the last to 1970-01-01T02:00; the next waits for partition 1, "
        "which has reached 2023-11-14T22:13 (written 9.0 s ago)"
    )


def test_the_line_says_what_is_missing() -> None:
    assert window_line(WindowStatus()) == "none reported yet"
    found = window_status({**written(watermark(0)), 1: None}, [], T0)
    assert window_line(found) == "none reported yet; partition 1 has no watermark yet"
    found = window_status(written(watermark(0, NEVER)), [], T0)
    assert window_line(found).endswith("partition 0, which has reached no time (written 0.0 s ago)")
