"""Ingest against the scorer that reads what it forwards, and against a hand-written loop.

A topic of another program is loaded with flights under keys of its own, with librdkafka's default
partitioner. A hand-written loop forwards it to a topic of its own with the pipeline's keys, then
ingest forwards it to the raw topic, then a scorer reads that. All are measured as `throughput`
measures, between 20 % and 90 % of the records.
"""

from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

from confluent_kafka import Producer

from benchmarks.cluster import EndOffsets, Records, create, delete, flights
from benchmarks.contenders import (
    RunConfig,
    Setup,
    pipeline_file,
    publish_untrained,
    spawn,
    stop,
    worker_command,
    worker_log,
)
from benchmarks.figures import ratios, spread
from benchmarks.observe import (
    FAILURES,
    BenchmarkError,
    Throughput,
    compute_throughput,
    count_outcomes,
    sample_outcomes,
)
from benchmarks.report import Report, Table
from stream_app.kafka.topics import topic_specs
from stream_app.settings import Settings, TopicSettings

SOURCE_PARTITIONS = 6
INGEST, SCORE, LOOP = "ingest", "the scorer", "the hand-written loop"
RATE, CPU = "events/s", "CPU per event"

Results = dict[str, list[Throughput]]
"""Throughput of each round by role."""


def measure(setup: Setup, count: int) -> Iterator[Report]:
    """Runs the loop and both roles in each round; yields the results so far after each."""
    found: Results = {INGEST: [], SCORE: [], LOOP: []}
    records = flights(count, bad_every=0)
    for number in range(setup.rounds):
        where = f"round {number + 1} of {setup.rounds}"
        try:
            values = run(setup.config(f"ingest-{number}", "ours"), records)
        except FAILURES as error:
            setup.progress(f"{where}: skipped: {error}")
            continue
        for name, value in values.items():
            found[name].append(value)
            setup.progress(f"{where}: {name}: {value.rate:,.0f}/s, {value.cpu:.1f} µs of CPU")
        yield summary(found)


def run(config: RunConfig, records: Records) -> dict[str, Throughput]:
    """Returns the throughput of the loop and both roles, on new topics.

    Raises:
        BenchmarkError: a record was not forwarded or not scored, or more than once.
    """
    source, copy = f"{config.name}.shop", f"{config.name}.copy"
    settings = Settings(topics=TopicSettings(partitions=config.partitions))
    specs = topic_specs(config.name, settings, with_sources=True)
    names = {spec.name: spec.partitions for spec in specs}
    names |= {source: SOURCE_PARTITIONS, copy: config.partitions}
    create(config.servers, names)
    try:
        fill(config.servers, source, records)
        with worker_log(config, "ingest") as log:
            worker = worker_command(config)
            declare_source(config, source)

            def start(role: str) -> Popen[bytes]:
                return spawn([*worker, role], log, config.environment, config.tree)

            looped = observed(config, [start_loop(config, log, source, copy)], [copy], len(records))
            forwarded = observed(config, [start("ingest")], [config.raw], len(records))
            publish_untrained(config, start("learn"))
            scored = observed(config, [start("score")], config.outputs, len(records))
            return {INGEST: forwarded, SCORE: scored, LOOP: looped}
    finally:
        delete(config.servers, list(names))


def observed(
    config: RunConfig, processes: list[Popen[bytes]], outputs: list[str], count: int
) -> Throughput:
    """Returns the throughput of processes until all their outputs are visible; then stops them."""
    try:
        ends = EndOffsets(config.servers, outputs)
        samples = sample_outcomes(ends.now, count, processes)
        outcomes = count_outcomes(config.servers, ends.partitions)
        if outcomes.events < count:
            raise BenchmarkError(f"{outcomes.events:,} outcomes of {count:,} events")
        return compute_throughput(samples, outcomes)
    finally:
        stop(processes)


def start_loop(config: RunConfig, log: Path, source: str, target: str) -> Popen[bytes]:
    """Starts the hand-written loop between two topics."""
    command = [config.python, "-W", "ignore", "-m", "benchmarks.peers.forwarding"]
    return spawn([*command, config.servers, source, target], log, config.environment)


def declare_source(config: RunConfig, topic: str) -> None:
    """Writes the pipeline's declaration with a source."""
    pipeline_file(config).write_text(
        "from dataclasses import replace\n\n"
        "from benchmarks.peers.ours import make\n"
        "from stream_app import Source\n\n"
        f'flights = Source(topic="{topic}", name="flights", start="earliest")\n'
        f'pipeline = replace(make("{config.name}"), sources=(flights,))\n'
    )


def fill(servers: str, topic: str, records: Records) -> None:
    """Produces the values of records under other keys, as another program does."""
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "linger.ms": 20,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    for number, (_, value) in enumerate(records):
        producer.produce(topic, value, b"%d" % (number % 5000))
        producer.poll(0)
    producer.flush()


def summary(found: Results) -> Report:
    """Returns the table and the ratios of the rounds so far."""
    rows = [
        (
            name,
            spread([one.rate for one in values]).text(),
            spread([one.cpu for one in values]).text(1),
        )
        for name, values in found.items()
    ]
    figures = {}
    for other in (SCORE, LOOP):
        rates = [[one.rate for one in found[name]] for name in (INGEST, other)]
        cpus = [[one.cpu for one in found[name]] for name in (INGEST, other)]
        figures[f"{RATE}, {INGEST} / {other}"] = ratios(*rates)
        figures[f"{CPU}, {INGEST} / {other}"] = ratios(*cpus)
    return Report([Table("Ingest", ("role", "events/s", "µs of CPU per event"), rows)], figures)
