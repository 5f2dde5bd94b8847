"""Reads everything that a pipeline writes, and polls the model versions of its scorers."""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import accumulate
from threading import Thread
from time import sleep
from typing import Any

import orjson
from confluent_kafka import Message

from stream_app.core.alarms.alarm_record import decode_alarm
from stream_app.core.evaluation.evaluator import Evaluator
from stream_app.core.evaluation.prediction_tasks import PredictionTask
from stream_app.core.examples import Example, decode_example
from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.core.scoring.state_changelog import COUNTS_KEY
from stream_app.headers import ERROR_CODE, own_header_texts
from stream_app.kafka.offsets import PartitionId
from stream_app.kafka.partition_reader import PartitionReader, headers_of
from stream_app.model_store.manifest import CHAMPION_KEY, Manifest, decode_alias, version_of
from stream_app.records import InputPartition
from stream_app.worker.supervisor import Supervisor, WorkerProcess

# Length in milliseconds of one window over all labels.
ALL = 10**15


class Collector:
    """Counts the output records of a pipeline and collects what the summary needs.

    Args: reader: reader of the output topics. pipeline: name of the pipeline. task: prediction task
        of the pipeline. learned: called with the event id of each example that the models of all
        scorers have learned.

    Attributes:
        scored: event time and model version of each scored record.
        scored_ids: ids of scored events.
        dead: number of dead letters by input and error code.
        examples: offset, label time and event id of each example.
        last: newest offset of each partition that the monitor reads.
        alarms: measurements that breached their limit, and alarms that the monitor opened.
        champion: manifest of the served version.
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
        self._handlers: dict[str, Callable[[Message], None]] = {
            "scored": self._take_scored,
            "examples": self._take_example,
            "models": self._take_model,
            "monitoring": self._take_monitoring,
            "alarms": self._take_alarm,
            "score.state": self._take_state,
            "raw.dlq": self._take_dead,
            "labels.dlq": self._take_dead,
        }
        self.scored: list[tuple[int, int]] = []
        self.scored_ids: set[str] = set()
        self.dead: dict[str, Counter[str]] = {"raw": Counter(), "labels": Counter()}
        self.examples: list[tuple[int, int, str]] = []
        self.last: dict[InputPartition, int] = {}
        self._evaluator = Evaluator(ALL, task)
        self.alarms: list[dict[str, Any]] = []
        self.champion: Manifest | None = None
        self._manifests: dict[int, Manifest] = {}
        self._announced = 0
        self._counts: dict[int, RecordCounts] = {}

    def assign(self, partitions: Iterable[PartitionId]) -> None:
        """Follow partitions from their beginning."""
        self._reader.assign(dict.fromkeys(partitions, 0))

    def poll(self, seconds: float) -> int:
        """Process new records and return their number."""
        messages = self._reader.poll(seconds, 5000)
        for message in messages:
            self._take(message)
        return len(messages)

    def _take(self, message: Message) -> None:
        kind = str(message.topic()).removeprefix(self._prefix)
        self._handlers[kind](message)
        if kind in ("scored", "examples"):
            self.last[InputPartition(str(message.topic()), message.partition() or 0)] = (
                message.offset() or 0
            )

    @property
    def record_counts(self) -> RecordCounts:
        """Record counts of the scorers, summed over partitions."""
        total = RecordCounts()
        for one in self._counts.values():
            total = total.add(one)
        return total

    def metrics(self) -> dict[str, float]:
        """Return every metric and baseline over all predictions that have a label."""
        return self._evaluator.metrics()

    def staleness_hours(self) -> list[float]:
        """Return per prediction the age of the oldest known label that its model lacked.

        Ages are in hours of event time.
        """
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
        if not isinstance(example, Example):
            # A control record.
            return
        self.examples.append((message.offset() or 0, example.label_time, example.event_id))
        self._evaluator.add(example)

    def _take_model(self, message: Message) -> None:
        key, value = (message.key() or b"").decode("utf-8", "replace"), message.value()
        version = version_of(key)
        if value is not None and version is not None:
            self._manifests[version] = Manifest.decode(value)
        elif value is not None and key == CHAMPION_KEY:
            self.champion = self._manifests[decode_alias(value).version]

    def serving(self, version: int) -> None:
        """Report the examples that a version has learned, once all scorers serve it."""
        while self._announced < len(self.examples) and self.examples[self._announced][0] < version:
            self._learned(self.examples[self._announced][2])
            self._announced += 1

    def _take_monitoring(self, message: Message) -> None:
        value = orjson.loads(message.value() or b"")
        if value["breached"]:
            self.alarms.append(value)

    def _take_alarm(self, message: Message) -> None:
        alarm = decode_alarm(message.value())
        if alarm is not None and alarm.is_open and alarm.n == 1:
            self.alarms.append({"kind": "alarm", "name": alarm.name})

    def _take_state(self, message: Message) -> None:
        if message.key() == COUNTS_KEY:
            value = orjson.loads(message.value() or b"")
            self._counts[message.partition() or 0] = RecordCounts.from_dict(value["record_counts"])

    def _take_dead(self, message: Message) -> None:
        kind = str(message.topic()).removeprefix(self._prefix).removesuffix(".dlq")
        headers = own_header_texts(headers_of(message))
        self.dead[kind][headers.get(ERROR_CODE, "unknown")] += 1


POLL_SECONDS = 0.02


class ModelTimeline:
    """Polls the model version of every scorer in a thread.

    Attributes:
        version: oldest version that any scorer serves.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self.version = 0
        self._supervisor = supervisor
        Thread(target=self._poll_versions, name="served", daemon=True).start()

    def _poll_versions(self) -> None:
        while True:
            scorers = [child for child in self._supervisor.workers if child.role == "score"]
            self.version = min(self._ask(child) for child in scorers)
            sleep(POLL_SECONDS)

    def _ask(self, scorer: WorkerProcess) -> int:
        """Return the version of one scorer; 0 while it does not answer."""
        answer = self._supervisor.request(scorer, "/readyz")
        return int(json.loads(answer).get("model_version", 0)) if answer else 0
