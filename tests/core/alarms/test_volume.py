"""Volume and coverage: bets by hand, rhythms of the week, clock changes, holidays, restarts."""

import random
from collections.abc import Callable
from datetime import date
from math import exp, log
from zoneinfo import ZoneInfoNotFoundError

import pytest

from benchmarks.simulated_labels import HOUR_MS, START
from stream_app.core.alarms.count_bets import MULTIPLES, CountBets
from stream_app.core.alarms.coverage import CoverageDetector
from stream_app.core.alarms.evidence import AlarmFinding
from stream_app.core.alarms.volume import UsualCounts, VolumeDetector
from stream_app.core.alarms.week_hours import WeekHours
from tests.core.alarms.streams import through_json

UTC = WeekHours()
NEW_YORK = WeekHours("America/New_York")
ONE_A_YEAR = 365.0
WEEK = 168
# 2024-03-10, when the clocks of New York are put forward, is the tenth Sunday.
TEN_WEEKS = 10 * WEEK


def usual(hours: WeekHours, hour: int) -> float:
    """Returns the mean of an hour: by day 100, by night 5, at weekends half."""
    index = hours.index(START + hour * HOUR_MS)
    return (100 if 6 <= index % 24 < 22 else 5) * (0.5 if index >= 120 else 1.0)


def volumes(weeks: int, seed: int, factor: Callable[[int], float] = lambda hour: 1.0) -> list[int]:
    rng = random.Random(seed)
    return [
        round(max(rng.gauss(1.0, 0.12), 0.0) * usual(NEW_YORK, hour) * factor(hour))
        for hour in range(weeks * WEEK)
    ]


def run(detector: VolumeDetector, counts: list[int]) -> list[AlarmFinding]:
    found = [detector.add(START + hour * HOUR_MS, count) for hour, count in enumerate(counts)]
    return [one for one in found if one is not None]


def test_a_bet_on_a_count_is_that_of_the_formula() -> None:
    bets = CountBets(limit=1e9, tolerance=0.25, cap=100.0)
    bets.start_day(0)
    bets.add(START, 80.0, 100.0)
    expected = []
    for multiple in MULTIPLES:
        bound = 0.75 if multiple < 1 else 1.25
        gain = 80 * log(multiple / bound) - 100 * (multiple - bound)
        expected.append(exp(0.25 * gain) / 4)
    assert [one[0] for one in bets.state()[1]] == pytest.approx(expected)


def test_no_count_overflows() -> None:
    bets = CountBets(limit=1e9, tolerance=0.25, cap=100.0)
    bets.start_day(0)
    bets.add(START, 1e12, 1.0)
    bets.add(START, 0.0, 1e12)
    bets.add(START, 1e12, 1.0)
    assert all(0.0 <= one[0] < 1e251 for one in bets.state()[1])


def test_the_usual_count_is_a_decayed_mean_of_the_hour_of_the_week() -> None:
    counts = UsualCounts()
    for count in (30.0, 60.0):
        assert counts.mean(8) is None
        counts.learn(8, count)
    assert counts.mean(8) == pytest.approx((30 * 2 ** (-1 / 3) + 60) / (2 ** (-1 / 3) + 1))
    assert counts.mean(9) is None


def test_a_quarter_with_a_change_of_the_clocks_raises_nothing() -> None:
    assert run(VolumeDetector(ONE_A_YEAR, NEW_YORK), volumes(13, seed=2401)) == []


@pytest.mark.parametrize(
    ("factor", "within"), [(0.0, 24), (0.5, 72), (2.0, 72)], ids=["all gone", "half", "twice"]
)
def test_changes_of_the_volume_are_found(factor: float, within: int) -> None:
    # From Tuesday morning of the eleventh week on.
    since = TEN_WEEKS + 24 + 12
    counts = volumes(12, 2402, lambda hour: factor if hour >= since else 1.0)
    first = run(VolumeDetector(ONE_A_YEAR, NEW_YORK, "till 7"), counts)[0]
    beginning = START + since * HOUR_MS
    assert beginning < first.time <= beginning + within * HOUR_MS
    assert first.name == "till 7"
    assert (first.alternative < 1) == (factor < 1)


