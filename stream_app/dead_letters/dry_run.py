"""Dry run of dead letters with the current pipeline and model: nothing is written or sent."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from stream_app.clock import now_ms
from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.reading.decoding import Schemas
from stream_app.core.reading.envelopes import Skipped
from stream_app.core.reading.event_time import NEVER
from stream_app.core.reading.replayed_selection import ReplayedIntake
from stream_app.core.reading.selection import Forwarded
from stream_app.core.scoring.dead_letter import FailureContext
from stream_app.core.scoring.dead_letter import dead_letter as make_dead_letter
from stream_app.core.scoring.model_protocols import Model
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.dead_letters.dead_letter_reader import DeadLetter, DeadLetterRef
from stream_app.dead_letters.dead_letter_rendering import origin_text
from stream_app.dead_letters.replay_records import INPUTS, EditFailure, RecordEditor
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.error_codes import ERROR_CODES, ErrorClass, Stage
from stream_app.errors import ModelError, StoreError
from stream_app.headers import (
    ERROR_CODE,
    ERROR_FINGERPRINT,
    ERROR_MESSAGE,
    ERROR_STACKTRACE,
    own_header_texts,
)
from stream_app.kafka.offsets import OffsetBounds
from stream_app.kafka.partition_reader import SILENCE_SECONDS, PartitionReader
from stream_app.kafka.partitioner import partitioner_of
from stream_app.kafka.topic_uses import group_name
from stream_app.model_store.artifacts import pipeline_store
from stream_app.model_store.key_files import trusted_keys
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_loading import LoadedModel, ModelEvidence, load_version
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.pipeline import Pipeline, direct_source
from stream_app.records import Failure, Output, Record
from stream_app.resilience import Retry
from stream_app.settings import Settings
from stream_app.status.record_counts_reading import PartitionCounts, read_record_counts
from stream_app.telemetry.metrics import app_version
from stream_app.topic_kinds import DeadLetterKind, TopicKind, topic_name
from stream_app.transfer.record_rendering import sanitize_for_terminal
from stream_app.worker.roles.ingest_outputs import size_problem

_MILLISECOND = timedelta(milliseconds=1)
_NO_RETRY = Retry(max_attempts=1)


@dataclass(frozen=True, slots=True)
class RepeatedFailure:
    """Failure that a record would meet again.

    Attributes:
        code: error code.
        message: description without values.
        fingerprint: fingerprint of the cause.
        location: line of the pipeline's own code that raised an exception, e.g. "orders.py:31".
    """

    code: str
    message: str
    fingerprint: str
    location: str | None

    @property
    def remedy(self) -> str:
        """Remedy for the error."""
        return ERROR_CODES[self.code].remedy


class RecordEvaluator:
    """Scores each record as if it were the only one.

    Earlier records affect neither duplicates nor the breaker. Labels are only checked: whether
    their events are known, the scorers alone can tell.

    Args:
        settings: settings of the workers.
        pipeline: loaded pipeline.
        model: model to score with.
        oldest: time of the oldest event that each partition's scorer accepts, in Unix milliseconds.
            Older ones fail with `event-too-late`.
        partitions: number of partitions of the pipeline's topics.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        model: Model,
        oldest: Mapping[int, int],
        partitions: int = 1,
    ) -> None:
        self._name = pipeline.name
        self._partitioner = partitioner = partitioner_of(pipeline)
        self._is_direct = direct_source(pipeline) is not None
        placement = partitioner.placement(lambda: partitions) if self._is_direct else None
        self._intake = ReplayedIntake.of(pipeline)
        self._partitions = partitions
        self._max_bytes = settings.topics.max_message_bytes
        self._horizon = pipeline.label.horizon // _MILLISECOND
        self._lateness = pipeline.label.allowed_lateness // _MILLISECOND
        self._model = model
        self._oldest = oldest
        self._now = now_ms()
        config = ScorerConfig(
            fingerprint=fingerprint(pipeline),
            group=group_name(pipeline.name, "score"),
            app_version=app_version(),
            # The limit of the workers' scorers.
            max_bytes=settings.topics.max_message_bytes - 1024,
            max_entries=settings.worker.max_state_entries,
            placement=placement,
        )
        self._scorer = Scorer(pipeline, config, self._state(0), time.perf_counter)

    def failure(
        self, kind: DeadLetterKind, record: Record, schemas: Schemas
    ) -> RepeatedFailure | Skipped | None:
        """Return the failure of a record, or None if it would be scored or kept as a label.

        A record of a direct source that would be left out has that outcome.
        """
        scorer = self._scorer
        if self._is_direct and kind == "raw.dlq":
            record = self._as_replayed(record)
        state = self._state(record.partition)
        if kind == "labels.dlq":
            # Its prediction may be open, however old the label is.
            state = self._state(-1)
        scorer.reset(state)
        process = scorer.join if kind == "labels.dlq" else scorer.score_direct
        outputs = process([record], self._model, self._now, schemas)
        if state.counts.filtered:
            return "filtered"
        if state.counts.tombstones:
            return "tombstone"
        return next((_failure_of(output) for output in outputs if output.topic == kind), None)

    def _as_replayed(self, record: Record) -> Record:
        """Return an event as a replay sends it: to the partition of its key."""
        partition = record.partition
        if record.key:
            partition = self._partitioner.place(record.key, self._partitions)
        return record._replace(topic=topic_name(self._name, "raw.replay"), partition=partition)

    def outcome(self, dead_letter: DeadLetter, record: Record) -> RepeatedFailure | Skipped | None:
        """Return `failure` of a dead letter's record; of one of `ingest`, as it is forwarded.

        A record that `ingest` would not forward has the outcome that it would get.
        """
        kind = dead_letter.ref.kind
        if not dead_letter.is_of_ingest:
            return self.failure(kind, record, dead_letter.schemas)
        found = self._forwarded(kind, record, dead_letter.schemas)
        if isinstance(found, Failure):
            context = FailureContext("", "", "", "")
            again = make_dead_letter(kind, record, found, context, self._now, stage=Stage.INGEST)
            return _failure_of(again)
        return found if isinstance(found, str) else self.failure(kind, found, dead_letter.schemas)

    def _forwarded(
        self, kind: DeadLetterKind, record: Record, schemas: Schemas
    ) -> Record | Skipped | Failure:
        """Return a record of a source as `ingest` would forward it."""
        target = INPUTS[kind]
        found = self._intake.read(target, record, schemas)
        if not isinstance(found, Forwarded):
            return found
        partition = self._partitioner.place(found.key, self._partitions)
        output = Output(target, partition, found.key, record.value, found.headers)
        return size_problem(output, self._max_bytes) or Record(
            topic_name(self._name, target),
            partition,
            record.offset,
            record.timestamp,
            found.key,
            record.value,
            found.headers,
        )

    @property
    def is_degraded(self) -> bool:
        """True if the fallback scored the last event."""
        return bool(self._scorer.degraded_cause)

    def _state(self, partition: int) -> PartitionState:
        state = PartitionState(partition, self._horizon, self._lateness, _NO_RETRY)
        state.oldest_event = self._oldest.get(partition, NEVER)
        return state


