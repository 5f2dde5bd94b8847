"""Events per second of stream processors that do the same work.

The raw topic is loaded before a contender starts. Contenders run alternately in several rounds. An
outcome counts once it is visible to a reader of committed records. Throughput is measured between
20 % and 90 % of the outcomes. Afterwards all outcomes are read to verify that every event has one.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from benchmarks.cluster import EndOffsets, Records, flights, preload
from benchmarks.contenders import EXACTLY_ONCE, RunConfig, Setup, running_contender, topics
from benchmarks.observe import (
    FAILURES,
    BenchmarkError,
    compute_throughput,
    count_outcomes,
    largest_memory,
    sample_outcomes,
    wait_until,
)
from benchmarks.report import Report
from benchmarks.throughput_report import Case, Result, Results, summary

RECORD_FACTORS = {"baseline": 3, "quix": 0.5, "quix-exactly-once": 0.5, "faust": 0.1}
"""Multiple of the number of events for fast and slow contenders, so that runs take seconds."""

WORKLOAD_FACTORS = {"large": 0.5, "tree": 0.5, "forest": 0.1}
"""The same for payloads and models."""


def measure(
    setup: Setup,
    count: int,
    cases: Sequence[Case],
    summarise: Callable[[Results], Report] = summary,
) -> Iterator[Report]:
    """Runs all cases in all rounds with about `count` events each.

    Yields the results so far after each run; a failed run is skipped.
    """
    results: Results = {case: {} for case in cases}
    for number in range(setup.rounds):
        for index, case in enumerate(cases):
            config = setup.config(f"bench-{number}-{index}", case.contender)._replace(
                partitions=case.partitions, workers=case.workers, workload=case.workload
            )
            where = f"round {number + 1} of {setup.rounds}: {case}"
            try:
                result = run(config, case.contender, events(case, count))
            except FAILURES as error:
                setup.progress(f"{where}: {error}")
                continue
            results[case][number] = result
            setup.progress(f"{where}: {result.rate:,.0f}/s, {result.cpu:.1f} µs of CPU per event")
            yield summarise(results)


def events(case: Case, count: int) -> Records:
    """Returns the events of a case."""
    factor = RECORD_FACTORS.get(case.contender, 1.0)
    for part in case.workload:
        factor *= WORKLOAD_FACTORS.get(part, 1.0)
    return _flights(int(count * factor), case.workload.payload)


_flights = cache(flights)


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
            once = contender in EXACTLY_ONCE
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
