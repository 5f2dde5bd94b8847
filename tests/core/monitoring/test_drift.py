"""Drift: calibrated population stability index, distribution monitor, and ADWIN on errors."""

import random
from collections.abc import Callable

import orjson
import pytest
from scipy import stats

from stream_app.core.monitoring.distribution_monitor import (
    MISSING,
    REFERENCE_MAX,
    Bins,
    DistributionMonitor,
    DriftFinding,
    ReferenceSample,
)
from stream_app.core.monitoring.drift import ErrorAlarm, ErrorRise, stability

Draw = Callable[[random.Random], object]


def sample_of(values: list[float] | list[str] | list[bool], limit: int = 10_000) -> ReferenceSample:
    sample = ReferenceSample(limit)
    for value in values:
        sample.add(value)
    return sample


def counted(bins: Bins, values: list[float]) -> list[int]:
    counts = [0] * len(bins.counts)
    for value in values:
        counts[bins.index(value)] += 1
    return counts


def test_stability_index_by_hand() -> None:
    found = stability([30, 70], [50, 50], 0.01)
    p, q = 30.5 / 101, 50.5 / 101
    assert found.value == pytest.approx((p - q) * (stats.logistic.ppf(p) - stats.logistic.ppf(q)))
    assert found.threshold == pytest.approx(stats.chi2.ppf(0.99, 1) * (1 / 100 + 1 / 100))
    assert found.breached


def test_the_index_of_equal_histograms_is_zero() -> None:
    assert stability([5, 0, 7], [50, 0, 70], 0.01).value == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    ("reference", "window"), [([0, 0], [3, 4]), ([3, 4], [0, 0]), ([5, 0], [9, 0])]
)
def test_an_empty_histogram_breaches_no_threshold(reference: list[int], window: list[int]) -> None:
    assert not stability(reference, window, 0.01).breached


def test_a_bin_that_is_empty_on_one_side_keeps_the_index_finite() -> None:
    assert 0 < stability([100, 0], [100, 20], 0.01).value < 10


@pytest.mark.parametrize("significance", [0.01, 0.1])
@pytest.mark.parametrize(("n", "m"), [(2000, 500), (1000, 3000)])
def test_false_alarms_are_as_frequent_as_declared(significance: float, n: int, m: int) -> None:
    chance, rounds, alarms = random.Random(n + m), 200, 0
    for _ in range(rounds):
        bins = Bins.of(sample_of([chance.gauss(0, 1) for _ in range(n)]), n)
        window = counted(bins, [chance.gauss(0, 1) for _ in range(m)])
        alarms += stability(bins.counts, window, significance).breached
    assert alarms <= stats.binom.ppf(0.9999, rounds, significance)
    assert alarms >= stats.binom.ppf(0.0001, rounds, significance)


def test_a_shift_of_a_fifth_of_a_deviation_is_an_alarm() -> None:
    chance = random.Random(5)
    bins = Bins.of(sample_of([chance.gauss(0, 1) for _ in range(2000)]), 2000)
    assert stability(
        bins.counts, counted(bins, [chance.gauss(0.2, 1) for _ in range(2000)]), 0.01
    ).breached


def test_numbers_get_the_deciles_as_bins() -> None:
    bins = Bins.of(sample_of([float(i) for i in range(100)]), 100)
    assert bins.edges == [9.0, 19.0, 29.0, 39.0, 49.0, 59.0, 69.0, 79.0, 89.0]
    assert bins.counts == [10] * 10 + [0]
    assert [bins.index(value) for value in (-5, 9.0, 9.5, 1000, MISSING, "odd")] == [
        0,
        0,
        1,
        9,
        10,
        10,
    ]


def test_numbers_of_few_values_get_fewer_bins() -> None:
    bins = Bins.of(sample_of([0.0] * 60 + [1.0] * 40), 100)
    assert bins.edges == [0.0, 1.0]
    assert bins.counts == [60, 40, 0, 0]


