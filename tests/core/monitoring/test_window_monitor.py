"""Window monitor: watermarks, drift of scores and features, coverage and delay of labels."""

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import orjson
import pytest

from stream_app.core.examples import Example
from stream_app.core.monitoring.delay_quantiles import DelayQuantiles
from stream_app.core.monitoring.window_monitor import WindowMonitor
from stream_app.core.published_records import ScoredRecord
from tests.learning import FINGERPRINT, HOUR, measurements, pipeline

DECLARED = pipeline(window=timedelta(hours=1))  # labels have a horizon of 12 hours


def scored(
    time: int, score: float = 0.5, features: Mapping[str, Any] | None = None
) -> ScoredRecord:
    model = {"name": "p", "version": time // HOUR}
    return cast(
        ScoredRecord,
        {
            "event_id": "e",
            "event_time": time,
            "score": score,
            "model": model,
            "features": features,
        },
    )


def example(event_time: int, delay: int) -> Example:
    return Example("e", event_time, event_time + delay, True, 0.5, 0, {}, FINGERPRINT)


def report(monitor: WindowMonitor, *active: str) -> list[dict[str, Any]]:
    return measurements(monitor.close(active))


def of_kind(found: list[dict[str, Any]], kind: str) -> dict[str, float]:
    return {one["name"]: one["value"] for one in found if one["kind"] == kind}


def test_labels_are_counted_when_the_watermark_is_a_horizon_beyond_the_window() -> None:
    monitor = WindowMonitor(DECLARED)
    for minute in range(10):
        monitor.scored("s", scored(minute * 60_000))
    for minute in range(4):
        monitor.example("x", example(minute * 60_000, delay=(minute + 1) * HOUR))
    monitor.scored("s", scored(13 * HOUR - 1))
    assert report(monitor) == []
    monitor.scored("s", scored(13 * HOUR))
    found = report(monitor)
    assert of_kind(found, "volume") == {"scored": 10.0}
    assert of_kind(found, "coverage") == {"label_coverage": 0.4}
    delays = of_kind(found, "delay")
    assert delays["p50"] == pytest.approx(2 * 3600, rel=0.02)
    assert delays["max"] == 4 * 3600
    assert found[0]["window"] == {"start": 0, "end": HOUR}


def test_windows_before_1970_are_measured_like_later_ones() -> None:
    def found(start: int) -> list[dict[str, Any]]:
        monitor = WindowMonitor(DECLARED)
        for minute in range(10):
            monitor.scored("s", scored(start + minute * 60_000))
        monitor.example("x", example(start, delay=HOUR))
        monitor = WindowMonitor.from_state(DECLARED, orjson.loads(orjson.dumps(monitor.to_state())))
        assert report(monitor, "s", "x", "silent") == []
        for _ in range(2):
            monitor.scored("s", scored(start + 13 * HOUR))
        return report(monitor)

    before, after = found(-50 * HOUR), found(50 * HOUR)
    assert [one["value"] for one in before] == [one["value"] for one in after]
    assert before[0]["window"] == {"start": -50 * HOUR, "end": -49 * HOUR}
    assert of_kind(before, "volume") == {"scored": 10.0}


def test_a_window_without_any_label_is_reported_too() -> None:
    monitor = WindowMonitor(DECLARED)
    monitor.scored("s", scored(0))
    monitor.scored("s", scored(20 * HOUR))
    # A single time far ahead closes nothing.
    assert report(monitor) == []
    monitor.scored("s", scored(20 * HOUR))
    found = report(monitor)
    assert of_kind(found, "coverage") == {"label_coverage": 0.0}
    assert of_kind(found, "delay") == {}


def test_an_input_that_lags_holds_every_window_open_unless_it_is_inactive() -> None:
    monitor = WindowMonitor(DECLARED)
    monitor.scored("s0", scored(0))
    for _ in range(2):
        monitor.scored("s0", scored(20 * HOUR))
    monitor.scored("s1", scored(HOUR))
    assert report(monitor, "s0", "s1") == []
    assert report(monitor, "s0", "never heard of") == []
    assert of_kind(report(monitor, "s0"), "volume") == {"scored": 1.0}


def test_a_record_of_a_closed_window_is_counted_as_late() -> None:
    monitor = WindowMonitor(DECLARED)
    for _ in range(2):
        monitor.scored("s", scored(40 * HOUR))
    monitor.close([])
    monitor.scored("s", scored(0))
    monitor.example("x", example(0, HOUR))
    assert monitor.late == 2
    assert report(monitor) == []


def drifting(monitor: WindowMonitor, hours: int, again: bool = False) -> list[dict[str, Any]]:
    """Return the measurements of hours whose second half has other scores and countries."""
    chance, found = random.Random(1), []
    for hour in range(hours):
        for i in range(600):
            late = hour >= hours // 2
            features = {
                "amount": chance.gauss(0, 1),
                "country": chance.choice("abc" if late else "ab"),
            }
            monitor.scored(
                "s",
                scored(hour * HOUR + i * 5000, chance.betavariate(4 if late else 2, 2), features),
            )
        found += report(monitor)
        if again:
            monitor = WindowMonitor.from_state(
                DECLARED, orjson.loads(orjson.dumps(monitor.to_state()))
            )
    return found


def test_drift_is_found_only_in_the_variables_that_shift() -> None:
    found = [
        one
        for one in drifting(WindowMonitor(DECLARED), 12)
        if one["kind"] == "drift" and one["reference"] == "fixed"
    ]
    breached = {(one["name"], one["window"]["start"] // HOUR) for one in found if one["breached"]}
    late = range(6, 11)
    assert breached >= {(name, hour) for name in ("score", "features.country") for hour in late}
    # One false alarm in about thirty comparisons at 1 % is likely.
    assert len(breached) <= 2 * len(late) + 1
    assert {one["model_version"] for one in found} == {
        one["window"]["start"] // HOUR for one in found
    }


def test_a_restored_monitor_continues_with_the_same_results() -> None:
    assert drifting(WindowMonitor(DECLARED), 8, again=True) == drifting(WindowMonitor(DECLARED), 8)


def test_the_state_stays_small() -> None:
    monitor = WindowMonitor(DECLARED)
    drifting(monitor, 12)
    assert len(orjson.dumps(monitor.to_state())) < 10_000


def test_windows_of_another_length_are_forgotten() -> None:
    monitor = WindowMonitor(DECLARED)
    drifting(monitor, 4)
    changed = WindowMonitor.from_state(pipeline(window=timedelta(hours=2)), monitor.to_state())
    changed.scored("s", scored(60 * HOUR))
    assert report(changed) == []


def test_quantiles_of_delays_are_within_two_percent() -> None:
    chance, delays = random.Random(2), DelayQuantiles()
    values = sorted(int(chance.lognormvariate(15, 1.5)) for _ in range(5000))
    for value in values:
        delays.add(value)
    again = DelayQuantiles.from_state(orjson.loads(orjson.dumps(delays.to_state())))
    for share in (0.0, 0.5, 0.95, 1.0):
        assert again.quantile(share) == pytest.approx(values[round(share * 4999)], rel=0.021)
    assert (again.n, again.largest) == (5000, values[-1])


def test_a_delay_of_zero_counts_as_a_millisecond() -> None:
    delays = DelayQuantiles()
    assert delays.quantile(0.5) == 0.0
    delays.add(0)
    assert delays.quantile(0.5) == pytest.approx(1.0, rel=0.03)