class CurrentEvaluator(NamedTuple):
    """Evaluator with the current model, and a description of that model."""

    evaluator: RecordEvaluator
    model: str


def open_evaluator(
    settings: Settings, pipeline: Pipeline, version: int | None = None
) -> CurrentEvaluator:
    """Return an evaluator of a loaded pipeline.

    Args:
        version: model version to score with. Without it, the served version is used, or an
            untrained model if there is none or it cannot be loaded.

    Raises:
        ModelError: the given version cannot be loaded.
        TopicsError: a topic is missing.
        AccessError: a topic may not be read.
        KafkaUnavailableError: the cluster does not answer.
    """
    with _open_topic(settings, pipeline.name, "models") as (reader, bounds):
        registry = ModelRegistry.of(
            (message.key(), message.value()) for message in reader.records(bounds)
        )
    if version is None:
        model, description = _served_model(settings, pipeline, registry)
    else:
        model = _load(settings, pipeline, registry.manifest(version), fingerprint(pipeline))
        description = f"version {version}"
    with _open_topic(settings, pipeline.name, "score.state") as (reader, bounds):
        counts = read_record_counts(reader, bounds)
    oldest = {partition: one.oldest_event for partition, one in counts.items()}
    evaluator = RecordEvaluator(settings, pipeline, model, oldest, len(bounds))
    return CurrentEvaluator(evaluator, description)