def test_categories_get_a_bin_each_and_the_rare_ones_share_one() -> None:
    values = [f"c{i:02}" for i in range(30) for _ in range(40 - i)]
    bins = Bins.of(sample_of(values), len(values) + 7)
    assert list(bins.categories)[:2] == ["c00", "c01"]
    assert len(bins.categories) == 20
    assert bins.counts[20:] == [sum(40 - i for i in range(20, 30)), 7]
    assert bins.index("never seen") == 20


def test_booleans_are_categories() -> None:
    assert Bins.of(sample_of([True, False, True]), 3).categories == {"true": 0, "false": 1}


def test_a_sample_is_thinned_evenly() -> None:
    sample = sample_of([float(i) for i in range(1000)], limit=100)
    assert sample.values == [float(i) for i in range(0, 1000, sample.stride)]
    assert len(sample.values) <= 100


def findings(
    draws: list[Draw], per_window: int = 1000, again: bool = False
) -> list[list[DriftFinding]]:
    """Return the findings per window; `again` stores and restores the state after each one."""
    chance, monitor, found = random.Random(3), DistributionMonitor(0.001), []
    for window, draw in enumerate(draws):
        for _ in range(per_window):
            value = draw(chance)
            monitor.add(window, {} if value is None else {"x": value})
        found.append(monitor.close(window))
        if again:
            monitor = DistributionMonitor.from_state(
                orjson.loads(orjson.dumps(monitor.to_state())), 0.001
            )
    return found


def normal(chance: random.Random) -> object:
    return chance.gauss(0, 1)


def shifted(chance: random.Random) -> object:
    return chance.gauss(1, 1)


def often_missing(chance: random.Random) -> object:
    return chance.gauss(0, 1) if chance.random() < 0.8 else None


def test_a_lasting_shift_breaches_the_fixed_reference_always_and_the_trailing_one_once() -> None:
    found = findings([normal, normal, normal, shifted, shifted])
    breached = [{f.reference: f.stability.breached for f in window} for window in found]
    assert breached == [
        {},
        {"fixed": False},
        {"fixed": False, "trailing": False},
        {"fixed": True, "trailing": True},
        {"fixed": True, "trailing": False},
    ]


def test_missing_values_are_a_drift() -> None:
    found = findings([normal, normal, often_missing])
    assert [f.stability.breached for f in found[2] if f.reference == "fixed"] == [True]


def test_a_restored_monitor_continues_with_the_same_findings() -> None:
    draws: list[Draw] = [normal, normal, often_missing, shifted]
    assert findings(draws, again=True) == findings(draws)


def test_a_reference_waits_until_there_is_enough_and_small_windows_are_not_compared() -> None:
    assert findings([normal] * 7, per_window=90) == [[]] * 7


def test_a_reference_sample_of_many_variables_stays_bounded() -> None:
    monitor = DistributionMonitor(0.01)
    for i in range(2 * REFERENCE_MAX):
        monitor.add(0, {f"v{j}": float(i) for j in range(50)})
    assert len(orjson.dumps(monitor.to_state())) < 300_000


def alarms(rates: list[float], quiet: int = 100, each: int = 2000) -> list[ErrorRise]:
    chance, alarm, found = random.Random(9), ErrorAlarm(0.002, quiet), []
    for i, rate in enumerate(rate for rate in rates for _ in range(each)):
        rise = alarm.update(chance.random() < rate, i)
        found += [rise] if rise else []
    return found


def test_a_rising_error_rate_opens_an_alarm_with_the_rates_before_and_after() -> None:
    (rise,) = alarms([0.1, 0.4], quiet=10_000)
    assert rise.before == pytest.approx(0.1, abs=0.05)
    assert rise.after > rise.before
    assert rise.n > 10


def test_a_falling_or_constant_error_rate_is_no_alarm() -> None:
    assert alarms([0.4, 0.1]) == []
    assert alarms([0.2, 0.2, 0.2]) == []


def test_within_the_quiet_time_there_is_one_alarm() -> None:
    assert len(alarms([0.05, 0.3, 0.6], quiet=10_000)) == 1
    assert len(alarms([0.05, 0.3, 0.6], quiet=500)) > 1
