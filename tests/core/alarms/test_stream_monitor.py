"""The monitor says which alarms cannot be raised yet."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

from benchmarks.simulated_labels import DAY_MS, HOUR_MS, START, example_of, served_labels
from stream_app.core.alarms.alarm_log import AlarmLog, DetectorState, is_detector_state
from stream_app.core.alarms.label_feed import ServedLabel
from stream_app.core.alarms.stream_monitor import StreamMonitor
from stream_app.records import Output
from stream_app.status.alarm_status import detectors
from tests.core.alarms.streams import through_json
from tests.small_pipeline import small_pipeline

DAYS = 30


def new(**label: Any) -> StreamMonitor:
    declared = replace(small_pipeline().label, **({"horizon": timedelta(days=2)} | label))
    return StreamMonitor(small_pipeline(label=declared))


def written(
    monitor: StreamMonitor, labels: Iterator[ServedLabel], again: bool = False
) -> list[tuple[int, DetectorState]]:
    """Return the states of detectors as they are written, each with the day."""
    found: list[tuple[int, DetectorState]] = []
    waiting = list(labels)[::-1]
    for hour in range(DAYS * 24):
        end = START + (hour + 1) * HOUR_MS
        while waiting and waiting[-1].label_time < end:
            monitor.example(example_of(waiting.pop()), hour)
        outputs = monitor.pass_events(end) + monitor.pass_clock(end)
        states = [one for one in outputs if is_detector_state(one)]
        log = AlarmLog.of((one.key, one.value) for one in states)
        found += [((end - START) // DAY_MS, one) for one in log.detectors.values()]
        if again:
            declared = monitor._pipeline
            monitor = StreamMonitor.from_state(declared, through_json(monitor.to_state()))
    return found


@pytest.mark.parametrize("again", [False, True])
def test_a_detector_waits_until_its_bets_begin_and_says_so_once(again: bool) -> None:
    found = written(new(), served_labels(DAYS, 480, 1), again)
    (first, waits), (then, bets) = [one for one in found if one[1].name == "label-flips"]
    assert (first, waits.phase, waits.source) == (0, "waits", "labels")
    assert waits.why == "bets begin with labels of 2024-01-17"
    assert (then, bets) == (17, DetectorState("label-flips", "labels", "bets"))
    inputs = [one for one in found if one[1].name == "input-drift"]
    assert inputs == [(0, DetectorState("input-drift", "inputs", "waits", "no distributions yet"))]


def test_a_detector_is_off_while_only_one_kind_of_label_comes() -> None:
    positive = (one for one in served_labels(DAYS, 960, 2) if one.label)
    found = written(new(absent=False), positive)
    off = [one for _, one in found if one.phase == "off"]
    assert [(one.name, one.source) for one in off] == [("label-flips", "labels")]
    assert "of one kind" in off[0].why


def test_status_names_what_cannot_raise_an_alarm() -> None:
    states = [
        DetectorState("label-flips", "bank", "bets"),
        DetectorState("label-flips", "labels", "waits", "bets begin with labels of 2024-01-17"),
    ]
    log = AlarmLog.of((one.output().key, one.output().value) for one in states)
    assert [(one.source, one.phase) for one in detectors(log)] == [("labels", "waits")]
    log.add(states[1].output().key, None)
    assert detectors(log) == ()


@pytest.mark.parametrize(
    "value",
    [b"{}", b"[]", b"{", orjson.dumps({"name": 1, "source": "a", "phase": "bets", "why": ""}),
     orjson.dumps({"name": "a", "source": "a", "phase": "sleeps", "why": ""})],
)  # fmt: skip
def test_other_records_under_such_a_key_are_counted_as_unreadable(value: bytes) -> None:
    log = AlarmLog.of([(b"detector/label-flips/labels", value)])
    assert (log.unreadable, log.detectors) == (1, {})


def states_of(monitor: StreamMonitor, hours: range) -> list[Output]:
    """Return the records about detectors while hours pass."""
    found: list[Output] = []
    for hour in hours:
        found += monitor.pass_events(START + hour * HOUR_MS)
        found += monitor.pass_clock(START + hour * HOUR_MS)
    return [one for one in found if is_detector_state(one)]


def test_a_pipeline_without_alarms_writes_none_and_removes_those_of_before() -> None:
    plain = replace(small_pipeline(), alarms=None)
    assert states_of(StreamMonitor(plain), range(72)) == []
    before = new()
    written_before = states_of(before, range(72))
    after = StreamMonitor.from_state(plain, through_json(before.to_state()))
    removed = states_of(after, range(72, 120))
    assert {one.key for one in removed} == {one.key for one in written_before}
    assert [one.value for one in removed] == [None, None]
