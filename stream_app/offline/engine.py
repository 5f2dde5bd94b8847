"""A whole pipeline in memory: one partition's scorer, the learner and the monitor, each of them never behind.

It is made of the parts that the workers are made of; only Kafka, processes and the clock are missing.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from time import perf_counter, perf_counter_ns
from typing import Any

import orjson

from stream_app.core.evaluation.evaluator import Evaluator
from stream_app.core.evaluation.prediction_task import PredictionTask
from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.example import Example
from stream_app.core.learning.examples_log import decode_example
from stream_app.core.learning.learner import Learner
from stream_app.core.learning.learner_state import LearnerState
from stream_app.core.monitoring.delay_quantiles import DelayQuantiles
from stream_app.core.monitoring.window_monitor import WindowMonitor
from stream_app.core.scoring.partition_state import PartitionState, PendingPrediction
from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.core.scoring.scorer import Scorer
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.model_store.families import pipeline_names
from stream_app.model_store.model_loading import LoadedModel
from stream_app.model_store.pickling import dump, load
from stream_app.offline.record_outcomes import DeadLetterOutcome, EventOutcome, LabelOutcome
from stream_app.pipeline import Pipeline
from stream_app.records import Features, Output, Record
from stream_app.settings import TopicSettings, WorkerSettings
from stream_app.telemetry.metrics import app_version

_MILLISECOND = timedelta(milliseconds=1)
_ALL_TIME = 2**62  # milliseconds, a window that never closes


class Engine:
    """Scores, learns and monitors; times are epoch milliseconds.

    A label is learned as soon as it joins, and the next event is scored by the new version: a version's number is how
    many examples came before it. The model starts untrained whatever the pipeline says. Raises `ModelError` for a
    model that the learner would refuse.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.dead_letters: list[DeadLetterOutcome] = []
        self.monitoring: list[dict[str, Any]] = []
        self.observers: list[
            Callable[[Example], None]
        ] = []  # each is told of every example before it is learned
        self.label_delays = DelayQuantiles()
        self.learning_times = DelayQuantiles()  # nanoseconds, of judging and learning one example
        self.task = task_of(pipeline)
        self._fingerprint = fingerprint(pipeline)
        load(dump(pipeline.model()), pipeline_names(pipeline.model, pipeline.features))
        self._scorer = make_scorer(pipeline, self._fingerprint)
        self._learner = Learner(pipeline, self._fingerprint)
        self._monitor = WindowMonitor(pipeline)
        self._judge = make_judge(pipeline)
        self._examples = 0
        self._serve()

    @property
    def books(self) -> RecordCounts:
        """The scorer's counts of what became of every record."""
        return self._scorer.state.tallies

    @property
    def learner(self) -> LearnerState:
        """All that the learner knows."""
        return self._learner.state

    def metrics(self) -> dict[str, float]:
        """Every defined metric and baseline over all predictions whose label came, as they were served."""
        return self._judge.metrics()

    def score(self, record: Record, now: int) -> EventOutcome:
        """Process a raw record; `now` is what the workers' clock shows."""
        outputs = self._scorer.score([record], self.model, now)
        letter = self._deliver(outputs, now).get((record.topic, record.offset))
        if letter is not None:
            return EventOutcome("dead-lettered", dead_letter=letter)
        scored = next((output for output in outputs if output.topic == "scored"), None)
        if scored is None:
            return EventOutcome(
                "retrying" if self._scorer.state.retries.before(record) else "duplicate"
            )
        content = orjson.loads(scored.value or b"")
        return EventOutcome("scored", content, self._features(content["event_id"], outputs))

    def join(self, record: Record, now: int) -> LabelOutcome:
        """Process a label record."""
        duplicates, expired = self.books.label_duplicates, self.books.label_expired
        outputs = self._scorer.join([record], self.model, now)
        letter = self._deliver(outputs, now).get((record.topic, record.offset))
        if letter is not None:
            return LabelOutcome("dead-lettered", dead_letter=letter)
        example = _example(outputs, self.task)
        if example is not None:
            return LabelOutcome("joined", example)
        if self.books.label_duplicates > duplicates:
            return LabelOutcome("duplicate")
        return LabelOutcome("expired" if self.books.label_expired > expired else "waiting")

    def try_again(self, now: int) -> None:
        """Try again what failed for a reason outside and is due."""
        self._deliver([], now)

    def pass_time(self, now: int) -> None:
        """Close what is due at `now`, as if an event of that time had been read and nothing else were left to read."""
        state = self._scorer.state
        state.event_watermark = max(state.event_watermark, now)
        known = self._monitor.to_state()
        known["watermarks"] = {**known["watermarks"], "clock": now}
        self._monitor = WindowMonitor.from_state(self.pipeline, known)
        self._deliver([], now)

    def _deliver(self, outputs: list[Output], now: int) -> dict[tuple[str, int], DeadLetterOutcome]:
        """Do what consumers of the outputs do, then what idle workers do; returns the dead letters by their origin."""
        outputs = outputs + self._scorer.retry(self._scorer.state.retries.due(now), self.model, now)
        for output in outputs:
            if output.topic == "scored":
                self._monitor.scored("scored", orjson.loads(output.value or b""))
        for example in _examples(outputs, self.task):
            self._learn(example)
        while expired := self._scorer.expire(self.model, now, labels_at_end=True):
            outputs += expired
        self._report(self._monitor.close([]))
        letters = [
            DeadLetterOutcome.of(output) for output in outputs if output.topic.endswith(".dlq")
        ]
        self.dead_letters += letters
        return {letter.origin: letter for letter in letters}

    def _learn(self, example: Example) -> None:
        self._judge.add(example)
        for observe in self.observers:
            observe(example)
        self.label_delays.add(example.label_time - example.event_time)
        started = perf_counter_ns()
        found = self._learner.learn(self._examples, example)
        self.learning_times.add(perf_counter_ns() - started)
        self._report(found)
        self._monitor.example("examples", example)
        self._examples += 1
        self._serve()

    def _serve(self) -> None:
        """From now on scores are made by what has been learned."""
        self.model = LoadedModel(
            self.pipeline.name,
            self._examples,
            self._fingerprint,
            self.learner.learned.model,
            self.task,
        )

    def _report(self, outputs: list[Output]) -> None:
        self.monitoring += [orjson.loads(output.value or b"") for output in outputs]

    def _features(self, event_id: str, outputs: list[Output]) -> Features:
        """What the model saw: kept with the prediction, or in the example if the label was already there."""
        entry = self._scorer.state.find(event_id)
        if isinstance(entry, PendingPrediction):
            return entry.features or {}
        example = _example(outputs, self.task)
        return {} if example is None else example.features


def make_judge(pipeline: Pipeline) -> Evaluator:
    """What judges all predictions together, whenever their labels come."""
    return Evaluator(_ALL_TIME, task_of(pipeline))


def make_scorer(pipeline: Pipeline, pipeline_fingerprint: str) -> Scorer:
    """As the score worker makes it, with the limits that it has by default."""
    label = pipeline.label
    return Scorer(
        pipeline,
        pipeline_fingerprint,
        PartitionState(
            0, label.horizon // _MILLISECOND, label.allowed_lateness // _MILLISECOND, pipeline.retry
        ),
        clock=perf_counter,
        group=f"{pipeline.name}-score",
        app_version=app_version(),
        max_bytes=TopicSettings().max_message_bytes - 1024,
        max_entries=WorkerSettings().max_state_entries,
    )


def _example(outputs: list[Output], task: PredictionTask) -> Example | None:
    """The first example among the outputs."""
    return next(_examples(outputs, task), None)


def _examples(outputs: list[Output], task: PredictionTask) -> Iterator[Example]:
    """The examples among the outputs, as the learner reads them."""
    found = (decode_example(output.value, task) for output in outputs if output.topic == "examples")
    return (example for example in found if isinstance(example, Example))