def read_partition_counts(settings: Settings, pipeline: str) -> dict[int, PartitionCounts]:
    """Return each partition's counts as of its last transaction; raises as `open_evaluator`."""
    with _open_topic(settings, pipeline, "score.state") as (reader, bounds):
        return read_record_counts(reader, bounds)


def _failure_of(output: Output) -> RepeatedFailure:
    headers = own_header_texts(output.headers)
    lines = re.findall(
        r'File "(?:[^"]*[/\\])?([^"]+)", line (\d+)', headers.get(ERROR_STACKTRACE, "")
    )
    return RepeatedFailure(
        headers[ERROR_CODE],
        headers[ERROR_MESSAGE],
        headers[ERROR_FINGERPRINT],
        ":".join(lines[-1]) if lines else None,
    )


@contextmanager
def _open_topic(
    settings: Settings, pipeline: str, kind: TopicKind
) -> Iterator[tuple[PartitionReader, OffsetBounds]]:
    with PartitionReader.open(settings, silence=SILENCE_SECONDS) as reader:
        yield reader, reader.topic_bounds([topic_name(pipeline, kind)])


def _served_model(
    settings: Settings, pipeline: Pipeline, registry: ModelRegistry
) -> tuple[Model, str]:
    current, version = fingerprint(pipeline), registry.served
    task = task_of(pipeline)
    evidence = ModelEvidence(task.prior(task.new_baseline()), 0, frozenset())
    untrained = LoadedModel(pipeline.name, 0, current, pipeline.model(), task, evidence=evidence)
    if version is None:
        return untrained, "an untrained model, because no version is served"
    try:
        model = _load(settings, pipeline, registry.current, current)
    except (ModelError, StoreError) as error:
        return untrained, f"an untrained model, because version {version} cannot be loaded: {error}"
    return model, f"version {version}"


def _load(
    settings: Settings, pipeline: Pipeline, manifest: Manifest, current_fingerprint: str
) -> LoadedModel:
    store, keys = pipeline_store(settings, pipeline.name), trusted_keys(settings, pipeline.name)
    return load_version(store, manifest, pipeline, current_fingerprint, keys)


@dataclass(slots=True)
class FailureSummary:
    """Dead letters that would fail again, or could not be edited, for one reason.

    Attributes:
        code: error code, or "edit-failed".
        message: description of the failure.
        location: line of the user's code that raised an exception, e.g. "orders.py:31".
        remedy: what to do about it.
        sample: the first of the dead letters.
        count: number of dead letters.
    """

    code: str
    message: str
    location: str | None
    remedy: str
    sample: DeadLetterRef
    count: int = 0


