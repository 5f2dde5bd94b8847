"""A year of events and labels in one partition, and a scorer that reads them in any order."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import chain, zip_longest
from typing import Any

import orjson

from stream_app.core.examples import Example
from stream_app.core.reading.completeness import Completeness
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.records import Features, Output, Record
from tests.small_pipeline import HOUR, NOW, event, label, record, small_pipeline

DAY = 24 * HOUR
YEAR = 365 * DAY
COUNT = 7300
PACE = YEAR // COUNT
START = NOW - YEAR - 5 * DAY
CHUNK = 100

Chunk = tuple[str, Sequence[Record]]
"""Topic kind and consecutive records of it."""


class FixedModel:
    """Model that scores by amount."""

    name = "payments"
    version = 1

    def score(self, features: Features) -> float:
        return float(features["amount"]) / 100


def event_at(number: int) -> int:
    return START + number * PACE


def events(count: int = COUNT, times: dict[int, int] | None = None) -> list[Record]:
    """Return events in order; `times` has those of some numbers."""
    wrong = times or {}
    return [
        record(event(number, wrong.get(number, event_at(number))), number)
        for number in range(count)
    ]


def labels(count: int = COUNT, times: dict[int, int] | None = None) -> list[Record]:
    """Return labels, each known between 1 and 23 hours after its event, in the order of times."""
    wrong = times or {}
    known = {number: event_at(number) + HOUR * (1 + number * 7 % 23) for number in range(count)}
    return [
        record(
            label(number, wrong.get(number, known[number]), fraud=number % 3 == 0),
            offset,
            topic="payments.labels",
        )
        for offset, number in enumerate(sorted(known, key=lambda one: known[one]))
    ]


def completeness(statement: Completeness, topic: str = "payments.labels") -> Record:
    return Record(topic, 0, 0, NOW, None, None, tuple(statement.headers()))


def chunks(records: Sequence[Record], size: int = CHUNK) -> Iterator[Chunk]:
    for start in range(0, len(records), size):
        part = records[start : start + size]
        yield part[0].topic.rpartition(".")[2], part


def in_turns(*streams: Iterable[Chunk]) -> Iterator[Chunk]:
    return (one for turn in zip_longest(*streams) for one in turn if one is not None)


def one_after_another(*streams: Iterable[Chunk]) -> Iterator[Chunk]:
    return chain(*streams)


class LabelledPartition:
    """One partition with its changelog.

    Args:
        restart_every: chunks after which it restarts from the changelog, None for never.
        max_entries: limit of the state.
        changes: changes of the declared label.
    """

    def __init__(
        self,
        restart_every: int | None = None,
        max_entries: int = 1_000_000,
        **changes: Any,
    ) -> None:
        self.declared = replace(
            small_pipeline().label,
            **{"idle_after": timedelta(hours=24), **changes},
        )
        self.pipeline = small_pipeline(label=self.declared)
        self.config = ScorerConfig(
            fingerprint="f" * 16,
            group="g",
            app_version="1",
            max_bytes=100_000,
            max_entries=max_entries,
        )
        self.restart_every = restart_every
        self.changelog: dict[bytes | None, bytes | None] = {}
        self.examples: dict[str, Example] = {}
        # Values of the outcomes of labels.
        self.outcomes: list[dict[str, Any]] = []
        self.now = NOW
        self.chunks = 0
        self.state = self.new_state()
        self.scorer = Scorer(self.pipeline, self.config, self.state, lambda: 0.0)

    def new_state(self) -> PartitionState:
        milliseconds = timedelta(milliseconds=1)
        declared = self.declared
        return PartitionState(
            0,
            declared.horizon // milliseconds,
            declared.allowed_lateness // milliseconds,
            idle_after=declared.idle_time // milliseconds,
        )

    def restart(self) -> None:
        """Continue as a new owner, with a compacted changelog."""
        self.commit()
        self.state = self.new_state()
        self.state.restore(self.changelog.items())
        self.scorer.reset(self.state)

    def read(self, stream: Iterable[Chunk]) -> "LabelledPartition":
        """Process chunks in their order."""
        for kind, records in stream:
            clock = self.state.clock
            if kind == "raw":
                clock.events.received()
                self.take(self.scorer.score(records, FixedModel(), self.now))
            else:
                clock.labels.received()
                self.take(self.scorer.join(records, FixedModel(), self.now))
            self.chunks += 1
            if self.restart_every and self.chunks % self.restart_every == 0:
                self.restart()
        return self

    def wait(self, hours: float, *ended: str, step: int = 60_000) -> "LabelledPartition":
        """Let wall-clock time pass at the ends of inputs."""
        until = self.now + int(hours * HOUR)
        while self.now < until:
            self.state.clock.events.look(self.now, "events" in ended)
            self.state.clock.labels.look(self.now, "labels" in ended)
            self.now += step
        self.state.clock.events.look(self.now, "events" in ended)
        self.state.clock.labels.look(self.now, "labels" in ended)
        while outputs := self.scorer.expire(FixedModel(), self.now):
            self.take(outputs)
        return self

    def take(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if output.topic == "examples":
                example = Example.decode(output.value or b"")
                assert example.event_id not in self.examples
                self.examples[example.event_id] = example
            elif output.topic == "label_outcomes":
                self.outcomes.append(orjson.loads(output.value or b""))
            elif output.topic == "score.state":
                self.write(output)

    def commit(self) -> None:
        for output in self.state.final_records():
            self.write(output)

    def write(self, output: Output) -> None:
        self.changelog.pop(output.key, None)
        if output.value is not None:
            self.changelog[output.key] = output.value

    @property
    def counts(self) -> RecordCounts:
        assert self.state.counts.scored == self.state.counts.closed_or_pending
        return self.state.counts
