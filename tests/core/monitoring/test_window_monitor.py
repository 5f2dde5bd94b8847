"""Window monitor: lengths of windows, volume, drift, coverage and delay of labels."""

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import orjson
import pytest

from stream_app.core.examples import Example
from stream_app.core.monitoring.delay_quantiles import DelayQuantiles
from stream_app.core.monitoring.log_alignment import DAY_MS, STEP_MS
from stream_app.core.monitoring.window_lengths import (
    LENGTHS_MS,
    WindowLengths,
    choose_length,
)
from stream_app.core.monitoring.window_monitor import WindowDistributions, WindowMonitor
from stream_app.core.published_records import ScoredRecord
from stream_app.core.reading.event_time import NEVER
from tests.learning import FINGERPRINT, HOUR, measurements, pipeline

# Labels have a horizon and an allowed lateness of 12 hours each.
DECLARED = pipeline()
QUARTER, SIX_HOURS = LENGTHS_MS[0], LENGTHS_MS[2]


def scored(
    time: int, score: float = 0.5, features: Mapping[str, Any] | None = None, version: int = 1
) -> ScoredRecord:
    model = {"name": "p", "version": version}
    return cast(
        ScoredRecord,
        {
            "event_id": f"e{time}",
            "event_time": time,
            "score": score,
            "model": model,
            "features": features,
        },
    )


def example(event_time: int, delay: int, assumed: bool = False) -> Example:
    return Example("e", event_time, event_time + delay, True, 0.5, 0, {}, FINGERPRINT, assumed)


