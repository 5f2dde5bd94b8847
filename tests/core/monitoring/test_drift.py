"""Drift: population stability index, samples by hash, and the monitor of distributions."""

import random
from collections.abc import Callable
from statistics import mean

import orjson
import pytest
from scipy import stats

from stream_app.core.monitoring.distribution_monitor import (
    MISSING,
    Bins,
    DistributionMonitor,
    DriftFinding,
)
from stream_app.core.monitoring.drift import stability
from stream_app.core.monitoring.hashed_sample import (
    MAX_RECORDS,
    MAX_VALUES,
    HashedRecord,
    HashedSample,
    identity_hash,
)
from stream_app.core.monitoring.log_alignment import DAY_MS

Draw = Callable[[random.Random], object]


def counted(bins: Bins, values: list[float]) -> list[int]:
    counts = [0] * len(bins.counts)
    for value in values:
        counts[bins.index(value)] += 1
    return counts


def test_stability_index_by_hand() -> None:
    p, q = 30.5 / 101, 50.5 / 101
    assert stability([30, 70], [50, 50]) == pytest.approx(
        (p - q) * (stats.logistic.ppf(p) - stats.logistic.ppf(q))
    )


def test_the_index_of_equal_histograms_is_zero() -> None:
    assert stability([5, 0, 7], [50, 0, 70]) == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    ("reference", "window"), [([0, 0], [3, 4]), ([3, 4], [0, 0]), ([5, 0], [9, 0])]
)
def test_the_index_of_an_empty_histogram_is_zero(reference: list[int], window: list[int]) -> None:
    assert stability(reference, window) == 0.0


def test_a_bin_that_is_empty_on_one_side_keeps_the_index_finite() -> None:
    assert 0 < stability([100, 0], [100, 20]) < 10


@pytest.mark.parametrize(("n", "m"), [(2000, 500), (1000, 3000)])
def test_the_index_of_chance_alone_is_that_of_the_literature(n: int, m: int) -> None:
    chance, found = random.Random(n + m), []
    for _ in range(200):
        bins = Bins.of([chance.gauss(0, 1) for _ in range(n)])
        window = counted(bins, [chance.gauss(0, 1) for _ in range(m)])
        found.append(stability(bins.counts, window) / (1 / n + 1 / m))
    # Of ten bins: 9 degrees of freedom. The edges are quantiles, which takes some of the variance.
    assert 8 < mean(found) < 10


def test_numbers_get_the_deciles_as_bins() -> None:
    bins = Bins.of([float(i) for i in range(100)])
    assert bins.edges == [9.0, 19.0, 29.0, 39.0, 49.0, 59.0, 69.0, 79.0, 89.0]
    assert bins.counts == [10] * 10 + [0]
    found = [bins.index(value) for value in (-5, 9.0, 9.5, 1000, MISSING, "odd", True)]
    assert found == [0, 0, 1, 9, 10, 10, 10]


def test_numbers_of_few_values_get_fewer_bins() -> None:
    bins = Bins.of([0.0] * 60 + [1.0] * 40)
    assert bins.edges == [0.0, 1.0]
    assert bins.counts == [60, 40, 0, 0]


def test_categories_get_a_bin_each_and_the_rare_ones_share_one() -> None:
    values = [f"c{i:02}" for i in range(30) for _ in range(40 - i)]
    bins = Bins.of([*values, *[MISSING] * 7])
    assert list(bins.categories)[:2] == ["c00", "c01"]
    assert len(bins.categories) == 20
    assert bins.counts[20:] == [sum(40 - i for i in range(20, 30)), 7]
    assert bins.index("never seen") == 20


def test_booleans_are_categories() -> None:
    assert Bins.of([True, False, True]).categories == {"true": 0, "false": 1}


