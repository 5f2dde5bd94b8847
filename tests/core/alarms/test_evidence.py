"""Budget, evidence and tempering, by hand."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.alarms.alarm_budget import SHARES, AlarmBudget
from stream_app.core.alarms.evidence import MAX_EVIDENCE, Evidence
from stream_app.core.alarms.tempering import Tempering
from tests.core.alarms.streams import through_json

STEPS = st.lists(st.tuples(st.sampled_from([0.25, 1.0]), st.floats(0.01, 100.0)), max_size=60)


def test_the_budget_is_split_by_kind_and_evenly_over_detectors() -> None:
    budget = AlarmBudget(false_per_year=2)
    assert budget.rate("flips", 4) == pytest.approx(0.05)
    assert budget.rate("coverage", 1) == budget.rate("volume", 1) == pytest.approx(0.6)
    assert budget.rate("inputs", 5) == 2.0
    assert budget.limit("flips", 1, restarts_per_year=8760) == pytest.approx(43_800)
    assert sum(SHARES.values()) == pytest.approx(0.7)


@pytest.mark.parametrize("value", [0, -1, 1001, float("nan")])
def test_an_impossible_budget_is_rejected(value: float) -> None:
    with pytest.raises(ValueError, match="false_per_year must be more than 0 and at most 1000"):
        AlarmBudget(false_per_year=value)


@given(STEPS)
def test_evidence_is_the_sum_of_all_bets_and_knows_the_heaviest(
    steps: list[tuple[float, float]],
) -> None:
    evidence, bets = Evidence(), list[tuple[float, int]]()
    for time, (stake, factor) in enumerate(steps):
        evidence.begin(stake, time)
        bets = [(value * factor, begun) for value, begun in [*bets, (stake, time)]]
        evidence.multiply(factor)
    if bets:
        assert evidence.total == pytest.approx(sum(value for value, _ in bets))
        assert evidence.heaviest == pytest.approx(max(bets)[0])
        winners = {begun for value, begun in bets if value >= 0.999999 * max(bets)[0]}
        assert evidence.since in winners


def test_evidence_stays_finite_and_can_start_over() -> None:
    evidence = Evidence()
    for time in range(200):
        evidence.begin(1.0, time)
        evidence.multiply(1e100)
    assert (evidence.total, evidence.since) == (MAX_EVIDENCE, 0)
    evidence.clear()
    evidence.begin(1.0, 7)
    assert (evidence.total, evidence.since) == (1.0, 7)


def test_the_dispersion_of_a_day_is_used_seven_days_later() -> None:
    tempering = Tempering(cap=20.0, prior=2.0)
    found = []
    for day in range(12):
        tempering.start_day(day, counts=True)
        found.append(tempering.exponent)
        # Dispersion 100 on day 2, cut to 20; no deviation on the others.
        tempering.add(10.0 if day == 2 else 0.0, 1.0)
    decay = 2.0 ** (-1 / 30)
    # Sum and number of the days from day 0 on, as they are known from the day after.
    sums = [10.0 * 0 + value for value in accumulate([0, 0, 20.0], lambda a, b: a * decay + b)]
    days = list(accumulate([1, 1, 1], lambda a, b: a * decay + b))
    known = [(total + 10.0) / (count + 5.0) for total, count in zip(sums, days, strict=True)]
    # The first dispersion is known on day 1, and used on day 8.
    assert found[:8] == [0.5] * 8
    assert found[8:11] == pytest.approx([1 / max(1.0, value) for value in known])


def test_days_without_anything_do_not_count() -> None:
    tempering = Tempering(cap=20.0, prior=2.0)
    for day in (0, 1, 400):
        tempering.start_day(day, counts=True)
    assert tempering.exponent == 0.5


def test_tempering_continues_from_its_state() -> None:
    whole, restarted = Tempering(20.0, 2.0), Tempering(20.0, 2.0)
    for day in range(40):
        for tempering in (whole, restarted):
            tempering.start_day(day, counts=day % 7 != 3)
            tempering.add(day % 5 - 1.7, 1.0 + day % 3)
        other = Tempering(20.0, 2.0)
        other.restore(through_json(restarted.state()))
        restarted = other
    assert restarted.state() == whole.state()
