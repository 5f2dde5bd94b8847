"""A whole pipeline in memory: the scorer of one partition, the learner and the monitor.

It consists of the parts that the workers consist of, without Kafka, processes and a clock. No part
lags behind another.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import PurePath
from time import perf_counter, perf_counter_ns
from traceback import walk_tb
from typing import Any, NamedTuple

import orjson
from msgspec.structs import replace

from stream_app.core.alarms.alarm_log import is_detector_state
from stream_app.core.alarms.stream_monitor import StreamMonitor
from stream_app.core.evaluation.evaluator import Evaluator
from stream_app.core.evaluation.prediction_tasks import PredictionTask, task_of
from stream_app.core.examples import Example, decode_example
from stream_app.core.learning.finite_learning import NotFiniteError
from stream_app.core.learning.learner import Learner
from stream_app.core.learning.learner_state import LearnedModel, LearnerState
from stream_app.core.learning.learning_rules import LearningRules
from stream_app.core.monitoring.delay_quantiles import DelayQuantiles
from stream_app.core.monitoring.log_alignment import STEP_MS, floor_time
from stream_app.core.published_records import ScoredRecord
from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas
from stream_app.core.reading.event_time import NEVER
from stream_app.core.reading.identity import key_is_id
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.core.scoring.state_codec import PendingPrediction
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.kafka.topic_uses import group_name
from stream_app.model_store.model_loading import LoadedModel, ModelEvidence
from stream_app.model_store.pickling import dump, load, pipeline_names
from stream_app.offline.record_outcomes import DeadLetterOutcome, EventOutcome, LabelOutcome
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, Features, Output, Record
from stream_app.settings import TopicSettings, WorkerSettings
from stream_app.telemetry.metrics import app_version

_CORE = f"{PurePath(__file__).parent.parent / 'core'}"
_MILLISECOND = timedelta(milliseconds=1)
# Different label delays up to which their quantiles are exact.
_EXACT_DELAYS = 100_000
# Length in milliseconds of a window that never closes.
_ALL_TIME = 2**62


class LearningFailure(NamedTuple):
    """Failure to learn an example.

    Attributes:
        message: exception, method of the model that raised it, and features at fault.
        where: file and line, for example "scale.py:139"; None outside the model.
    """

    message: str
    where: str | None


def explain_learning_failure(learned: LearnedModel, example: Example) -> LearningFailure | None:
    """Return why a model does not learn an example, None if it does; the model is unchanged.

    Features at fault are those with which alone a copy of the model fails in the same way.
    """
    error = _error(learned, example)
    if error is None:
        return None
    features = example.features
    at_fault = [
        f"{name} ({type(value).__name__})"
        for name, value in features.items()
        if type(_error(learned, replace(example, features={name: value}))) is type(error)
    ]
    if isinstance(error, NotFiniteError):
        message, where = "after it the model or its score would not be finite", None
    else:
        method, where = _place(error)
        message = f"{type(error).__name__} in {method}"
    if at_fault and (len(at_fault) < len(features) or len(features) == 1):
        message += f", feature{'s' if len(at_fault) > 1 else ''} {', '.join(at_fault)}"
    return LearningFailure(message, where)


def _error(learned: LearnedModel, example: Example) -> Exception | None:
    try:
        learned.copied().learn(0, example)
    except Exception as error:  # a model may raise anything
        return error
    return None


def _place(error: Exception) -> tuple[str, str | None]:
    """Return the method of the model, and the file and line, in which an exception was raised."""
    method, where = "learn_one", None
    for frame, line in walk_tb(error.__traceback__):
        code = frame.f_code
        if code.co_filename.startswith((_CORE, __file__)):
            continue
        where = f"{PurePath(code.co_filename).name}:{line}"
        owner = frame.f_locals.get("self")
        if owner is not None:
            method = f"{type(owner).__name__}.{code.co_name}"
    return method, where


class Engine:
    """Scores, learns and monitors in one process.

    A label is learned as soon as it joins, and the next event is scored by the new version: the
    number of a version is the number of examples before it. The model starts untrained, whatever
    the pipeline says about untrained models. Times are in Unix milliseconds.

    Args:
        pipeline: pipeline as `load_pipeline` returns it.
        knows_labels: True if every label is joined before an event of a later time is scored, so
            that a missing one is absent.
        schemas: writer schemas that Avro records refer to.

    Attributes:
        dead_letters: dead letters of events and labels, oldest first.
        monitoring: measurements, in the form of `schemas/monitoring.avsc`.
        alarms: alarms of the monitor, in the form of `schemas/alarm.avsc`.
        observers: functions that get every example before it is learned.
        label_delays: time from an event to its label, in milliseconds.
        learning_times: time to evaluate and learn one example, in nanoseconds.
        learning_failure: reason why the first such example was not learned.
        model: model version that scores the next event.

    Raises:
        ModelError: the learner would reject the model.
    """

    def __init__(
        self, pipeline: Pipeline, *, knows_labels: bool = True, schemas: Schemas = NO_SCHEMAS
    ) -> None:
        self.pipeline = pipeline
        self._knows_labels = knows_labels
        self._schemas = schemas
        self.dead_letters: list[DeadLetterOutcome] = []
        self.monitoring: list[dict[str, Any]] = []
        self.alarms: list[dict[str, Any]] = []
        self.observers: list[Callable[[Example], None]] = []
        self.label_delays = DelayQuantiles(exact=_EXACT_DELAYS)
        self.learning_times = DelayQuantiles()
        self.learning_failure: LearningFailure | None = None
        self.task = task_of(pipeline)
        self._fingerprint = fingerprint(pipeline)
        load(dump(pipeline.model()), pipeline_names(pipeline.model, pipeline.features))
        self._scorer = make_scorer(pipeline, self._fingerprint)
        self._learner = Learner(pipeline, self._fingerprint)
        self._monitor = StreamMonitor(pipeline)
        # Times that the events and the clock have passed, to the step.
        self._passed = self._passed_clock = NEVER
        self._evaluator = make_evaluator(pipeline)
        self._examples = 0
        self._serve()

    @property
    def record_counts(self) -> RecordCounts:
        """Counts of the outcomes of all records."""
        return self._scorer.state.counts

    @property
    def learner(self) -> LearnerState:
        """State of the learner, with the model."""
        return self._learner.state

    def set_rules(self, rules: LearningRules) -> None:
        """Evaluate from now on, and do not learn, what the rules cover."""
        self.learner.control.set_rules(rules)

    def metrics(self) -> dict[str, float]:
        """Return every defined metric and baseline over all predictions that have a label."""
        return self._evaluator.metrics()

    def score(self, record: Record, now: int) -> EventOutcome:
        """Process a raw record.

        Args:
            record: record of `<p>.raw`.
            now: time of the workers' clock.
        """
        outputs = self._scorer.score([record], self.model, now, self._schemas)
        dead_letter = self._deliver(outputs, now).get((record.topic, record.offset))
        if dead_letter is not None:
            return EventOutcome("dead-lettered", dead_letter=dead_letter)
        scored = next((output for output in outputs if output.topic == "scored"), None)
        if scored is None:
            return EventOutcome(
                "retrying" if self._scorer.state.retries.last_attempt(record) else "duplicate"
            )
        content: ScoredRecord = orjson.loads(scored.value or b"")
        return EventOutcome(
            "scored", content, self._features(scored.key, content["event_id"], outputs)
        )

    def reject(
        self, record: Record, failure: Failure, now: int, *, label: bool
    ) -> DeadLetterOutcome:
        """Return the dead letter of a record of a source that `ingest` does not forward."""
        outputs = self._scorer.reject(record, failure, self.model, now, label=label)
        return self._deliver(outputs, now)[record.topic, record.offset]

    def join(self, record: Record, now: int) -> LabelOutcome:
        """Process a label record; arguments as for `score`."""
        counts = self.record_counts
        before = counts.label_duplicates, counts.label_expired, counts.contradicting
        outputs = self._scorer.join([record], self.model, now, self._schemas)
        dead_letter = self._deliver(outputs, now).get((record.topic, record.offset))
        if dead_letter is not None:
            return LabelOutcome("dead-lettered", dead_letter=dead_letter)
        example = _example(outputs, self.task)
        if example is not None:
            return LabelOutcome("joined", example)
        counts = self.record_counts
        duplicates, expired, contradicting = before
        if counts.label_duplicates > duplicates:
            return LabelOutcome("duplicate")
        if counts.contradicting > contradicting:
            return LabelOutcome("contradicting")
        return LabelOutcome("expired" if counts.label_expired > expired else "waiting")

    def retry(self, now: int) -> None:
        """Retry the records with a transient failure whose time has come."""
        self._deliver([], now)

    def end_labels(self) -> None:
        """From now on, a label that does not come may be one that was not sent yet."""
        self._knows_labels = False

    def pass_time(self, now: int) -> None:
        """Close all that is due at `now`, as after the last event of the input."""
        clock = self._scorer.state.clock
        clock.events.promise(now)
        clock.labels.promise(now)
        self._deliver([], now)

    def _deliver(self, outputs: list[Output], now: int) -> dict[tuple[str, int], DeadLetterOutcome]:
        """Consume the outputs, then do what idle workers do; return the dead letters by origin."""
        due = self._scorer.state.retries.due(now)
        outputs = outputs + self._scorer.retry(due, self.model, now, self._schemas)
        for output in outputs:
            if output.topic == "scored":
                scored: ScoredRecord = orjson.loads(output.value or b"")
                self._monitor.scored(scored, output.key, self._passed)
        for example in _examples(outputs, self.task):
            self._learn(example)
        clock = self._scorer.state.clock
        if self._knows_labels:
            clock.labels.promise(clock.events.advance())
        else:
            clock.labels.idle_ms = clock.idle_after
        while expired := self._scorer.expire(self.model, now):
            outputs += expired
            for example in _examples(expired, self.task):
                self._learn(example)
        self._pass_times()
        dead_letters = [
            DeadLetterOutcome.of(output) for output in outputs if output.topic.endswith(".dlq")
        ]
        self.dead_letters += dead_letters
        return {dead_letter.origin: dead_letter for dead_letter in dead_letters}

    def _learn(self, example: Example) -> None:
        self._evaluator.add(example)
        for observe in self.observers:
            observe(example)
        if not example.assumed:
            self.label_delays.add(example.label_time - example.event_time)
        started = perf_counter_ns()
        outputs = self._learner.learn(self._examples, example)
        self.learning_times.add(perf_counter_ns() - started)
        if self.learning_failure is None and self.learner.unlearnable:
            self.learning_failure = explain_learning_failure(self.learner.learned, example)
        self._report(outputs)
        self._monitor.example(example, self._examples)
        self._examples += 1
        self._serve()

    def _serve(self) -> None:
        """Score with what has been learned so far."""
        learned, evaluator = self.learner.learned, self.learner.evaluator
        self.model = LoadedModel(
            self.pipeline.name,
            self._examples,
            self._fingerprint,
            learned.model,
            self.task,
            evidence=ModelEvidence(
                self.task.prior(evaluator.baseline), learned.examples, learned.features
            ),
        )

    def _pass_times(self) -> None:
        """Close the windows that the only partition has passed."""
        clock = self._scorer.state.clock
        events = floor_time(max(clock.events.watermark, clock.time), STEP_MS)
        if events > self._passed:
            self._passed = events
            self._report(self._monitor.pass_events(events))
        time = floor_time(clock.time, STEP_MS)
        if time > self._passed_clock:
            self._passed_clock = time
            self._report(self._monitor.pass_clock(time))

    def _report(self, outputs: list[Output]) -> None:
        for output in outputs:
            if is_detector_state(output):
                continue
            found = self.alarms if output.topic == "alarms" else self.monitoring
            found.append(orjson.loads(output.value or b""))

    def _features(self, key: bytes | None, event_id: str, outputs: list[Output]) -> Features:
        """Return the features that the model got, from the prediction or from its example."""
        entry = self._scorer.state.find(self._scorer.identity(key, event_id))
        if isinstance(entry, PendingPrediction):
            return entry.features or {}
        example = _example(outputs, self.task)
        return {} if example is None else example.features


def make_evaluator(pipeline: Pipeline) -> Evaluator:
    """Return an evaluator with one window over all predictions."""
    return Evaluator(_ALL_TIME, task_of(pipeline))


def make_scorer(pipeline: Pipeline, pipeline_fingerprint: str) -> Scorer:
    """Return a scorer as the score worker makes it, with default limits."""
    label = pipeline.label
    state = PartitionState(
        0,
        label.horizon // _MILLISECOND,
        label.allowed_lateness // _MILLISECOND,
        pipeline.retry,
        idle_after=label.idle_time // _MILLISECOND,
        keyed=not key_is_id(pipeline),
    )
    config = ScorerConfig(
        fingerprint=pipeline_fingerprint,
        group=group_name(pipeline.name, "score"),
        app_version=app_version(),
        max_bytes=TopicSettings().max_message_bytes - 1024,
        max_entries=WorkerSettings().max_state_entries,
    )
    return Scorer(pipeline, config, state, perf_counter)


def _example(outputs: list[Output], task: PredictionTask) -> Example | None:
    """Return the first example with a real label among the outputs, if there is one."""
    return next((one for one in _examples(outputs, task) if not one.assumed), None)


def _examples(outputs: list[Output], task: PredictionTask) -> Iterator[Example]:
    """Yield the examples among the outputs, decoded as the learner decodes them."""
    decoded = (
        decode_example(output.value, task) for output in outputs if output.topic == "examples"
    )
    return (example for example in decoded if isinstance(example, Example))
