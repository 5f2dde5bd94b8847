"""Alarms of a pipeline: each fault opens one, and it closes when the fault has gone."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from msgspec import structs

from benchmarks.simulated_labels import DAY_MS, HOUR_MS, START, example_of, served_labels
from stream_app import Alarms, Source
from stream_app.core.alarms.alarm_monitor import AlarmMonitor
from stream_app.core.alarms.alarm_record import AlarmRecord
from stream_app.core.alarms.label_feed import ServedLabel
from stream_app.core.monitoring.distribution_monitor import InputCounts
from stream_app.core.monitoring.window_monitor import WindowDistributions
from stream_app.core.published_records import NO_VERSION
from tests.core.alarms.streams import flipped, through_json
from tests.small_pipeline import small_pipeline

PER_DAY = 960
PER_HOUR = PER_DAY // 24
FAULT_DAY = 35
FAULT = START + FAULT_DAY * DAY_MS
FAULT_END = FAULT + 2 * DAY_MS
DAYS = 44

Change = Callable[[Iterator[ServedLabel]], Iterable[ServedLabel]]


def new(**declared: Any) -> AlarmMonitor:
    label = replace(small_pipeline().label, horizon=timedelta(days=2))
    return AlarmMonitor(small_pipeline(label=label), Alarms(**({"false_per_year": 10} | declared)))


def run(
    monitor: AlarmMonitor,
    labels: Iterable[ServedLabel],
    volume: Callable[[int], int] = lambda _: PER_HOUR,
    windows: Callable[[int], list[WindowDistributions]] = lambda _: [],
    restart: Callable[[AlarmMonitor], AlarmMonitor] = lambda monitor: monitor,
) -> list[AlarmRecord]:
    """Lets hours pass, with events, labels and windows; labels come in order of label time."""
    waiting = list(labels)[::-1]
    found: list[AlarmRecord] = []
    offset = 0
    for hour in range(DAYS * 24):
        start = START + hour * HOUR_MS
        for number in range(volume(start)):
            monitor.add_event(start + number, start)
        while waiting and waiting[-1].label_time < start + HOUR_MS:
            monitor.add_example(example_of(waiting.pop()._replace(offset=offset)), offset)
            offset += 1
        found += monitor.pass_events(start + HOUR_MS, windows(start))
        found += monitor.pass_clock(start + HOUR_MS)
        monitor = restart(monitor)
    return found


def usual() -> Iterator[ServedLabel]:
    return served_labels(DAYS, PER_DAY, 5)


def life(found: list[AlarmRecord], name: str) -> list[AlarmRecord]:
    """Returns the records of the only alarm; the last one must close it."""
    assert {one.name for one in found} == {name}
    *opened, closed = found
    assert opened
    assert [one.n for one in opened] == list(range(1, len(opened) + 1))
    assert all(one.is_open for one in opened)
    assert closed == opened[-1]._replace(closed_at=closed.closed_at)
    assert {(one.id, one.since) for one in found} == {(closed.id, closed.since)}
    return found


def test_a_usual_stream_raises_nothing() -> None:
    assert run(new(), usual()) == []


def test_flipped_labels_open_one_alarm_with_the_examples_to_go_back_to() -> None:
    labels = flipped(usual(), FAULT, FAULT_END, 0.4, 6)
    found = life(run(new(), labels), "label-flips")
    first, closed = found[0], found[-1]
    assert FAULT < first.opened_at < FAULT_END
    assert abs(first.since - FAULT) <= 8 * HOUR_MS
    assert first.strength >= 1
    assert first.id.startswith("label-flips/labels/2024-")
    assert closed.closed_at == closed.updated_at + 3 * DAY_MS
    assert first.examples is not None
    since = first.since - 8 * HOUR_MS
    by_offset = [label.label_time for label in usual()]
    assert by_offset[first.examples.first] >= since - HOUR_MS
    assert by_offset[first.examples.first - 20] < since
    assert "flipped" in first.cause
    assert first.pages


def test_hours_without_events_open_an_alarm_of_volume() -> None:
    found = run(new(), usual(), lambda start: 0 if FAULT <= start < FAULT_END else PER_HOUR)
    volumes = life([one for one in found if one.name == "event-volume"], "event-volume")
    assert FAULT < volumes[0].opened_at <= FAULT + 12 * HOUR_MS
    assert volumes[0].source == "events"


def test_a_silent_source_is_named() -> None:
    sources = tuple(Source(topic=name, start="earliest") for name in ("shop", "bank"))
    label = replace(small_pipeline().label, horizon=timedelta(days=2))
    monitor = AlarmMonitor(small_pipeline(label=label, sources=sources), Alarms(false_per_year=10))
    found = []
    for hour in range(DAYS * 24):
        start = START + hour * HOUR_MS
        for number in range(PER_HOUR):
            monitor.add_event(start + number, start, "bank")
            if not FAULT <= start < FAULT_END:
                monitor.add_event(start + number, start, "shop")
        found += monitor.pass_events(start + HOUR_MS)
    assert {(one.name, one.source) for one in found} == {("event-volume", "shop")}


def test_labels_of_a_source_that_are_missing_name_it() -> None:
    sources = tuple(Source(topic=name, start="earliest") for name in ("shop", "bank"))
    label = replace(small_pipeline().label, horizon=timedelta(days=2), sources=sources)
    monitor = AlarmMonitor(small_pipeline(label=label), Alarms(false_per_year=10))
    found = []
    waiting = list(usual())[::-1]
    for hour in range(DAYS * 24):
        start = START + hour * HOUR_MS
        for number in range(PER_HOUR):
            monitor.add_event(start + number, start)
        while waiting and waiting[-1].label_time < start + HOUR_MS:
            one = waiting.pop()
            source = "shop" if one.event_time // 90_000 % 2 else "bank"
            if source == "bank" or not FAULT <= one.event_time < FAULT_END:
                monitor.add_example(structs.replace(example_of(one), label_source=source), hour)
        monitor.pass_events(start + HOUR_MS)
        found += monitor.pass_clock(start + HOUR_MS)
    assert {(one.name, one.source) for one in found} == {("label-coverage", "shop")}


def test_labels_of_scores_that_no_model_made_are_no_evidence() -> None:
    monitor = new()
    for offset, label in enumerate(flipped(usual(), FAULT, FAULT_END, 0.4, 6)):
        version = NO_VERSION if FAULT <= label.label_time < FAULT_END else 1
        monitor.add_example(structs.replace(example_of(label), model_version=version), offset)
        monitor.pass_events(label.label_time)
        assert not any(one.name == "label-flips" for one in monitor.pass_clock(label.label_time))


def test_holidays_are_not_usual() -> None:
    days = tuple(date(2024, 2, day) for day in (5, 6, 7))
    found = run(
        new(holidays=days), usual(), lambda start: 0 if FAULT <= start < FAULT_END else PER_HOUR
    )
    assert not any(one.name == "event-volume" for one in found)


def test_missing_labels_open_an_alarm_of_coverage() -> None:
    kept = (one for one in usual() if not FAULT <= one.event_time < FAULT_END)
    found = life(run(new(), kept), "label-coverage")
    assert FAULT < found[0].opened_at <= FAULT + DAY_MS


def drifting(start: int) -> list[WindowDistributions]:
    chance = random.Random(start)
    shares = (1, 7, 2) if FAULT <= start < FAULT_END else (5, 3, 2)
    drawn = chance.choices(range(3), shares, k=60)
    inputs = {
        "score": InputCounts([20, 20, 20]),
        "features.amount": InputCounts([drawn.count(i) for i in range(3)]),
    }
    return [WindowDistributions(start, start + HOUR_MS, inputs)]


def test_a_drifting_input_is_named() -> None:
    found = run(new(input_drift_per_year=10), usual(), windows=drifting)
    first = found[0]
    assert FAULT < first.opened_at <= FAULT + DAY_MS
    assert {one.name for one in found} == {"input-drift"}
    assert first.cause.startswith("features.amount (")
    assert first.culprits[0] == "features.amount"
    assert not first.pages


@pytest.mark.parametrize("every", [1, 37])
def test_a_monitor_that_restarts_raises_the_same(every: int) -> None:
    count = 0

    def restart(monitor: AlarmMonitor) -> AlarmMonitor:
        nonlocal count
        count += 1
        if count % every:
            return monitor
        restored = new()
        restored.restore(through_json(monitor.to_state()))
        return restored

    labels = list(flipped(usual(), FAULT, FAULT_END, 0.4, 6))
    expected = run(new(), labels, windows=drifting)
    assert len(expected) > 3
    assert run(new(), labels, windows=drifting, restart=restart) == expected


def test_assumed_labels_are_no_evidence() -> None:
    monitor = new()
    for offset, label in enumerate(flipped(usual(), FAULT, FAULT_END, 0.4, 6)):
        assumed = FAULT <= label.label_time < FAULT_END
        monitor.add_example(example_of(label._replace(offset=offset), assumed=assumed), offset)
        monitor.pass_events(label.label_time)
        assert not any(one.name == "label-flips" for one in monitor.pass_clock(label.label_time))


def test_a_promotion_forgets_the_evidence_and_nothing_that_was_learned() -> None:
    labels = list(flipped(usual(), FAULT, FAULT_END, 0.4, 6))
    often = new()
    found = run(often, labels, restart=_promoted)
    assert not any(one.name == "label-flips" for one in found)


def _promoted(monitor: AlarmMonitor) -> AlarmMonitor:
    monitor.change_version()
    return monitor
