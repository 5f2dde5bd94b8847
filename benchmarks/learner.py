"""Examples per second of the learner and of a hand-written River loop with three metrics.

Measured in memory, where only CPU counts, and through Kafka, where an example counts once its
offset is committed.
"""

import sys
from collections.abc import Iterator

from confluent_kafka import Consumer, TopicPartition

from benchmarks.cluster import first_flights, preload
from benchmarks.contenders import (
    RunConfig,
    Setup,
    pipeline_file,
    spawn,
    stop,
    topics,
    worker_command,
    worker_log,
)
from benchmarks.figures import Figures, ratios, spread
from benchmarks.observe import (
    FAILURES,
    OutcomeCounts,
    Throughput,
    compute_throughput,
    sample_outcomes,
)
from benchmarks.peers.work import numbers
from benchmarks.report import Report, Table
from benchmarks.stages import cpu_time, river_loop
from stream_app.core.examples import Example
from stream_app.core.learning.learner import Learner
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.loading import load_pipeline
from stream_app.pipeline import Pipeline

LEARNER, BASELINE = "ours", "hand-written River loop"
IN_MEMORY_EXAMPLES = 20_000

Rounds = dict[str, list[Throughput]]


def measure(setup: Setup, count: int) -> Iterator[Report]:
    """Runs all ways alternately in several rounds; yields the results so far after each.

    A round in which one fails is skipped.
    """
    pipeline = load_pipeline(str(pipeline_file(setup.config("learner", "ours"))))
    mark = fingerprint(pipeline)
    examples = labelled(mark, count)
    core = in_core(pipeline, mark, examples[:IN_MEMORY_EXAMPLES], setup.rounds)
    kafka: Rounds = {LEARNER: [], BASELINE: []}
    for number in range(setup.rounds):
        where = f"round {number + 1} of {setup.rounds}"
        try:
            found = {
                name: through_kafka(_config(setup, number, name), name, examples) for name in kafka
            }
        except FAILURES as error:
            setup.progress(f"{where}: skipped: {error}")
            continue
        for name, run in found.items():
            kafka[name].append(run)
            setup.progress(f"{where}: {name}: {run.rate:,.0f} examples/s")
        yield summary(core, kafka)


def _config(setup: Setup, number: int, name: str) -> RunConfig:
    return setup.config(f"learner-{number}", "baseline" if name == BASELINE else name)


def labelled(mark: str, count: int) -> list[Example]:
    """Returns flights as labelled examples, all with the same served score."""
    return [
        Example(
            flight.event["event_id"],
            flight.event_time_ms,
            flight.label_time_ms,
            flight.label["late"],
            0.3,
            0,
            numbers(flight.event),
            mark,
        )
        for flight in first_flights()
        if flight.label
    ][:count]


def in_core(pipeline: Pipeline, mark: str, examples: list[Example], rounds: int) -> Figures:
    """Returns examples per CPU second of both."""

    def learn() -> None:
        learner = Learner(pipeline, mark)
        for offset, example in enumerate(examples):
            learner.learn(offset, example)

    rates: Figures = {LEARNER: [], BASELINE: []}
    for _ in range(rounds):
        rates[LEARNER].append(len(examples) / cpu_time(learn))
        rates[BASELINE].append(
            len(examples) / cpu_time(lambda: river_loop(pipeline.model(), examples))
        )
    return rates


def through_kafka(config: RunConfig, name: str, examples: list[Example]) -> Throughput:
    """Returns the throughput over a preloaded topic of examples."""
    topic, group = f"{config.name}.examples", f"{config.name}.learn"
    with topics(config):
        preload(config.servers, topic, [(one.event_id.encode(), one.encode()) for one in examples])
        consumer = Consumer(
            {"bootstrap.servers": config.servers, "group.id": group, "log_level": 0}
        )
        with worker_log(config, name) as log:
            command = _command(config, name, topic, group)
            process = spawn(command, log, config.environment, config.tree)
            try:
                samples = sample_outcomes(
                    lambda: (committed(consumer, topic),), len(examples), [process]
                )
            finally:
                stop([process])
                consumer.close()
    return compute_throughput(samples, OutcomeCounts((list(range(len(examples))),), len(examples)))


def _command(config: RunConfig, name: str, topic: str, group: str) -> list[str]:
    if name == LEARNER:
        return [*worker_command(config), "learn"]
    return [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "benchmarks.peers.baseline_learner",
        config.servers,
        topic,
        group,
    ]


def committed(consumer: Consumer, topic: str) -> int:
    """Returns the committed offset of the group, which is the number of examples processed."""
    (found,) = consumer.committed([TopicPartition(topic, 0)], 10)
    return max(0, int(found.offset))


def summary(core: Figures, kafka: Rounds) -> Report:
    """Returns tables and figures of the results."""
    rates: Figures = {name: [run.rate for run in runs] for name, runs in kafka.items()}
    figures: Figures = {}
    rows = []
    for where, found in (("core", core), ("through Kafka", rates)):
        times = ratios(found[LEARNER], found[BASELINE])
        if times:
            figures[f"examples/s, learner / {BASELINE}, {where}"] = times
            figures |= {f"examples/s, {name}, {where}": values for name, values in found.items()}
            rows.append(
                (
                    where,
                    *(spread(found[name]).text() for name in (LEARNER, BASELINE)),
                    spread(times).text(2),
                )
            )
    return Report([Table("Learning", ("examples/s", "learner", BASELINE, "ratio"), rows)], figures)
