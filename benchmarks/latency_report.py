"""Table and figures of the latency of stream processors."""

from typing import NamedTuple

from benchmarks.contenders import BEFORE, CONTENDERS, EXACTLY_ONCE, HAND_WRITTEN, OURS
from benchmarks.figures import Figures, ratios, spread
from benchmarks.report import Report, Row, Table

# With less idle CPU, the latency is that of a queue for the processor: the figure is void.
MIN_IDLE_PERCENT = 20.0


class Case(NamedTuple):
    """Contender, events per second, and commit interval in milliseconds if it has one."""

    contender: str
    rate: int
    commit_ms: int = 100

    def __str__(self) -> str:
        commits = f", commits every {self.commit_ms} ms" if self.contender in EXACTLY_ONCE else ""
        return f"{self.contender}{commits}"

    @property
    def is_compared(self) -> bool:
        """True if its latency is divided by another's, round by round."""
        return self.contender in (*OURS, *HAND_WRITTEN)


class Latency(NamedTuple):
    """Latency in milliseconds, and the idle share of the machine's CPU meanwhile, in per cent."""

    p50: float
    p99: float
    largest: float
    idle: float

    @property
    def is_void(self) -> bool:
        """True if the machine was too busy for a latency to mean anything."""
        return self.idle < MIN_IDLE_PERCENT

    def __str__(self) -> str:
        void = ", void" if self.is_void else ""
        return f"p50 {self.p50:.0f} ms, p99 {self.p99:.0f} ms, {self.idle:.0f} % idle{void}"


RATES = (1000, 5000)
INTERVALS = (100, 20)
COMPARED = [
    Case(name, rate, interval)
    for rate in RATES
    for interval in INTERVALS
    for name in ("ours", *HAND_WRITTEN, BEFORE)
]
CASES = [
    *COMPARED,
    *(Case(name, RATES[0]) for name in CONTENDERS if not Case(name, 0).is_compared),
]
COLUMNS = ("4 partitions, 1 worker", "events/s", "p50 ms", "p99 ms", "largest ms", "idle CPU %")

Results = dict[Case, dict[int, Latency]]
"""Results by round; a failed round is missing."""


def summary(results: Results, failed: set[Case]) -> Report:
    """Returns table and figures of the results; void figures are marked and not compared."""
    valid = {
        case: {number: run for number, run in runs.items() if not run.is_void}
        for case, runs in results.items()
    }
    figures: Figures = {}
    for case, runs in valid.items():
        if runs:
            figures[f"{name(case)}, {case.contender}"] = [run.p99 for run in runs.values()]
        if case.contender == "ours":
            figures |= _compared(valid, case)
    rows = [_row(case, runs) for case, runs in results.items() if runs or case in failed]
    return Report([Table("Latency", COLUMNS, rows)], figures)


def name(case: Case) -> str:
    """Returns the name of a case's 99th percentile, without the contender."""
    return f"p99 at {case.rate:,}/s, {case.commit_ms} ms commits"


def _compared(valid: Results, ours: Case) -> Figures:
    """Returns our latency, divided by the others' in each round in which both are valid."""
    figures: Figures = {}
    for other in (*HAND_WRITTEN, BEFORE):
        one, two = valid[ours], valid.get(ours._replace(contender=other), {})
        both = sorted(one.keys() & two.keys())
        if both:
            figures[f"{name(ours)}, ours / {other}"] = ratios(
                [one[number].p99 for number in both], [two[number].p99 for number in both]
            )
    return figures


def _row(case: Case, runs: dict[int, Latency]) -> Row:
    """Returns a row: valid rounds only, or all of them marked as void if none is."""
    first = (str(case), f"{case.rate:,}")
    if not runs:
        return (*first, "does not keep up", "", "", "")
    valid = [run for run in runs.values() if not run.is_void]
    columns = zip(*(valid or runs.values()), strict=True)
    cells = [spread(values).text() for values in columns]
    return (
        (*first, *cells) if valid else (*first, *(f"void: {cell}" for cell in cells[:3]), cells[3])
    )
