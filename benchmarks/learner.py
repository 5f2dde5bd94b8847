"""Examples per second of the learner against a bare loop of River's predict, learn and three metrics.

Once in memory, where only the CPU counts, and once through Kafka, where an example counts when its offset is committed.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from benchmarks.cluster import all_flights, preload
from benchmarks.contenders import Race, logged, pipeline_file, spawn, stop, topics, worker_command
from benchmarks.figures import Figures, ratios, spread
from benchmarks.observe import FAILURES, Counted, Pace, Say, pace, watch
from benchmarks.peers.work import numbers
from benchmarks.report import Part, Table
from benchmarks.stages import river_loop, seconds
from stream_app.core.example import Example
from stream_app.core.learning.learner import Learner
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.loading import load_pipeline
from stream_app.pipeline import Pipeline

LEARNER, BARE = "learner", "bare River loop"
IN_CORE = 20_000  # examples

Rounds = dict[str, list[Pace]]


def measure(servers: str, folder: Path, count: int, rounds: int, say: Say) -> Iterator[Part]:
    """Both ways, in turn, in several rounds."""
    race = Race(servers, folder, "learner")
    pipeline = load_pipeline(str(pipeline_file(race)))
    mark = fingerprint(pipeline)
    examples = labelled(mark, count)
    core = in_core(pipeline, mark, examples[:IN_CORE], rounds)
    kafka: Rounds = {LEARNER: [], BARE: []}
    for number in range(rounds):
        for name, paces in kafka.items():
            race = Race(
                servers, folder, f"learner-{number}-{'ours' if name == LEARNER else 'bare'}"
            )
            try:
                paces.append(through_kafka(race, name, examples))
            except FAILURES as error:
                say(f"round {number + 1} of {rounds}: {error}")
                continue
            say(f"round {number + 1} of {rounds}: {name}: {paces[-1].rate:,.0f} examples/s")
            yield summary(core, kafka)


def labelled(mark: str, count: int) -> list[Example]:
    """Flights with what became of them; the score that was served is always the same."""
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
        for flight in all_flights()
        if flight.label
    ][:count]


def in_core(pipeline: Pipeline, mark: str, examples: list[Example], rounds: int) -> Figures:
    """Examples per CPU second of both."""

    def learn() -> None:
        learner = Learner(pipeline, mark)
        for offset, example in enumerate(examples):
            learner.learn(offset, example)

    rates: Figures = {LEARNER: [], BARE: []}
    for _ in range(rounds):
        rates[LEARNER].append(len(examples) / seconds(learn))
        rates[BARE].append(len(examples) / seconds(lambda: river_loop(pipeline.model(), examples)))
    return rates


def through_kafka(race: Race, name: str, examples: list[Example]) -> Pace:
    """One turn over a topic of examples that is there already."""
    topic, group = f"{race.name}.examples", f"{race.name}-learn"
    with topics(race):
        preload(race.servers, topic, [(one.event_id.encode(), one.encode()) for one in examples])
        admin = AdminClient({"bootstrap.servers": race.servers, "log_level": 0})
        with logged(race, name) as log:
            process = spawn(_command(race, name, topic, group), log, race.environment)
            try:
                looks = watch(lambda: (committed(admin, group, topic),), len(examples), [process])
            finally:
                stop([process])
    return pace(looks, Counted((list(range(len(examples))),), len(examples)))


def _command(race: Race, name: str, topic: str, group: str) -> list[str]:
    if name == LEARNER:
        return [*worker_command(race), "learn"]
    return [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "benchmarks.peers.bare_learner",
        race.servers,
        topic,
        group,
    ]


def committed(admin: AdminClient, group: str, topic: str) -> int:
    """How many examples the group has done with for good."""
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])
    found = admin.list_consumer_group_offsets([asked])[group].result(10).topic_partitions
    return max(0, int(found[0].offset))


def summary(core: Figures, kafka: Rounds) -> Part:
    """Tables and figures of what was measured."""
    rates: Figures = {name: [pace.rate for pace in paces] for name, paces in kafka.items()}
    figures: Figures = {}
    rows = []
    for where, found in (("core", core), ("through Kafka", rates)):
        times = ratios(found[LEARNER], found[BARE])
        if times:
            figures[f"examples/s, learner / bare River loop, {where}"] = times
            figures |= {f"examples/s, {name}, {where}": values for name, values in found.items()}
            rows.append(
                (
                    where,
                    *(spread(found[name]).text() for name in (LEARNER, BARE)),
                    spread(times).text(2),
                )
            )
    return Part([Table("Learning", ("examples/s", LEARNER, BARE, "ratio"), rows)], figures)
