"""Proposed bounds keep honest numbers and exclude absurd ones."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from stream_app.cleaning import Between, Clip
from stream_app.offline.proposed_bounds import RecordSample, propose_bounds
from stream_app.pipeline import Pipeline
from stream_app.records import Record
from tests.small_pipeline import EVENT_SCHEMA, event, record, small_pipeline

CHANCE = random.Random(17)
ABSURD = [1e200, 1.7e308, -1.7e308, 1e155]


def sample(amounts: Sequence[object]) -> list[Record]:
    return [record(event(number, amount=amount)) for number, amount in enumerate(amounts)]


def bounds(amounts: Sequence[object], pipeline: Pipeline | None = None) -> tuple[float, float]:
    (found,) = propose_bounds(pipeline or small_pipeline(), sample(amounts))
    expected = Between("amount", found.low, found.high, otherwise="reject")
    assert eval(found.line, {"Between": Between}) == expected
    return found.low, found.high


@pytest.mark.parametrize(
    ("draw", "positive"),
    [
        (lambda: CHANCE.gauss(0, 1), False),
        (lambda: CHANCE.gauss(20, 5), False),
        (lambda: CHANCE.uniform(0, 1e-9), True),
        (lambda: CHANCE.lognormvariate(3, 1), True),
        (lambda: -CHANCE.lognormvariate(3, 1), False),
        (lambda: CHANCE.expovariate(1 / 300), True),
        (lambda: float(CHANCE.randint(18, 90)), True),
    ],
)
def test_a_tenth_of_absurd_numbers_changes_nothing(
    draw: Callable[[], float], positive: bool
) -> None:
    honest = [draw() for _ in range(1800)]
    for hostile in ([], ABSURD * 50, [1e308] * 200, [-1e308] * 50 + [1e200] * 150):
        low, high = bounds([*honest, *hostile])
        assert low <= min(honest)
        assert max(honest) <= high
        assert max(abs(low), abs(high)) < 1000 * max(map(abs, honest))
        assert low >= 0 or not positive or hostile


@pytest.mark.parametrize("amounts", [[1.0] * 100, [1.0, 2.0] * 5, [], [1.7e308, -1.7e308] * 50])
def test_there_is_no_proposal_without_a_spread(amounts: list[float]) -> None:
    assert propose_bounds(small_pipeline(), sample(amounts)) == []


@pytest.mark.parametrize("step", [Between("amount", 0, 10), Clip("amount", 0, 10)])
def test_declared_bounds_are_kept(step: Between | Clip) -> None:
    numbers = [float(n) for n in range(100)]
    assert propose_bounds(small_pipeline(clean=(step,)), sample(numbers)) == []


def test_records_and_values_that_are_no_numbers_are_left_out() -> None:
    numbers = [float(n) for n in range(100)]
    expected = bounds(numbers)
    assert bounds([*numbers, "x", None, True, [], {}]) == expected
    broken = [
        record(b"{"),
        record(None),
        record(b"[1]"),
        record(b'{"amount": 1' + b"0" * 400 + b"}"),
    ]
    assert propose_bounds(small_pipeline(), [*sample(numbers), *broken])[0].high == expected[1]


def test_a_sample_is_bounded_and_spread_evenly() -> None:
    taken = RecordSample()
    for each in sample([float(n) for n in range(10_000)]):
        taken.add(each)
    assert 1000 <= len(taken.records) <= 2000
    low, high = (taken.records[at].value or b"" for at in (0, -1))
    assert b'"e0"' in low
    assert b'"e99' in high


def test_null_replaces_an_absurd_number_only_where_it_is_declared() -> None:
    schema: Any = EVENT_SCHEMA
    fields = [
        {**field, "type": ["null", "double"]} if field["name"] == "amount" else field
        for field in schema["fields"]
    ]
    pipeline = small_pipeline(schema={**schema, "fields": fields})
    (found,) = propose_bounds(pipeline, sample([float(n) for n in range(100)]))
    assert found.line == f'Between("amount", 0, {found.high:g})'