def test_on_a_holiday_nothing_is_expected_and_nothing_learned() -> None:
    holiday = date(2024, 3, 13)
    # In New York it begins at 4:00 UTC.
    first = TEN_WEEKS + 2 * 24 + 4
    counts = volumes(11, 2403, lambda hour: 0.0 if first <= hour < first + 24 else 1.0)
    assert len(run(VolumeDetector(ONE_A_YEAR, NEW_YORK), counts)) >= 1
    declared = VolumeDetector(ONE_A_YEAR, WeekHours("America/New_York", [holiday]))
    assert run(declared, counts) == []


def test_hours_without_expectation_are_no_evidence() -> None:
    detector = VolumeDetector(2.0, UTC)
    assert run(detector, [0] * 50 * WEEK) == []
    few = CoverageDetector(2.0, UTC)
    assert [few.add(START + hour * HOUR_MS, 50, 0) for hour in range(999)] == [None] * 999


def test_an_unknown_zone_is_an_error() -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        WeekHours("America/Old_York")


def test_hours_are_those_of_the_zone() -> None:
    assert UTC.index(START) == 0
    assert NEW_YORK.index(START) == 6 * 24 + 19
    assert WeekHours("Asia/Kolkata").index(START) == 5


def test_volume_continues_bit_for_bit_from_its_state() -> None:
    counts = volumes(8, 2404, lambda hour: 0.3 if hour % 500 > 400 else 1.0)
    whole, restarted = VolumeDetector(30.0, NEW_YORK), VolumeDetector(30.0, NEW_YORK)
    assert run(whole, counts)
    for hour, count in enumerate(counts):
        restarted.add(START + hour * HOUR_MS, count)
        if hour % 31 == 0:
            other = VolumeDetector(30.0, NEW_YORK)
            other.restore(through_json(restarted.state()))
            restarted = other
    assert restarted.state() == whole.state()


def coverage(detector: CoverageDetector, shares: list[float], seed: int) -> list[AlarmFinding]:
    rng = random.Random(seed)
    found = []
    for hour, share in enumerate(shares):
        n = round(usual(NEW_YORK, hour))
        labelled = sum(rng.random() < share for _ in range(n))
        found.append(detector.add(START + hour * HOUR_MS, n, labelled))
    return [one for one in found if one is not None]


def test_labels_that_stay_away_are_found() -> None:
    shares = [0.9] * (4 * WEEK + 36) + [0.0] * 48
    assert coverage(CoverageDetector(ONE_A_YEAR, NEW_YORK), [0.9] * 12 * WEEK, 2501) == []
    first = coverage(CoverageDetector(ONE_A_YEAR, NEW_YORK, "landings"), shares, 2502)[0]
    beginning = START + (4 * WEEK + 36) * HOUR_MS
    assert beginning < first.time <= beginning + 24 * HOUR_MS
    assert first.name == "landings"
    assert first.alternative in (0.5, 0.1)


def test_a_share_that_is_always_small_is_not_bet_on() -> None:
    shares = [0.001] * 4 * WEEK + [0.0] * 4 * WEEK
    assert coverage(CoverageDetector(ONE_A_YEAR, UTC), shares, 2503) == []


def test_coverage_continues_bit_for_bit_from_its_state() -> None:
    whole, restarted = CoverageDetector(30.0, UTC), CoverageDetector(30.0, UTC)
    rng = random.Random(2504)
    for hour in range(6 * WEEK):
        n = rng.randrange(80)
        labelled = sum(rng.random() < (0.2 if hour % 400 > 300 else 0.9) for _ in range(n))
        found = [one.add(START + hour * HOUR_MS, n, labelled) for one in (whole, restarted)]
        assert found[0] == found[1]
        if hour % 41 == 0:
            other = CoverageDetector(30.0, UTC)
            other.restore(through_json(restarted.state()))
            restarted = other
    assert restarted.state() == whole.state()
