"""Logs that scorers wrote in memory, and a monitor that reads them in any interleaving."""

import random
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import orjson

from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.headers import SOURCE, SourcePosition
from stream_app.kafka.topic_uses import PAUSE_KINDS
from stream_app.pipeline import Pipeline
from stream_app.records import Headers, InputPartition, Output, Record
from stream_app.schema_registry.schema_cache import SchemaCache
from stream_app.worker.roles.monitor_processor import MonitorProcessor
from stream_app.worker.roles.watermark_publisher import WatermarkPublisher
from tests.learning import MemoryLog
from tests.small_pipeline import HOUR, event, label, record, small_pipeline

DAY = 24 * HOUR
# A midnight in UTC.
START = 1_699_920_000_000
NAME = "payments"
WATERMARKS = InputPartition(f"{NAME}.watermarks", 0)
EXAMPLES = InputPartition(f"{NAME}.examples", 0)
_MS = timedelta(milliseconds=1)


def scored_partition(number: int) -> InputPartition:
    return InputPartition(f"{NAME}.scored", number)


def monitored_pipeline(**label_changes: Any) -> Pipeline:
    """Return a pipeline that publishes features; labels are due within six hours."""
    changes = {"horizon": timedelta(hours=6), "allowed_lateness": timedelta(hours=12)}
    declared = replace(small_pipeline().label, **(changes | label_changes))
    return small_pipeline(NAME, label=declared, publish_features=True)


class VersionedModel:
    """Model whose version can be set."""

    name = NAME

    def __init__(self) -> None:
        self.version = 1

    def score(self, features: Mapping[str, Any]) -> float:
        return float(features["amount"]) / 100


class LoggedScorer:
    """Scorer of one partition, with the publisher of its watermark.

    It writes scored records, examples and watermarks in transactions, whose markers take offsets.
    """

    def __init__(self, log: MemoryLog, pipeline: Pipeline, partition: int) -> None:
        self.log = log
        self.pipeline = pipeline
        self.partition = partition
        self.model = VersionedModel()
        self.now = START + 400 * DAY
        self._changelog: dict[bytes | None, bytes | None] = {}
        self._offset = 0
        self.start()

    def start(self) -> None:
        """Start as a new owner of the partition."""
        declared = self.pipeline.label
        self.state = PartitionState(
            self.partition,
            declared.horizon // _MS,
            declared.allowed_lateness // _MS,
            idle_after=declared.idle_time // _MS,
        )
        self.state.restore(self._changelog.items())
        config = ScorerConfig(
            fingerprint="f", group="g", app_version="1", max_bytes=10**5, max_entries=10**6
        )
        self.scorer = Scorer(self.pipeline, config, self.state, lambda: 0.0)
        self.publisher = WatermarkPublisher(self.state)
        scored, examples = scored_partition(self.partition), EXAMPLES
        self.publisher.start(self.log.written_end(scored), self.log.written_end(examples))

    def events(self, events: Sequence[tuple[int, int]], **changes: Any) -> None:
        """Score events, given by number and time, in one transaction."""
        records = []
        for number, time in events:
            fields = event(number, time, **changes)
            one = record(fields, self._offset, topic=f"{NAME}.raw")
            records.append(one._replace(partition=self.partition))
            self._offset += 1
        self.state.clock.events.received()
        self._commit(self.scorer.score(records, self.model, self.now))

    def labels(
        self, labels: Sequence[tuple[int, int]], frauds: Container[int] = (), source: str = ""
    ) -> None:
        """Join labels, given by number and time, in one transaction.

        Args:
            labels: number and label time of each.
            frauds: numbers of those that are true.
            source: source that ingest has read them from, empty for none.
        """
        headers: Headers = ()
        if source:
            headers = ((SOURCE, SourcePosition(source, 0, 0, START).header()),)
        records = [
            record(label(number, time, number in frauds), topic=f"{NAME}.labels", headers=headers)
            for number, time in labels
        ]
        self.state.clock.labels.received()
        self._commit(self.scorer.join(records, self.model, self.now))

    def idle(self, milliseconds: int = 2_000) -> None:
        """Let time pass without events or labels, at their ends."""
        clock, until = self.state.clock, self.now + milliseconds
        while self.now < until:
            for one in (clock.events, clock.labels):
                one.look(self.now, True)
            self.now += min(60_000, until - self.now)
        for one in (clock.events, clock.labels):
            one.look(self.now, True)
        outputs = self.publisher.idle(self.now)
        outputs += self.scorer.expire(self.model, self.now)
        if outputs:
            self._commit(outputs)

    def _commit(self, outputs: list[Output]) -> None:
        self.now += 700
        outputs = [*outputs, *self.publisher.due(self.now), *self.state.final_records()]
        written: dict[Any, int] = {}
        touched = set()
        for output in outputs:
            if output.topic == "score.state":
                self._changelog[output.key] = output.value
                continue
            topic, partition = f"{NAME}.{output.topic}", max(output.partition, 0)
            gap = self.log.markers.pop(f"{topic}/{partition}", 0)
            written[output.topic, partition] = self.log.append(
                topic, output.key, output.value, partition, gap
            )
            touched.add(f"{topic}/{partition}")
        for name in touched:
            self.log.markers[name] = 1
        self.publisher.committed(written)


