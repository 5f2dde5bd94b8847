"""Tables and figures of the throughput of stream processors."""

from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from benchmarks.contenders import BEFORE, CONTENDERS, SCRIPTS
from benchmarks.figures import MAX_CORES_PER_WORKER, Figures, invalid_reasons, ratios, spread
from benchmarks.report import Report, Row, Table
from benchmarks.workload import Workload
from stream_app.formatting import counted

PARTITIONS = 4


class Case(NamedTuple):
    """Contender with its number of partitions and workers, and its workload."""

    contender: str
    partitions: int = PARTITIONS
    workers: int = 1
    workload: Workload = Workload()

    def __str__(self) -> str:
        partitions, workers = counted(self.partitions, "partition"), counted(self.workers, "worker")
        text = f"{self.contender}, {partitions}, {workers}"
        return text if self.workload == Workload() else f"{text}, {self.workload}"


class Result(NamedTuple):
    """Events per second, CPU microseconds per event, busy cores, MB of the largest worker."""

    rate: float
    cpu: float
    cores: float
    memory: float


PEERS = [Case(name) for name in CONTENDERS]
SCALES = [Case("ours", partitions=1), Case("ours", partitions=16)]
PAIRS = [Case("ours", workers=2), Case("baseline", workers=2)]
CASES = [*PEERS, *SCALES, *PAIRS]
# A model's case is measured without what else a case of the payloads changes, and vice versa.
WORKLOADS = [
    Workload(),
    Workload(payload="small"),
    Workload(payload="large"),
    Workload(model="tree"),
    Workload(model="forest"),
]
OTHER_WORK = [Case(name, workload=workload) for workload in WORKLOADS for name in ("ours", "tuned")]

Results = dict[Case, dict[int, Result]]
"""Results by round; a failed round is missing."""


def summary(results: Results) -> Report:
    """Returns tables and figures of the results."""
    rates = {case: [result.rate for result in runs.values()] for case, runs in results.items()}
    named = {case.contender: runs for case, runs in rates.items() if case in PEERS}
    figures: Figures = {f"events/s, {case}": values for case, values in rates.items() if values}
    figures |= {f"events/s, ours / {name}": values for name, values in _against(results).items()}
    figures |= {
        f"CPU per event, ours / {case.contender}": values
        for case in PEERS[1:]
        if (values := _ratio(results, Case("ours"), case, "cpu"))
    }
    figures |= _scaling(results)
    return Report(
        [_throughput_table(results), _scale_table(results)],
        figures,
        (*invalid_reasons(named), *_impossible(results)),
    )


def workload_summary(results: Results) -> Report:
    """Returns the table and figures of payloads and models."""
    rows: list[Row] = []
    figures: Figures = {}
    for workload in WORKLOADS:
        ours, tuned = Case("ours", workload=workload), Case("tuned", workload=workload)
        times = _ratio(results, ours, tuned)
        if times:
            figures[f"events/s, ours / tuned, {workload}"] = times
            rows.append(
                (
                    str(workload),
                    *(_rate(results[case]) for case in (ours, tuned)),
                    spread([result.cpu for result in results[ours].values()]).text(1),
                    spread(times).text(2),
                )
            )
    columns = ("payload, model", "ours, events/s", "tuned, events/s", "ours, CPU µs/event", "ratio")
    return Report(
        [Table("Payloads and models", columns, rows)], figures, tuple(_impossible(results))
    )


def _rate(runs: dict[int, Result]) -> str:
    return spread([result.rate for result in runs.values()]).text()


def _against(results: Results) -> Figures:
    return {
        case.contender: values
        for case in PEERS[1:]
        if (values := _ratio(results, Case("ours"), case))
    }


def _scaling(results: Results) -> Figures:
    figures: Figures = {}
    if widest := _ratio(results, Case("ours", partitions=16), Case("ours", partitions=1)):
        figures["events/s, 16 partitions / 1 partition"] = widest
    ours = _ratio(results, Case("ours", workers=2), Case("ours"))
    baseline = _ratio(results, Case("baseline", workers=2), Case("baseline"))
    if ours and baseline:
        figures["events/s, 2 workers / 1 worker, ours"] = ours
        figures["events/s, 2 workers / 1 worker, baseline"] = baseline
        figures["events/s, 2 workers / 1 worker, to the baseline's own factor"] = ratios(
            ours, baseline
        )
    return figures


def _ratio(results: Results, one: Case, other: Case, value: str = "rate") -> list[float]:
    """Returns the ratios of the rounds in which both ran, of the rates or of another value."""
    first, second = results.get(one, {}), results.get(other, {})
    both = sorted(first.keys() & second.keys())
    return ratios(*([getattr(runs[number], value) for number in both] for runs in (first, second)))


def _throughput_table(results: Results) -> Table:
    against = _against(results)
    rows = [
        (
            *_cells(_source(case.contender), results[case]),
            _times(against, case),
        )
        for case in PEERS
        if results.get(case)
    ]
    columns = (
        "4 partitions, 1 worker",
        "events/s",
        "CPU µs/event",
        "cores busy",
        "memory MB",
        "ours / it",
    )
    return Table("Throughput", columns, rows)


def _scale_table(results: Results) -> Table:
    cases = [case for case in (*SCALES, *PAIRS) if results.get(case)]
    rows = [_cells(str(case), results[case]) for case in cases]
    return Table(
        "Partitions and workers", ("", "events/s", "CPU µs/event", "cores busy", "memory MB"), rows
    )


def _cells(name: str, runs: dict[int, Result]) -> tuple[str, ...]:
    columns = list(zip(*runs.values(), strict=True))
    digits = (0, 1, 2, 0)
    return (
        name,
        *(spread(values).text(places) for values, places in zip(columns, digits, strict=True)),
    )


def _times(against: Figures, case: Case) -> str:
    values = against.get(case.contender)
    return spread(values).text(2) if values else ""


def _impossible(results: Results) -> Iterator[str]:
    for case, runs in results.items():
        cores = median(result.cores for result in runs.values()) if runs else 0.0
        if cores > MAX_CORES_PER_WORKER * case.workers:
            yield f"{case} appears to use {cores:.1f} cores"


def _source(contender: str) -> str:
    """Returns the contender's name with a link for `docs/performance.md`."""
    if contender == BEFORE:
        return contender
    return f"[{contender}](../benchmarks/peers/{SCRIPTS.get(contender, contender)}.py)"