def test_values_that_are_no_features_are_categories_or_of_another_type() -> None:
    bins = Bins.of([1.0, 2, 3.5, None, [7], MISSING])
    assert (bins.edges[0], bins.edges[-1], bins.counts[-1]) == (1.0, 3.5, 3)
    assert Bins.of([None, [7], [7]]).categories == {"[7]": 0, "none": 1}


def sampled(numbers: range, variables: int = 1) -> list[HashedRecord]:
    return [
        HashedRecord(
            identity_hash(b"k", f"e{number}"), {f"v{one}": number for one in range(variables)}
        )
        for number in numbers
    ]


@pytest.mark.parametrize("variables", [1, 50])
def test_a_sample_does_not_depend_on_the_order_or_on_how_the_records_are_divided(
    variables: int,
) -> None:
    records, chance = sampled(range(5000), variables), random.Random(1)
    whole = HashedSample()
    for record in records:
        whole.add(record)
    chance.shuffle(records)
    parts = [HashedSample() for _ in range(3)]
    for record in records:
        chance.choice(parts).add(record)
    merged = HashedSample()
    for part in parts:
        merged.merge(HashedSample(part.records, part.seen))
    assert merged.records == whole.records
    assert merged.seen == whole.seen == 5000
    assert len(whole.records) == min(MAX_RECORDS, MAX_VALUES // variables)
    assert whole.records == sorted(records, key=lambda one: one.hash)[: len(whole.records)]


def test_the_hash_of_an_event_depends_on_its_key_too() -> None:
    assert len({identity_hash(key, "e1") for key in (None, b"a", b"b")}) == 3


def findings(
    draws: list[Draw], per_window: int = 1000, again: bool = False
) -> list[list[DriftFinding]]:
    """Return the findings per day; `again` stores and restores the state after each one."""
    chance, monitor, found = random.Random(3), DistributionMonitor(), []
    for day, draw in enumerate(draws):
        window = day * DAY_MS
        monitor.pass_midnight(window)
        for number in range(per_window):
            value = draw(chance)
            variables = {} if value is None else {"x": value}
            if monitor.counted_from is None:
                record = HashedRecord(identity_hash(None, f"{day}-{number}"), variables)
                monitor.sample(window, record)
            elif window >= monitor.counted_from:
                monitor.count(window, variables)
        found.append(monitor.close(window, DAY_MS))
        if again:
            monitor = DistributionMonitor.from_state(orjson.loads(orjson.dumps(monitor.to_state())))
    return found


def normal(chance: random.Random) -> object:
    return chance.gauss(0, 1)


def shifted(chance: random.Random) -> object:
    return chance.gauss(1, 1)


def often_missing(chance: random.Random) -> object:
    return chance.gauss(0, 1) if chance.random() < 0.8 else None


def test_a_lasting_shift_is_far_from_the_fixed_reference_and_once_from_the_trailing_one() -> None:
    found = findings([normal, normal, normal, normal, shifted, shifted])
    assert [{f.reference: f.stability > 0.1 for f in day} for day in found] == [
        {},
        # Between the day that is the reference and the first that is compared.
        {},
        {"fixed": False},
        {"fixed": False, "trailing": False},
        {"fixed": True, "trailing": True},
        {"fixed": True, "trailing": False},
    ]


def test_missing_values_are_a_drift() -> None:
    found = findings([normal, normal, normal, often_missing])
    assert [f.stability > 0.1 for f in found[3] if f.reference == "fixed"] == [True]


def test_a_restored_monitor_continues_with_the_same_findings() -> None:
    draws: list[Draw] = [normal, normal, often_missing, shifted]
    assert findings(draws, again=True) == findings(draws)


def test_a_reference_waits_until_there_is_enough_and_small_windows_are_not_compared() -> None:
    found = findings([normal] * 9, per_window=90)
    assert found == [[]] * 9


def test_a_reference_sample_of_many_variables_stays_bounded() -> None:
    monitor = DistributionMonitor()
    for record in sampled(range(4000), 50):
        monitor.sample(0, record)
    assert len(orjson.dumps(monitor.to_state())) < 300_000
