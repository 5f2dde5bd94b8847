"""Events per second of six stream processors at the same work.

The raw topic is loaded before a contender starts. Contenders run in turn, in several rounds. An outcome counts when a
reader of committed records could see it; time is taken between 20 % and 90 % of the outcomes, and afterwards all of
them are read, so that every event has been accounted for.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from benchmarks.cluster import Ends, Records, flights, preload
from benchmarks.contenders import CONTENDERS, SCRIPTS, Race, running, topics
from benchmarks.figures import CORES_TO_ONE_WORKER, Figures, distortions, ratios, spread
from benchmarks.observe import (
    FAILURES,
    BenchmarkError,
    Say,
    count_outcomes,
    largest_memory,
    pace,
    until,
    watch,
)
from benchmarks.report import Part, Table

PARTITIONS = 4
SHARE = {"bare": 3, "quix": 0.5, "faust": 0.1}
"""How many times the events the fast and the slow ones get: a run should take seconds, and no minutes."""


class Case(NamedTuple):
    """A contender with so many partitions and workers."""

    contender: str
    partitions: int = PARTITIONS
    workers: int = 1

    def __str__(self) -> str:
        return f"{self.contender}, {_number(self.partitions, 'partition')}, {_number(self.workers, 'worker')}"


class Result(NamedTuple):
    """Events per second, CPU microseconds per event, cores kept busy, memory of the largest worker in MB."""

    rate: float
    cpu: float
    cores: float
    memory: float


PEERS = [Case(name) for name in CONTENDERS]
SCALES = [Case("ours", partitions=1), Case("ours", partitions=16)]
PAIRS = [Case("ours", workers=2), Case("bare", workers=2)]
CASES = [*PEERS, *SCALES, *PAIRS]

Results = dict[Case, dict[int, Result]]
"""By round; a round that failed is missing."""


def measure(
    servers: str, folder: Path, count: int, cases: Sequence[Case], rounds: int, say: Say
) -> Iterator[Part]:
    """The whole race over about `count` events each, as far as it has come; who fails loses that round only."""
    results: Results = {case: {} for case in cases}
    counts = {case: int(count * SHARE.get(case.contender, 1)) for case in cases}
    records = flights(max(counts.values()))
    for number in range(rounds):
        for place, case in enumerate(cases):
            race = Race(
                servers,
                folder,
                f"bench-{number}-{place}-{case.contender}",
                case.partitions,
                case.workers,
            )
            try:
                result = run(race, case.contender, records[: counts[case]])
            except FAILURES as error:
                say(f"round {number + 1} of {rounds}: {error}")
                continue
            results[case][number] = result
            say(
                f"round {number + 1} of {rounds}: {case}: {result.rate:,.0f}/s, {result.cpu:.1f} µs of CPU an event"
            )
            yield summary(results)


def run(race: Race, contender: str, records: Records) -> Result:
    """One contender's turn, on topics of its own."""
    with topics(race):
        preload(race.servers, race.raw, records)
        ends = Ends(race.servers, race.outputs)
        with running(race, contender) as processes:
            if race.workers > 1:
                admin = AdminClient({"bootstrap.servers": race.servers, "log_level": 0})
                until(lambda: all_have_partitions(admin, race, contender), processes)
            looks = watch(ends.now, len(records), processes)
            memory = largest_memory(processes)
            counted = count_outcomes(race.servers, ends.partitions)
            once = contender in ("ours", "transactional")
            if counted.events != len(records) or (once and counted.records != counted.events):
                raise BenchmarkError(
                    f"{counted.records:,} outcomes of {counted.events:,} events, not {len(records):,}"
                )
            found = pace(looks, counted)
    return Result(found.rate, found.cpu, found.cores, memory)


def all_have_partitions(admin: AdminClient, race: Race, contender: str) -> bool:
    """Whether every worker takes part, from when on a pair can be timed."""
    group = race.group(contender)
    try:
        members = (
            admin.describe_consumer_groups([group], request_timeout=5)[group].result(10).members
        )
    except KafkaException:  # the group's coordinator is not known yet
        return False
    return (
        sum(bool(member.assignment and member.assignment.topic_partitions) for member in members)
        >= race.workers
    )


def summary(results: Results) -> Part:
    """Tables and figures of what was measured."""
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
    return Part(
        [_race_table(results), _scale_table(results)],
        figures,
        (*distortions(named), *_impossible(results)),
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
    bare = _ratio(results, Case("bare", workers=2), Case("bare"))
    if ours and bare:
        figures["events/s, 2 workers / 1 worker, ours"] = ours
        figures["events/s, 2 workers / 1 worker, bare"] = bare
        figures["events/s, 2 workers / 1 worker, to the bare loop's own factor"] = ratios(
            ours, bare
        )
    return figures


def _ratio(results: Results, one: Case, other: Case) -> list[float]:
    """Of the rounds in which both ran."""
    first, second = results.get(one, {}), results.get(other, {})
    both = sorted(first.keys() & second.keys())
    return ratios([first[number].rate for number in both], [second[number].rate for number in both])


def _race_table(results: Results) -> Table:
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
        if cores > CORES_TO_ONE_WORKER * case.workers:
            yield f"{case} seems to keep {cores:.1f} cores busy"


def _source(contender: str) -> str:
    """Its name, with a link from `docs/performance.md`."""
    return f"[{contender}](../benchmarks/peers/{SCRIPTS.get(contender, contender)}.py)"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("s" if count > 1 else "")
