"""The results of the benchmarks are computed correctly from their samples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import TARGETS, Target, invalid_reasons, percentile, ratios, spread
from benchmarks.observe import BenchmarkError, OutcomeCounts, Sample, compute_throughput
from benchmarks.report import Report, Table, as_json, markdown
from benchmarks.throughput_report import PAIRS, PEERS, Case, Result, Results, summary


def samples(*counts: int) -> list[Sample]:
    """Returns one sample per second of one partition; each record took 10 µs of CPU."""
    return [Sample(float(second), (count,), count / 1e5) for second, count in enumerate(counts)]


def all_of(count: int) -> OutcomeCounts:
    return OutcomeCounts((list(range(count)),), count)


def results(**rates: float) -> Results:
    """Returns two rounds, the second at half the speed of the first."""
    return {
        Case(name): {0: Result(rate, 10, 0.5, 100), 1: Result(rate / 2, 10, 0.5, 100)}
        for name, rate in rates.items()
    }


def test_throughput_excludes_start_and_tail() -> None:
    slow_start_and_end = samples(0, 1, 100, 300, 500, 700, 900, 999, 1000)
    found = compute_throughput(slow_start_and_end, all_of(1000))
    assert found.rate == 200.0
    assert found.cpu == pytest.approx(10.0)


def test_throughput_counts_records_not_markers() -> None:
    every_other_is_a_marker = OutcomeCounts((list(range(0, 2000, 2)),), 1000)
    found = compute_throughput(samples(0, 200, 1000, 1800, 2000), every_other_is_a_marker)
    assert found.rate == 400.0


def test_throughput_of_a_single_burst_is_an_error() -> None:
    with pytest.raises(BenchmarkError, match="at once"):
        compute_throughput(samples(0, 1000), all_of(1000))


def test_a_slow_round_does_not_change_ratios() -> None:
    assert ratios([100, 50], [200, 100]) == [0.5, 0.5]
    figures = summary(results(ours=1000, baseline=2000)).figures
    assert figures["events/s, ours / baseline"] == [0.5, 0.5]
    assert figures["events/s, ours, 4 partitions, 1 worker"] == [1000, 500]


def test_ratios_exclude_a_failed_round() -> None:
    found = results(ours=1000, baseline=2000)
    del found[Case("baseline")][0]
    assert summary(found).figures["events/s, ours / baseline"] == [0.5]


def test_the_gain_of_a_second_worker_is_relative_to_the_baseline() -> None:
    found = results(ours=1000, baseline=2000)
    for case, rate in zip(PAIRS, (1500, 4000), strict=True):
        found[case] = {0: Result(rate, 10, 0.5, 100)}
    figures = summary(found).figures
    assert figures["events/s, 2 workers / 1 worker, to the baseline's own factor"] == [0.75]


@pytest.mark.parametrize(
    ("rates", "count"),
    [
        ({"baseline": [60], "bytewax": [40], "quix": [19]}, 0),
        ({"baseline": [50], "bytewax": [45], "quix": [10]}, 1),
        ({"baseline": [50], "bytewax": [45], "quix": [40]}, 2),
        ({"baseline": [50]}, 0),
        ({}, 0),
    ],
)
def test_unexpected_ratios_of_contenders_are_invalid(
    rates: dict[str, list[float]], count: int
) -> None:
    assert len(invalid_reasons(rates)) == count


def test_more_cores_than_a_worker_can_use_are_invalid() -> None:
    found = {Case("ours"): {0: Result(100_000, 40, 4.0, 100)}}
    assert "4.0 cores" in "".join(summary(found).invalid)


def test_reasons_for_invalid_results_precede_the_tables() -> None:
    text = markdown([summary(results(ours=1000, baseline=1000, bytewax=1000))])
    assert text.index("INVALID") < text.index("### Targets") < text.index("### Throughput")


def test_targets_are_evaluated_by_the_median() -> None:
    name = "kill -9 to all partitions served"
    part = Report([], {name: [1.0, 2.0, 100.0]})
    assert as_json([part])["targets"] == [
        {"name": name, "limit": 5, "unit": "s", "measured": 2.0, "met": True}
    ]
    assert (
        "| kill -9 to all partitions served | ≤ 5 s | 2.00 (1.00 to 100.00) s | met |"
        in markdown([part])
    )


def test_a_limit_itself_meets_the_target() -> None:
    assert Target("", 1, at_least=True).met_by(1)
    assert not Target("", 1, at_least=True).met_by(0.99)
    assert Target("", 1).met_by(1)
    assert not Target("", 1).met_by(1.01)


def test_every_contender_but_ours_is_compared() -> None:
    named = {target.name for target in TARGETS}
    figures = summary(results(**{case.contender: 1000.0 for case in PEERS})).figures
    compared = {name for name in figures if name.startswith("events/s, ours /")}
    assert len(compared) == len(PEERS) - 1
    assert {name for name in named if name.startswith("events/s, ours /")} <= compared


def test_a_table_is_rendered_as_markdown() -> None:
    table = Table("Title", ("a", "b"), [("1", "2")], ("A remark.",))
    assert table.markdown() == "### Title\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\nA remark.\n"


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_percentile_is_the_smallest_value_that_covers_its_share(
    values: list[float], share: float
) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values) + 1e-9


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_the_median_lies_within_the_range(values: list[float]) -> None:
    found = spread(values)
    assert found.low <= found.median <= found.high
