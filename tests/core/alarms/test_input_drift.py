"""Drift of inputs: distances by hand, culprits, missing and unseen values, false reports."""

import random
from math import log

import pytest

from benchmarks.simulated_labels import HOUR_MS, START
from stream_app.core.alarms.input_drift import (
    InputDriftDetector,
    InputDriftFinding,
)
from stream_app.core.alarms.rank_bets import MIN_PAST, RankBets
from stream_app.core.monitoring.distribution_monitor import InputCounts
from tests.core.alarms.streams import through_json

# Ten a year.
LIMIT = 876.0
# Windows without drift, until the dispersion of the days is known.
USUAL = 720
SHARES = (0.1, 0.2, 0.3, 0.25, 0.15)


def counted(rng: random.Random, n: int, shares: tuple[float, ...] = SHARES) -> list[int]:
    found = [0] * len(shares)
    for index in rng.choices(range(len(shares)), shares, k=n):
        found[index] += 1
    return found


def window(rng: random.Random, shares: tuple[float, ...] = SHARES, missing: int = 0) -> InputCounts:
    return InputCounts(counted(rng, 60 - missing, shares), missing, 0)


def run(
    detector: InputDriftDetector, windows: list[dict[str, InputCounts]]
) -> list[InputDriftFinding]:
    starts = [START + number * HOUR_MS for number in range(len(windows))]
    found = [
        detector.add(start, start + HOUR_MS, counts)
        for start, counts in zip(starts, windows, strict=True)
    ]
    return [one for one in found if one is not None]


def test_distances_are_ranked_as_the_formulas_say() -> None:
    bets = RankBets(1.0)
    bets.add(START, [30, 10])
    bets.add(START + HOUR_MS, [20, 20])
    past = bets.state()[1]
    # Reference 30, 10 with half a count in each bin.
    shares = [30.5 / 41, 10.5 / 41]
    distance = 2 * sum(20 * log(0.5 / share) for share in shares)
    assert past == [pytest.approx(distance, abs=1e-4)]
    decay = 2.0 ** (-1 / 10)
    assert bets.state()[2] == [30 * decay + 20, 10 * decay + 20]
    # A window with few records is ignored, and one with everything in the usual bin has distance 0.
    bets.add(START + 2 * HOUR_MS, [10, 9])
    assert bets.state()[1] == past


def test_a_constant_share_has_distance_zero() -> None:
    bets = RankBets(1.0)
    for number in range(MIN_PAST + 400):
        bets.add(START + number * HOUR_MS, [0, 20 + number % 30])
    assert set(bets.state()[1]) == {0.0}
    assert bets.may_bet
    assert bets.evidence < 1.0


def test_a_renamed_category_is_found_and_shown_then_and_now() -> None:
    rng = random.Random(51)
    usual = [{"a": window(rng), "b": window(rng)} for _ in range(USUAL)]
    swapped = (0.3, 0.2, 0.1, 0.25, 0.15)
    drifted = [{"a": window(rng, swapped), "b": window(rng)} for _ in range(48)]
    detector = InputDriftDetector(LIMIT, ["a", "b"])
    assert run(detector, usual) == []
    detector = InputDriftDetector(LIMIT, ["a", "b"])
    first = run(detector, usual + drifted)[0]
    beginning = START + USUAL * HOUR_MS
    assert beginning < first.alarm.time <= beginning + 24 * HOUR_MS
    assert abs(first.alarm.since - beginning) <= 4 * HOUR_MS
    culprit = first.culprits[0]
    assert culprit.name == first.alarm.name == "a"
    assert culprit.then == pytest.approx(SHARES, abs=0.08)
    assert culprit.now == pytest.approx(swapped, abs=0.12)


def test_values_that_go_missing_are_a_culprit_of_their_own() -> None:
    rng = random.Random(52)
    windows = [{"a": window(rng), "b": window(rng)} for _ in range(USUAL)]
    windows += [{"a": window(rng), "b": window(rng, missing=20)} for _ in range(24)]
    first = run(InputDriftDetector(LIMIT, ["a", "b"]), windows)[0]
    assert first.culprits[0].name == "b missing"
    assert first.culprits[0].then == pytest.approx([0.0, 1.0], abs=0.02)
    assert first.culprits[0].now == pytest.approx([1 / 3, 2 / 3], abs=0.1)


def test_unseen_values_are_a_culprit_of_their_own() -> None:
    rng = random.Random(53)
    windows = [{"a": window(rng)} for _ in range(USUAL)]
    windows += [{"a": window(rng)._replace(unseen=15)} for _ in range(24)]
    first = run(InputDriftDetector(LIMIT, ["a"]), windows)[0]
    assert first.culprits[0].name == "a unseen"


def test_it_waits_until_it_has_seen_enough() -> None:
    rng = random.Random(54)
    detector = InputDriftDetector(LIMIT, ["a", "b"])
    run(detector, [{"a": window(rng)} for _ in range(MIN_PAST + 1)])
    assert detector.waiting == ["b", "b missing", "b unseen"]


def test_a_year_of_equal_windows_raises_no_more_than_what_was_asked_for() -> None:
    """The seed was written down before the first run; ten reports a year were asked for."""
    rng = random.Random(2301)
    names = ["a", "b", "c"]
    windows = [{name: window(rng) for name in names} for _ in range(365 * 24 // 2)]
    assert len(run(InputDriftDetector(LIMIT, names), windows)) <= 10


def test_it_continues_bit_for_bit_from_its_state() -> None:
    rng = random.Random(56)
    shares = [SHARES, (0.3, 0.2, 0.1, 0.25, 0.15)]
    windows = [
        {"a": window(rng, shares[number // 150 % 2], missing=number % 3)} for number in range(700)
    ]
    whole = InputDriftDetector(50.0, ["a"])
    found = run(whole, windows)
    assert found
    restarted, again = InputDriftDetector(50.0, ["a"]), []
    for number, counts in enumerate(windows):
        start = START + number * HOUR_MS
        report = restarted.add(start, start + HOUR_MS, counts)
        again += [] if report is None else [report]
        if number % 97 == 0:
            other = InputDriftDetector(50.0, ["a"])
            other.restore(through_json(restarted.state()))
            restarted = other
    assert again == found
    assert restarted.state() == whole.state()


def test_a_feature_that_is_not_monitored_any_more_is_forgotten() -> None:
    rng = random.Random(57)
    before = InputDriftDetector(LIMIT, ["a", "b"])
    run(before, [{"a": window(rng), "b": window(rng)} for _ in range(150)])
    after = InputDriftDetector(LIMIT, ["b", "c"])
    after.restore(through_json(before.state()))
    assert after.waiting == ["c", "c missing", "c unseen"]