@dataclass(slots=True)
class PreviewResult:
    """Number of dead letters by outcome.

    `evaluated` is the sum of all other numbers and of the counts in `failing`.

    Attributes:
        evaluated: dead letters in total.
        passed: events that would be scored by the model.
        degraded: events that would be scored by the fallback.
        labels: labels that can be read. Whether their events are known, only a worker can tell.
        filtered: records of sources that `ingest` would leave out, by filter or envelope.
        tombstones: records of sources that `ingest` would count as tombstones.
        skipped: dead letters for which the edit function returns None.
        value_not_stored: dead letters whose value was too large or unreadable, so not stored.
        poison: dead letters that crashed or hung a worker. They are not run in a preview.
        failing: failures by cause, in the order of their first dead letter.
    """

    evaluated: int = 0
    passed: int = 0
    degraded: int = 0
    labels: int = 0
    filtered: int = 0
    tombstones: int = 0
    skipped: int = 0
    value_not_stored: int = 0
    poison: int = 0
    failing: list[FailureSummary] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of `dead-letters try --json`."""
        failing = [asdict(one) | {"sample": _sample(one.sample)} for one in self.failing]
        return asdict(self) | {"failing": failing}

    def lines(self, model: str) -> Iterator[str]:
        """Yield the lines of `dead-letters try`."""
        yield f"{self.evaluated:,} dead letters tried with {model}; nothing was sent"
        for count, outcome in (
            (self.passed, "would pass"),
            (self.degraded, "would be scored by the fallback, because the model fails"),
            (self.labels, "labels can be read; only a worker knows whether their events exist"),
            (self.filtered, "would be filtered by their source"),
            (self.tombstones, "would be tombstones of their source"),
            (self.skipped, "are skipped by the edit function"),
            (
                self.value_not_stored,
                "have no stored value, too large or unreadable: send them from their source",
            ),
            (
                self.poison,
                "crashed or hung a worker and are not run here: export one and try it by itself",
            ),
        ):
            if count:
                yield f"{count:>9,} {outcome}"
        for failing in sorted(self.failing, key=lambda one: -one.count):
            location = f" ({failing.location})" if failing.location else ""
            message = sanitize_for_terminal(failing.message)
            yield f"{failing.count:>9,} would fail: {failing.code}: {message}{location}"
            sample = failing.sample
            yield f"{'':>9} e.g. {sample.error_id} at {origin_text(sample)}. {failing.remedy}"


class Preview:
    """Evaluates dead letters one by one, each as if it were the only one.

    Attributes:
        result: outcomes of the dead letters added so far.
    """

    def __init__(self, evaluator: RecordEvaluator, editor: RecordEditor) -> None:
        self.result = PreviewResult()
        self._evaluator = evaluator
        self._editor = editor
        self._failing: dict[str, FailureSummary] = {}

    def add(self, dead_letter: DeadLetter) -> None:
        """Evaluate one dead letter and count its outcome."""
        result, ref = self.result, dead_letter.ref
        result.evaluated += 1
        if dead_letter.error_class == ErrorClass.POISON:
            result.poison += 1
        elif dead_letter.is_shortened:
            result.value_not_stored += 1
        elif (edited := self._editor(dead_letter)) is None:
            result.skipped += 1
        elif isinstance(edited, EditFailure):
            remedy = "Correct the function."
            summary = FailureSummary("edit-failed", edited.reason, edited.location, remedy, ref)
            self._add_failure(f"edit {edited}", summary)
        else:
            record = dead_letter.original_record()._replace(key=edited.key, value=edited.value)
            self._count(ref, self._evaluator.outcome(dead_letter, record))

    def _count(self, ref: DeadLetterRef, failure: RepeatedFailure | Skipped | None) -> None:
        if failure == "filtered":
            self.result.filtered += 1
        elif failure == "tombstone":
            self.result.tombstones += 1
        elif isinstance(failure, RepeatedFailure):
            summary = FailureSummary(
                failure.code, failure.message, failure.location, failure.remedy, ref
            )
            self._add_failure(f"{ref.kind} {failure.fingerprint}", summary)
        elif ref.kind == "labels.dlq":
            self.result.labels += 1
        elif self._evaluator.is_degraded:
            self.result.degraded += 1
        else:
            self.result.passed += 1

    def _add_failure(self, cause: str, summary: FailureSummary) -> None:
        if cause not in self._failing:
            self._failing[cause] = summary
            self.result.failing.append(summary)
        self._failing[cause].count += 1


def _sample(ref: DeadLetterRef) -> dict[str, Any]:
    return {"error_id": ref.error_id, "origin": ref.origin._asdict()}