class MonitorReader:
    """Drives a monitor like a stream task, in an interleaving of its own.

    Args:
        log: the logs.
        partitions: number of partitions.
        chance: decides on the interleaving, sizes of chunks, and restarts.
    """

    def __init__(
        self,
        log: MemoryLog,
        pipeline: Pipeline,
        partitions: int,
        chance: random.Random,
        restarts: float = 0.0,
    ) -> None:
        self.log = log
        self.pipeline = pipeline
        self.inputs = [WATERMARKS, *map(scored_partition, range(partitions)), EXAMPLES]
        self.chance = chance
        self.restarts = restarts
        self.now = START
        self.found: list[dict[str, Any]] = []
        self.alarm_log: list[tuple[bytes | None, bytes | None]] = []
        # Records of decisions about learning.
        self.decided: list[Output] = []
        self._state: bytes | None = None
        self._committed = dict.fromkeys(self.inputs, -1)
        self.start()

    def start(self) -> None:
        states = [] if self._state is None else [(b"state", self._state)]
        reader: Any = SimpleNamespace(
            read_all=lambda *_: states, read_stable=lambda *_: self.alarm_log, ends=self.log.ends
        )
        self.processor = MonitorProcessor(self.pipeline, self.inputs, reader, SchemaCache(None))
        self.position = dict(self.processor.restore(self._committed))

    def read(self) -> "MonitorReader":
        """Read the logs until nothing moves any more."""
        moved = True
        while moved:
            weights = [self.chance.choice((0.05, 1.0, 1.0, 5.0)) for _ in self.inputs]
            for source in self.chance.choices(self.inputs, weights, k=30):
                self.step(source)
                if self.chance.random() < self.restarts:
                    self.start()
            # Every input once, without a crash.
            restarts, self.restarts = self.restarts, 0.0
            steps = [self.step(source) for source in self.inputs * 2]
            moved = True in steps
            self.restarts = restarts
        return self

    def step(self, source: InputPartition) -> bool:
        """Process a chunk of an input, or be idle; returns True if something was done."""
        self.now += self.chance.choice((1, 10, 300))
        size = self.chance.choice((1, 30, 200))
        records = self.unread(source, size)
        outputs: list[Output] = []
        ready = self.processor.ready(records, self.now) if records else 0
        if ready:
            outputs = self.processor.process(source, records[:ready], self.now)
            self.position[source] = records[ready - 1].offset + 1
        if not records or self.chance.random() < 0.3:
            ended = {
                one: self.log.end_with_markers(one)
                for one in self.inputs
                if not self.unread(one, 1)
            }
            self.processor.look(self.now, ended)
        if not ready:
            outputs = self.processor.idle(self.now, at_end=False)
        self._commit(outputs)
        return bool(ready or outputs)

    def unread(self, source: InputPartition, size: int) -> list[Record]:
        return self.log.after(source, self.position[source], size)

    def _commit(self, outputs: list[Output]) -> None:
        if self.restarts and self.chance.random() < self.restarts:
            # Killed before the commit.
            self.start()
            return
        outputs = outputs + self.processor.before_commit(dict(self.position), self.now)
        for output in outputs:
            if output.topic == "monitor.state":
                self._state = output.value
            elif output.topic == "alarms":
                self.alarm_log.append((output.key, output.value))
            elif output.topic in PAUSE_KINDS:
                self.decided.append(output)
            else:
                self.found.append(orjson.loads(output.value or b""))
        self._committed = dict(self.position)
        self.processor.after_commit({})

    def windows(self) -> list[tuple[Any, ...]]:
        """Return the measurements, in an order that does not depend on the reading."""
        return sorted(
            (
                one["window"]["start"],
                one["window"]["end"],
                one["kind"],
                one["name"],
                one["reference"] or "",
                -1 if one["model_version"] is None else one["model_version"],
                one["n"],
                one["value"],
            )
            for one in self.found
        )

    def alarms(self) -> dict[str, Any]:
        """Return all evidence and what was learned, bit for bit."""
        state: dict[str, Any] = orjson.loads(orjson.dumps(self.processor._monitor.to_state()))
        alarms: dict[str, Any] = state["alarms"]
        return alarms


def of_kind(found: Sequence[Mapping[str, Any]], kind: str, name: str = "") -> Iterator[Any]:
    return (one for one in found if one["kind"] == kind and name in ("", one["name"]))
