"""Reports of the benchmarks name the ratios of two builds and compare them with earlier runs."""

from pathlib import Path

import pytest

from benchmarks import ingest, latency_report, learner, recovery, report, restore, startup
from benchmarks.contenders import BEFORE, HERE
from benchmarks.figures import RATIOS, Figures
from benchmarks.history import read_history, record
from benchmarks.latency_report import MIN_IDLE_PERCENT, Latency
from benchmarks.observe import Throughput
from benchmarks.report import Report, markdown
from benchmarks.throughput_report import PEERS, Result, summary
from stream_app.core.scoring import scorer

OURS, TUNED = (latency_report.Case(name, 1000) for name in ("ours", "tuned"))
TWICE = {"ours": 2.0, BEFORE: 1.0}
NAME = "events/s, ours / tuned"


def latency(p99: float, idle: float = 50.0) -> Latency:
    return Latency(p99 / 2, p99, p99 * 2, idle)


def every_report() -> list[Report]:
    """Returns a report of each benchmark, in which ours has twice the value of every other."""
    rounds = {case: {0: Result(1.0 + (case == PEERS[0]), 1.0, 1.0, 1.0)} for case in PEERS}
    delays = {case: {0: latency(1.0 + (case.contender == "ours"))} for case in latency_report.CASES}
    rates = {learner.LEARNER: 2.0, learner.BASELINE: 1.0, BEFORE: 1.0}
    core: Figures = {name: [rates[name]] for name in (learner.LEARNER, learner.BASELINE)}
    return [
        summary(rounds),
        latency_report.summary(delays, set()),
        learner.summary(core, {name: [Throughput(rate, 1.0)] for name, rate in rates.items()}),
        startup.summary({name: {key: [of] for key in startup.UNITS} for name, of in TWICE.items()}),
        recovery.summary(
            {name: {key: [of] for key in recovery.SIGNALS} for name, of in TWICE.items()}, {}
        ),
        restore.summary(
            {share: {name: [of] for name, of in TWICE.items()} for share in restore.SHARES}
        ),
        ingest.summary(
            {
                ingest.INGEST: [Throughput(2.0, 1.0)],
                ingest.SCORE: [Throughput(1.0, 1.0)],
                ingest.LOOP: [Throughput(1.0, 1.0)],
            }
        ),
    ]


def test_every_recorded_ratio_is_the_ratio_of_a_benchmark() -> None:
    figures = report.all_figures(every_report())
    cpu = {name for name in RATIOS if name.startswith("CPU")}
    assert {name: figures[name] for name in RATIOS} == {
        name: [1.0] if name in cpu else [2.0] for name in RATIOS
    }


def test_the_last_recorded_ratio_stands_beside_the_present_one(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    for value in (3.0, 2.0):
        assert record({NAME: [value, value + 1, value + 2], "other": [1.0]}, "compiled", file) == 1
    history = read_history(file)
    assert (history[NAME].median, history[NAME].low, history[NAME].rounds) == (3.0, 2.0, 3)
    assert history[NAME].core == "compiled"
    assert len(file.read_text().splitlines()) == 3
    text = markdown([Report([], {NAME: [2.85]})], history)
    assert f"| {NAME} | 2.85 | 3.00 ({history[NAME].commit}) | -5% |" in text


def test_without_a_recorded_ratio_only_the_present_one_is_shown(tmp_path: Path) -> None:
    assert read_history(tmp_path / "missing.csv") == {}
    assert f"| {NAME} | 2.85 |  |  |" in markdown([Report([], {NAME: [2.85]})])


def test_the_report_says_how_the_core_runs() -> None:
    assert report.core() == ("interpreted" if scorer.__file__.endswith(".py") else "compiled")
    assert f"{report.core()} core" in markdown([])


@pytest.mark.parametrize("name", ["core", "stages", "state"])
def test_a_program_that_measures_the_core_says_how_it_runs(name: str) -> None:
    assert "core_state()" in (HERE / "benchmarks" / f"{name}.py").read_text()


def test_latencies_are_divided_round_by_round() -> None:
    found = latency_report.summary(
        {OURS: {0: latency(100), 1: latency(40)}, TUNED: {0: latency(50), 1: latency(10)}}, set()
    )
    assert found.figures["p99 at 1,000/s, 100 ms commits, ours / tuned"] == [2.0, 4.0]


def test_a_latency_of_a_busy_machine_is_void() -> None:
    busy, quiet = (latency(90, MIN_IDLE_PERCENT + more) for more in (-0.1, 0))
    results = {OURS: {0: busy}, TUNED: {0: quiet}}
    found = latency_report.summary(results, set())
    assert list(found.figures) == ["p99 at 1,000/s, 100 ms commits, tuned"]
    ours, tuned = found.tables[0].rows
    assert ours[2:5] == ("void: 45", "void: 90", "void: 180")
    assert tuned[2:5] == ("45", "90", "180")


def test_a_void_round_does_not_count_beside_valid_ones() -> None:
    rounds = {0: latency(900, idle=1.0), 1: latency(40)}
    found = latency_report.summary({OURS: rounds}, set())
    assert found.figures["p99 at 1,000/s, 100 ms commits, ours"] == [40]
    assert found.tables[0].rows[0][3] == "40"


def test_a_contender_that_failed_has_a_row() -> None:
    rows = latency_report.summary({OURS: {}, TUNED: {}}, {OURS}).tables[0].rows
    assert [row[2] for row in rows] == ["does not keep up"]


@pytest.mark.parametrize("contenders", [("ours",), ("ours", BEFORE)])
def test_without_an_earlier_build_nothing_is_compared(contenders: tuple[str, ...]) -> None:
    measured: dict[str, Figures] = {
        name: {key: [1.0] for key in startup.UNITS} for name in contenders
    }
    found = startup.summary(measured)
    compared = [name for name in found.figures if name.endswith(f"ours / {BEFORE}")]
    assert len(compared) == (len(startup.UNITS) if BEFORE in contenders else 0)
    assert found.tables[0].columns == ("", *contenders)


def test_the_page_has_a_place_for_figures() -> None:
    page = (HERE / "docs" / "performance.md").read_text()
    replaced = report.replace_figures(page, "new figures\n")
    assert "new figures" in replaced
    assert "### Throughput" not in replaced
    assert replaced.endswith(page[-1000:])
    with pytest.raises(ValueError, match="figures"):
        report.replace_figures("a page", "new figures")