class MonitoredStream:
    """Monitor of one partition whose events come in order.

    Args:
        start: time of the first event, a midnight.
        again: True to store and restore the state at every seventh step.
    """

    def __init__(self, start: int = 0, again: bool = False) -> None:
        self.monitor = WindowMonitor(DECLARED)
        self.time = start
        self.again = again
        self.found: list[dict[str, Any]] = []
        self.parts: list[WindowDistributions] = []
        self._chance = random.Random(1)
        self.amount = 0.0

    def run(self, until: int, per_step: int = 30, version: int = 1) -> None:
        """Let steps pass, with records in each."""
        while self.time < until:
            for number in range(per_step):
                time = self.time + number * (STEP_MS // per_step)
                features = {"amount": self._chance.gauss(self.amount, 1)}
                record = scored(time, self._chance.random(), features, version)
                self.monitor.scored(record, b"k", self.time)
            self.time += STEP_MS
            self.pass_time(self.time)

    def pass_time(self, time: int) -> None:
        for outputs in (self.monitor.pass_events(time), self.monitor.pass_clock(time)):
            self.found += measurements(outputs)
        self.parts += self.monitor.closed
        if self.again and time // STEP_MS % 7 == 0:
            state = orjson.loads(orjson.dumps(self.monitor.to_state()))
            self.monitor = WindowMonitor.from_state(DECLARED, state)

    def of_kind(self, kind: str, name: str, reference: str | None = None) -> dict[int, float]:
        """Return values by start of the window."""
        return {
            one["window"]["start"]: one["value"]
            for one in self.found
            if (one["kind"], one["name"], one["reference"]) == (kind, name, reference)
        }


@pytest.mark.parametrize(
    ("per_step", "length"), [(100, QUARTER), (30, HOUR), (99, HOUR), (5, SIX_HOURS), (2, DAY_MS)]
)
def test_windows_are_as_short_as_their_records_allow(per_step: int, length: int) -> None:
    counts = dict.fromkeys(range(0, 11 * DAY_MS, STEP_MS), per_step)
    assert choose_length(counts, 0, 11 * DAY_MS) == length


def test_one_window_in_ten_may_have_few_records() -> None:
    counts = dict.fromkeys(range(0, 2 * DAY_MS, STEP_MS), 100)
    steps = list(counts)
    for step in steps[: len(steps) // 10]:
        counts[step] = 99
    assert choose_length(counts, 0, 2 * DAY_MS) == QUARTER
    counts[steps[-1]] = 0
    assert choose_length(counts, 0, 2 * DAY_MS) == HOUR


def test_quiet_nights_make_windows_longer() -> None:
    counts = {
        step: 0 if step % DAY_MS < SIX_HOURS else 100 for step in range(0, 10 * DAY_MS, STEP_MS)
    }
    assert choose_length(counts, 0, 9 * DAY_MS) is None
    assert choose_length(counts, 0, 10 * DAY_MS) == DAY_MS


def test_a_length_needs_a_day_and_ten_windows() -> None:
    counts = dict.fromkeys(range(0, 4 * DAY_MS, STEP_MS), 30)
    assert choose_length(counts, 0, DAY_MS - STEP_MS) is None
    assert choose_length(counts, 0, DAY_MS) == HOUR
    counts = dict.fromkeys(range(0, 4 * DAY_MS, STEP_MS), 5)
    assert choose_length(counts, STEP_MS, 2 * DAY_MS + SIX_HOURS) is None
    assert choose_length(counts, STEP_MS, 2 * DAY_MS + 3 * SIX_HOURS) == SIX_HOURS


def test_windows_are_reported_once_their_length_is_known() -> None:
    stream = MonitoredStream()
    stream.run(3 * DAY_MS - STEP_MS)
    assert stream.found == []
    stream.run(3 * DAY_MS)
    assert stream.monitor.lengths.changes == [(4 * DAY_MS, HOUR)]
    # Late records of the last day may still be read by the rule before the choice.
    assert max(stream.of_kind("volume", "scored")) == 2 * DAY_MS - HOUR
    stream.run(5 * DAY_MS)
    volumes = stream.of_kind("volume", "scored")
    assert volumes == dict.fromkeys(range(0, 5 * DAY_MS - HOUR, HOUR), 120.0)


def test_labels_are_counted_when_their_predictions_have_closed() -> None:
    stream = MonitoredStream()
    stream.run(4 * DAY_MS)
    start = stream.time
    stream.run(start + HOUR)
    for minute in range(30):
        stream.monitor.example(example(start + minute * 60_000, (minute + 1) * HOUR // 5))
        stream.monitor.example(example(start + minute * 60_000, HOUR, assumed=True))
    stream.run(start + HOUR + DAY_MS - STEP_MS)
    assert start not in stream.of_kind("coverage", "label_coverage")
    stream.run(start + HOUR + DAY_MS)
    assert stream.of_kind("coverage", "label_coverage")[start] == 0.25
    assert stream.of_kind("delay", "max")[start] == 6 * 3600
    assert stream.of_kind("delay", "p50")[start] == pytest.approx(3 * 3600, rel=0.05)
    # A window without any label is reported too.
    assert stream.of_kind("coverage", "label_coverage")[start - HOUR] == 0.0
    assert start - HOUR not in stream.of_kind("delay", "max")
    before = stream.monitor.late
    stream.monitor.example(example(start, HOUR))
    assert stream.monitor.late == before + 1


def test_a_record_is_late_if_the_watermark_of_its_own_partition_has_passed_its_window() -> None:
    stream = MonitoredStream()
    stream.run(4 * DAY_MS)
    start, monitor = stream.time, stream.monitor
    stream.run(start + STEP_MS, per_step=100)
    closing = start + HOUR + HOUR // 4
    monitor.scored(scored(start), b"k", closing - STEP_MS)
    monitor.scored(scored(start), b"k", closing)
    monitor.scored(scored(start), b"k", NEVER)
    assert monitor.late == 1
    stream.run(closing)
    assert stream.of_kind("volume", "scored")[start] == 100 + 3 * 30 + 2
    stream.run(start + 2 * DAY_MS)
    assert stream.of_kind("volume", "late") == {start: 1.0}


def test_a_window_counts_the_records_of_each_model_version() -> None:
    stream = MonitoredStream()
    stream.run(4 * DAY_MS)
    start = stream.time
    stream.run(start + HOUR // 4, version=1)
    stream.run(start + HOUR, version=2)
    stream.run(start + 2 * HOUR, version=2)
    found = [
        (one["reference"], one["model_version"], one["n"])
        for one in stream.found
        if (one["name"], one["window"]["start"]) == ("scored", start)
    ]
    assert found == [(None, 2, 120), ("version", 2, 90), ("version", 1, 30)]


def test_windows_before_1970_are_measured_like_later_ones() -> None:
    def found(start: int) -> list[tuple[int, str, float]]:
        stream = MonitoredStream(start, again=True)
        stream.run(start + 5 * DAY_MS)
        # The reference sample depends on the ids.
        return [
            (one["window"]["start"] - start, one["name"], one["value"])
            for one in stream.found
            if one["kind"] != "drift"
        ]

    assert found(-50 * DAY_MS) == found(50 * DAY_MS)


def drifting(again: bool = False) -> MonitoredStream:
    stream = MonitoredStream(again=again)
    stream.run(5 * DAY_MS)
    stream.amount = 1.0
    stream.run(6 * DAY_MS)
    return stream


def test_drift_is_a_statistic_of_the_variables_that_shift() -> None:
    stream = drifting()
    amount = stream.of_kind("drift", "features.amount", "fixed")
    score = stream.of_kind("drift", "score", "fixed")
    assert list(amount) == list(score) == list(range(4 * DAY_MS, 6 * DAY_MS - HOUR, HOUR))
    shifted = [value for start, value in amount.items() if start >= 5 * DAY_MS]
    others = [value for start, value in amount.items() if start < 5 * DAY_MS] + list(score.values())
    assert min(shifted) > 0.4 > max(others)
    assert {(one["threshold"], one["breached"]) for one in stream.found} == {(None, False)}


def test_a_restored_monitor_continues_with_the_same_results() -> None:
    assert drifting(again=True).found == drifting().found


def test_times_may_be_passed_many_at_once() -> None:
    stream, jumping = MonitoredStream(), MonitoredStream()
    stream.run(12 * DAY_MS, per_step=2)
    while jumping.time < 12 * DAY_MS:
        for number in range(2):
            time = jumping.time + number * (STEP_MS // 2)
            features = {"amount": jumping._chance.gauss(0, 1)}
            record = scored(time, jumping._chance.random(), features)
            jumping.monitor.scored(record, b"k", jumping.time)
        jumping.time += STEP_MS
        if jumping.time == STEP_MS or jumping.time % (DAY_MS // 2 + STEP_MS) == 0:
            jumping.pass_time(jumping.time)
    jumping.pass_time(jumping.time)
    assert jumping.found == stream.found
    assert stream.found


@pytest.mark.parametrize("per_step", [7, 2])
@pytest.mark.parametrize("again", [False, True])
def test_distributions_are_looked_at_hour_by_hour_in_longer_windows(
    per_step: int, again: bool
) -> None:
    stream = MonitoredStream(again=again)
    stream.run(20 * DAY_MS, per_step)
    first, *_, last = (one.start for one in stream.parts)
    assert [one.start for one in stream.parts] == list(range(first, last + 1, HOUR))
    assert last == 20 * DAY_MS - 2 * HOUR
    for one in stream.parts:
        assert one.end - one.start == HOUR
        assert {sum(counts.values) for counts in one.inputs.values()} == {4 * per_step}
    drift = [one["n"] for one in stream.found if one["kind"] == "drift"]
    assert set(drift) == {per_step * (24 if per_step == 7 else 96)}


def test_scores_of_a_fallback_count_in_volumes_but_in_no_distribution() -> None:
    stream = MonitoredStream()
    stream.run(4 * DAY_MS, per_step=30)
    start = stream.time
    record = {**scored(start + 1, 9.9, {"amount": 99.0}), "degraded": "rule"}
    stream.monitor.scored(cast(ScoredRecord, record), b"k", start)
    stream.run(5 * DAY_MS, per_step=30)
    assert stream.of_kind("volume", "scored")[start] == 121
    drift = [one for one in stream.found if one["kind"] == "drift"]
    assert {one["n"] for one in drift if one["window"]["start"] == start} == {120}


def test_a_record_that_is_late_for_its_hour_counts_in_its_window_only() -> None:
    def run(*, with_late: bool) -> MonitoredStream:
        stream = MonitoredStream()
        stream.run(18 * DAY_MS + 6 * HOUR, per_step=2)
        if with_late:
            late = scored(18 * DAY_MS + 7, 0.5, {"amount": 0.0})
            stream.monitor.scored(late, b"k", 18 * DAY_MS + 5 * HOUR)
        stream.run(20 * DAY_MS, per_step=2)
        return stream

    usual, late = run(with_late=False), run(with_late=True)
    assert late.parts == usual.parts
    counts = [
        {one["window"]["start"]: one["n"] for one in stream.found if one["kind"] == "drift"}
        for stream in (usual, late)
    ]
    assert counts[1] == {**counts[0], 18 * DAY_MS: counts[0][18 * DAY_MS] + 1}


def test_the_state_stays_small() -> None:
    assert len(orjson.dumps(drifting().monitor.to_state())) < 25_000


def test_a_length_that_changes_applies_to_later_windows() -> None:
    lengths = WindowLengths()
    lengths.change(3 * DAY_MS, HOUR)
    lengths.change(7 * DAY_MS, SIX_HOURS)
    assert lengths.window_of(0) == (0, HOUR)
    assert lengths.window_of(7 * DAY_MS - 1) == (7 * DAY_MS - HOUR, HOUR)
    assert lengths.window_of(7 * DAY_MS + HOUR) == (7 * DAY_MS, SIX_HOURS)
    lengths.change(5 * DAY_MS, QUARTER)
    assert lengths.changes == [(3 * DAY_MS, HOUR), (5 * DAY_MS, QUARTER)]


def test_a_command_gives_windows_from_the_second_midnight_on_another_length() -> None:
    stream = MonitoredStream()
    stream.run(4 * DAY_MS + HOUR)
    stream.monitor.change_window(stream.time, SIX_HOURS)
    stream.monitor.change_window(stream.time, 7)
    stream.run(8 * DAY_MS)
    change = 6 * DAY_MS
    volumes = stream.of_kind("volume", "scored")
    assert [start for start in volumes if start >= change - 2 * HOUR] == [
        change - 2 * HOUR,
        change - HOUR,
        *range(change, 8 * DAY_MS - SIX_HOURS, SIX_HOURS),
    ]
    assert volumes[change] == 6 * volumes[change - HOUR] == 720
    drift = stream.of_kind("drift", "score", "trailing")
    # Windows of different lengths are not compared with each other.
    assert change - HOUR in drift
    assert change not in drift
    assert change + SIX_HOURS in drift


def test_a_command_before_any_record_sets_the_length() -> None:
    stream = MonitoredStream()
    stream.monitor.change_window(NEVER, SIX_HOURS)
    stream.run(DAY_MS)
    assert list(stream.of_kind("volume", "scored")) == [0, SIX_HOURS, 2 * SIX_HOURS]


def test_a_window_closes_by_the_rule_before_the_choice_until_its_length_applies() -> None:
    lengths = WindowLengths()
    assert lengths.closing_time(DAY_MS, STEP_MS) == 2 * DAY_MS + SIX_HOURS
    lengths.change(3 * DAY_MS, HOUR)
    assert lengths.closing_time(DAY_MS, HOUR) == 2 * DAY_MS + SIX_HOURS
    assert lengths.closing_time(2 * DAY_MS, HOUR) == 3 * DAY_MS
    assert lengths.closing_time(3 * DAY_MS, HOUR) == 3 * DAY_MS + HOUR + HOUR // 4


@pytest.mark.parametrize(
    "changed",
    [
        {"event_time": "x"},
        {"event_time": 1.5},
        {"event_id": 7},
        {"model": {}},
        {"model": {"version": "1"}},
        {"features": [1]},
        {"score": None},
    ],
)
def test_a_record_that_is_no_scored_record_changes_nothing(changed: dict[str, Any]) -> None:
    monitor = WindowMonitor(DECLARED)
    before = orjson.dumps(monitor.to_state())
    record = cast(ScoredRecord, {**scored(0), **changed})
    if "score" in changed:
        del record["score"]  # type: ignore[misc]
    with pytest.raises((TypeError, KeyError, ValueError)):
        monitor.scored(record, b"k", 0)
    assert orjson.dumps(monitor.to_state()) == before


def test_quantiles_of_delays_are_within_two_percent() -> None:
    chance, delays = random.Random(2), DelayQuantiles()
    values = sorted(int(chance.lognormvariate(15, 1.5)) for _ in range(5000))
    for value in values:
        delays.add(value)
    again = DelayQuantiles.from_state(orjson.loads(orjson.dumps(delays.to_state())))
    for share in (0.0, 0.5, 0.95, 1.0):
        assert again.quantile(share) == pytest.approx(values[round(share * 4999)], rel=0.021)
    assert (again.n, again.largest) == (5000, values[-1])


def test_parts_of_delays_added_together_are_all_of_them() -> None:
    whole, parts = DelayQuantiles(), [DelayQuantiles(exact=5), DelayQuantiles()]
    for number in range(1, 100):
        whole.add(number * 1000)
        parts[number % 2].add(number * 1000)
    parts[0].merge(parts[1])
    assert parts[0].to_state() == whole.to_state()
    assert parts[0].summary() == whole.summary()


def test_a_delay_of_zero_counts_as_a_millisecond() -> None:
    delays = DelayQuantiles()
    assert delays.quantile(0.5) == 0.0
    delays.add(0)
    assert delays.quantile(0.5) == pytest.approx(1.0, rel=0.03)


def test_the_horizon_is_that_of_the_declaration() -> None:
    assert DECLARED.label.horizon + DECLARED.label.allowed_lateness == timedelta(days=1)
