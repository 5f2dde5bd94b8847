"""Events per second of six stream processors that do the same work.

The raw topic is loaded before a contender starts. Contenders run alternately in several rounds. An
outcome counts once it is visible to a reader of committed records. Throughput is measured between
20 % and 90 % of the outcomes. Afterwards all outcomes are read to verify that every event has one.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from benchmarks.cluster import EndOffsets, Records, flights, preload
from benchmarks.contenders import CONTENDERS, SCRIPTS, RunConfig, running_contender, topics
from benchmarks.figures import MAX_CORES_PER_WORKER, Figures, invalid_reasons, ratios, spread
from benchmarks.observe import (
    FAILURES,
    BenchmarkError,
    Progress,
    compute_throughput,
    count_outcomes,
    largest_memory,
    sample_outcomes,
    wait_until,
)
from benchmarks.report import Report, Table
from stream_app.formatting import counted

PARTITIONS = 4
RECORD_FACTORS = {"baseline": 3, "quix": 0.5, "faust": 0.1}
"""Multiple of the number of events for fast and slow contenders, so that runs take seconds."""


class Case(NamedTuple):
    """Contender with its number of partitions and workers."""

    contender: str
    partitions: int = PARTITIONS
    workers: int = 1

    def __str__(self) -> str:
        partitions, workers = counted(self.partitions, "partition"), counted(self.workers, "worker")
        return f"{self.contender}, {partitions}, {workers}"


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

Results = dict[Case, dict[int, Result]]
"""Results by round; a failed round is missing."""


def measure(
    servers: str, folder: Path, count: int, cases: Sequence[Case], rounds: int, progress: Progress
) -> Iterator[Report]:
    """Runs all cases in all rounds with about `count` events each.

    Yields the results so far after each run; a failed run is skipped.
    """
    results: Results = {case: {} for case in cases}
    counts = {case: int(count * RECORD_FACTORS.get(case.contender, 1)) for case in cases}
    records = flights(max(counts.values()))
    for number in range(rounds):
        for index, case in enumerate(cases):
            config = RunConfig(
                servers,
                folder,
                f"bench-{number}-{index}-{case.contender}",
                case.partitions,
                case.workers,
            )
            try:
                result = run(config, case.contender, records[: counts[case]])
            except FAILURES as error:
                progress(f"round {number + 1} of {rounds}: {error}")
                continue
            results[case][number] = result
            progress(
                f"round {number + 1} of {rounds}: {case}: {result.rate:,.0f}/s, "
                f"{result.cpu:.1f} µs of CPU per event"
            )
            yield summary(results)


def run(config: RunConfig, contender: str, records: Records) -> Result:
    """Runs a contender once, on new topics.

    Raises:
        BenchmarkError: an event has no outcome, or more than one although it should not.
    """
    with topics(config):
        preload(config.servers, config.raw, records)
        ends = EndOffsets(config.servers, config.outputs)
        with running_contender(config, contender) as processes:
            if config.workers > 1:
                admin = AdminClient({"bootstrap.servers": config.servers, "log_level": 0})
                wait_until(lambda: all_have_partitions(admin, config, contender), processes)
            samples = sample_outcomes(ends.now, len(records), processes)
            memory = largest_memory(processes)
            outcomes = count_outcomes(config.servers, ends.partitions)
            once = contender in ("ours", "transactional")
            if outcomes.events != len(records) or (once and outcomes.records != outcomes.events):
                raise BenchmarkError(
                    f"{outcomes.records:,} outcomes of {outcomes.events:,} events, "
                    f"expected {len(records):,}"
                )
            found = compute_throughput(samples, outcomes)
    return Result(found.rate, found.cpu, found.cores, memory)


def all_have_partitions(admin: AdminClient, config: RunConfig, contender: str) -> bool:
    """Return True if every worker has partitions."""
    group = config.group(contender)
    try:
        members = (
            admin.describe_consumer_groups([group], request_timeout=5)[group].result(10).members
        )
    except KafkaException:
        # The group's coordinator is not known yet.
        return False
    return (
        sum(bool(member.assignment and member.assignment.topic_partitions) for member in members)
        >= config.workers
    )


def summary(results: Results) -> Report:
    """Returns tables and figures of the results."""
    rates = {case: [result.rate for result in runs.values()] for case, runs in results.items()}
    named = {case.contender: runs for case, runs in rates.items() if case in PEERS}
    figures: Figures = {f"events/s, {case}": values for case, values in rates.items() if values}
    figures |= {f"events/s, ours / {name}": values for name, values in _against(results).items()}
    figures |= _scaling(results)
    ours = results.get(Case("ours"), {})
    if ours:
        figures["memory of a worker with 4 partitions"] = [
            result.memory for result in ours.values()
        ]
    return Report(
        [_throughput_table(results), _scale_table(results)],
        figures,
        (*invalid_reasons(named), *_impossible(results)),
    )


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


def _ratio(results: Results, one: Case, other: Case) -> list[float]:
    """Returns the ratios of the rounds in which both ran."""
    first, second = results.get(one, {}), results.get(other, {})
    both = sorted(first.keys() & second.keys())
    return ratios([first[number].rate for number in both], [second[number].rate for number in both])


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
    return f"[{contender}](../benchmarks/peers/{SCRIPTS.get(contender, contender)}.py)"
