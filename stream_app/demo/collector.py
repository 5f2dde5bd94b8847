"""Watching a pipeline from outside: everything it writes, as any consumer would read it."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any

import orjson
from confluent_kafka import Message

from stream_app.core.evaluation.evaluator import Evaluator
from stream_app.core.evaluation.prediction_tasks import PredictionTask
from stream_app.core.example import Example
from stream_app.core.learning.examples_log import decode_example
from stream_app.core.scoring.partition_state import TALLIES_KEY
from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.headers import ERROR_CODE
from stream_app.kafka.offsets import PartitionId
from stream_app.kafka.reader import PartitionReader
from stream_app.model_store.manifest import CHAMPION_KEY, Manifest, decode_alias, version_of
from stream_app.records import InputPartition

ALL = 10**15  # milliseconds; one window over everything


class Collector:
    """Counts what comes out, and remembers what the summary needs.

    `learned` is called with the event id of each example that all scorers' models have learned.
    """

    def __init__(
        self,
        reader: PartitionReader,
        pipeline: str,
        task: PredictionTask,
        learned: Callable[[str], None],
    ) -> None:
        self._reader = reader
        self._learned = learned
        self.task = task
        self._prefix = f"{pipeline}."
        self._takers: dict[str, Callable[[Message], None]] = {
            "scored": self._take_scored,
            "examples": self._take_example,
            "models": self._take_model,
            "monitoring": self._take_monitoring,
            "score.state": self._take_state,
            "raw.dlq": self._take_dead,
            "labels.dlq": self._take_dead,
        }
        self.scored: list[tuple[int, int]] = []  # event time and model version
        self.scored_ids: set[str] = set()
        self.dead: dict[str, Counter[str]] = {"raw": Counter(), "labels": Counter()}
        self.examples: list[tuple[int, int, str]] = []  # offset, label time, event id
        self.last: dict[
            InputPartition, int
        ] = {}  # newest offset of each partition that the monitor reads
        self._evaluator = Evaluator(ALL, task)
        self.alarms: list[dict[str, Any]] = []
        self.champion: Manifest | None = None
        self._manifests: dict[int, Manifest] = {}
        self._announced = 0  # examples already reported as learned
        self._tallies: dict[int, RecordCounts] = {}

    def assign(self, partitions: Iterable[PartitionId]) -> None:
        """Follow partitions from their beginning."""
        self._reader.assign(dict.fromkeys(partitions, 0))

    def poll(self, seconds: float) -> int:
        """Take what has come; returns how many records."""
        messages = self._reader.poll(seconds, 5000)
        for message in messages:
            self._take(message)
        return len(messages)

    def _take(self, message: Message) -> None:
        kind = str(message.topic()).removeprefix(self._prefix)
        self._takers[kind](message)
        if kind in ("scored", "examples"):
            self.last[InputPartition(str(message.topic()), message.partition() or 0)] = (
                message.offset() or 0
            )

    @property
    def tallies(self) -> RecordCounts:
        """The scorers' own books, all partitions together."""
        total = RecordCounts()
        for one in self._tallies.values():
            total = total.add(one)
        return total

    def metrics(self) -> dict[str, float]:
        """Every metric and baseline of the served predictions whose labels have come, exactly."""
        return self._evaluator.metrics()

    def staleness_hours(self) -> list[float]:
        """Per prediction: for how long its model had missed a label that was already known, in hours of event time."""
        offsets = [offset for offset, _, _ in self.examples]
        times = [label_time for _, label_time, _ in self.examples]
        oldest_missing = list(accumulate(reversed(times), min))[::-1]
        hours = []
        for event_time, version in self.scored:
            index = bisect_left(offsets, version)
            missing = oldest_missing[index] if index < len(offsets) else event_time
            hours.append(max(0.0, (event_time - missing) / 3_600_000))
        return hours

    def _take_scored(self, message: Message) -> None:
        value = orjson.loads(message.value() or b"")
        self.scored.append((value["event_time"], value["model"]["version"]))
        self.scored_ids.add(value["event_id"])

    def _take_example(self, message: Message) -> None:
        example = decode_example(message.value(), self.task)
        if not isinstance(example, Example):  # a decision about the model
            return
        self.examples.append((message.offset() or 0, example.label_time, example.event_id))
        self._evaluator.add(example)

    def _take_model(self, message: Message) -> None:
        key, value = (message.key() or b"").decode(), message.value()
        version = version_of(key)
        if value is not None and version is not None:
            self._manifests[version] = Manifest.decode(value)
        elif value is not None and key == CHAMPION_KEY:
            self.champion = self._manifests[decode_alias(value).version]

    def serving(self, version: int) -> None:
        """All scorers serve at least this version: report the examples that it has learned."""
        while self._announced < len(self.examples) and self.examples[self._announced][0] < version:
            self._learned(self.examples[self._announced][2])
            self._announced += 1

    def _take_monitoring(self, message: Message) -> None:
        value = orjson.loads(message.value() or b"")
        if value["breached"]:
            self.alarms.append(value)

    def _take_state(self, message: Message) -> None:
        if message.key() == TALLIES_KEY:
            value = orjson.loads(message.value() or b"")
            self._tallies[message.partition() or 0] = RecordCounts.from_dict(value["tallies"])

    def _take_dead(self, message: Message) -> None:
        kind = str(message.topic()).removeprefix(self._prefix).removesuffix(".dlq")
        headers = dict(message.headers() or ())
        self.dead[kind][(headers[ERROR_CODE] or b"").decode()] += 1
