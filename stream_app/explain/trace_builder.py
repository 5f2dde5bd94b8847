"""Builds the trace of one event from its records, the model registry and the model store."""

from datetime import timedelta
from typing import Any, cast

from confluent_kafka import Message

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.examples import Example, decode_example, label_source
from stream_app.core.learning.control_commands import ControlState
from stream_app.core.published_records import NO_VERSION, PREDICTION_FIELDS, ScoredRecord
from stream_app.core.reading.cleaning_steps import CleanedRecord
from stream_app.core.reading.direct_reading import DirectIntake
from stream_app.core.reading.envelopes import Skipped
from stream_app.core.reading.identity import key_is_id
from stream_app.core.reading.record_reader import LabelReader
from stream_app.error_codes import ERROR_CODES
from stream_app.errors import ModelError, SelectionError
from stream_app.explain.event_finder import EventFinder
from stream_app.explain.event_records import (
    EventRecords,
    position_of,
    source_position,
    traced_record,
)
from stream_app.explain.event_trace import (
    EventTrace,
    FailureDetail,
    FieldChange,
    LearnedVersion,
    PreparedInput,
    Rescoring,
    TracedRecord,
)
from stream_app.explain.first_learner import LoggedExample, first_learner
from stream_app.explain.label_knowledge import LabelKnowledge, label_state
from stream_app.formatting import iso_time
from stream_app.headers import REPLAY_LEARN
from stream_app.kafka.partition_reader import headers_of
from stream_app.kafka.retrying_reader import as_record
from stream_app.model_admin.version_checks import STORE_ERRORS, VersionLoader
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.offline.stage_timing import Stages
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, Features
from stream_app.topic_kinds import is_replay_topic

# Name of the model's intercept among the contributions.
INTERCEPT = "(intercept)"

_END_OF_TIME = 2**53


class TraceBuilder:
    """Builds traces of events of one pipeline.

    Args:
        pipeline: loaded pipeline.
        finder: finds the records about the event.
        registry: versions of the pipeline.
        checker: loads versions to score again.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        finder: EventFinder,
        registry: ModelRegistry,
        checker: VersionLoader,
    ) -> None:
        self._pipeline = pipeline
        self._finder = finder
        self._registry = registry
        self._checker = checker
        self._direct = DirectIntake.of(pipeline)

    def build(self, event_id: str) -> EventTrace:
        """Return the trace of the event.

        Raises:
            SelectionError: no record is about the event, or several events have the id.
        """
        records = self._finder.find()
        if not records.by_kind:
            keyed = not key_is_id(self._pipeline) and records.key is not None
            of_key = f" with the key {records.key}" if keyed else ""
            raise SelectionError(
                f"No record of {self._pipeline.name} is about an event {event_id}{of_key}",
                "Correct EVENT_ID, or omit --since to search everything that the topics hold",
            )
        scored_message = next(iter(records.of("scored")), None)
        fields = None if scored_message is None else self._finder.fields(scored_message)
        scored = cast(ScoredRecord | None, fields)
        offset, example = self._find_example(scored_message)
        raw, raw_deleted = self._raw_records(records, scored)
        traced = [self._trace_event(records, one, scored) for one in raw]
        scored_from = next(
            (one for one, event in zip(raw, traced, strict=True) if event.outcome == "scored"), None
        )
        events = [*records.only_dead("raw.dlq", raw), *traced]
        last_unscored = raw[-1] if raw and scored is None else None
        prepared = self._prepare(scored_from or last_unscored)
        known = self._known_about_label(records, scored, example, scored_from, events)
        if scored is not None:
            outcome = "scored"
        else:
            outcome = events[-1].outcome if events else "no event yet"
        return EventTrace(
            event_id,
            records.key,
            outcome,
            events,
            raw_deleted,
            prepared,
            scored,
            None if scored is None else self._rescore(scored, prepared, example),
            label_state(known),
            self._trace_labels(records, known),
            None if example is None else self._find_learner(offset, example),
        )

    def _find_example(self, scored: Message | None) -> tuple[int, Example | None]:
        """Return the event's example with its offset in the log."""
        found = None if scored is None else self._finder.example(scored.timestamp()[1])
        if found is None:
            return 0, None
        example = decode_example(found.value(), task_of(self._pipeline))
        return found.offset() or 0, example if isinstance(example, Example) else None

    def _raw_records(
        self, records: EventRecords, scored: ScoredRecord | None
    ) -> tuple[list[Message], bool]:
        """Return the raw records, and True if the one that was scored is deleted.

        The record that was scored is included even if it is older than the search.
        """
        found = records.of("raw") + records.of("raw.replay")
        if scored is None or source_position(scored) in map(position_of, found):
            return found, False
        older = self._finder.record_at(*source_position(scored))
        return ([] if older is None else [older]) + found, older is None

    def _trace_event(
        self, records: EventRecords, record: Message, scored: ScoredRecord | None
    ) -> TracedRecord:
        failure = records.failure("raw.dlq", record)
        if scored is not None and position_of(record) == source_position(scored):
            outcome = "scored"
        elif failure is not None:
            outcome = "dead-lettered"
        elif not records.is_processed(record):
            outcome = "not processed yet"
        elif (left_out := self._left_out(record)) is not None:
            outcome = left_out
        elif scored is not None:
            outcome = "duplicate"
        elif records.history.was_scored:
            outcome = "scored, but the scored record is deleted"
        else:
            outcome = "waiting for another attempt"
        return traced_record(record, outcome, failure)

    def _left_out(self, record: Message) -> Skipped | None:
        """Return the outcome of a record that the filter of a direct source leaves out."""
        if self._direct is None:
            return None
        result = self._direct.read(as_record(record), self._finder.schemas).result
        return None if isinstance(result, Failure) else result

    def _known_about_label(
        self,
        records: EventRecords,
        scored: ScoredRecord | None,
        example: Example | None,
        scored_from: Message | None,
        events: list[TracedRecord],
    ) -> LabelKnowledge:
        replayed = scored_from is not None and is_replay_topic(scored_from.topic() or "")
        headers = headers_of(scored_from) if scored_from is not None and replayed else ()
        return LabelKnowledge(
            None if scored is None else scored["label_due_by"],
            None if example is None else example.label_time,
            records.entry(None if scored is None else scored["event_time"]),
            records.removed_at,
            None if scored is None else scored["source"]["partition"],
            (REPLAY_LEARN, b"no") in headers,
            self._pipeline.label.allowed_lateness // timedelta(milliseconds=1),
            [one.failure for one in events if one.failure is not None],
            example is not None and example.assumed,
        )

    def _trace_labels(self, records: EventRecords, known: LabelKnowledge) -> list[TracedRecord]:
        """Return the label's records; at most one of them is joined or waits."""
        found = records.only_dead("labels.dlq", records.of("labels"))
        reader = LabelReader(self._pipeline)
        for record in records.of("labels"):
            label = reader.read(as_record(record), _END_OF_TIME, self._finder.schemas)
            time = None if isinstance(label, Failure) else label.label_time
            failure = records.failure("labels.dlq", record)
            if failure is not None:
                outcome, failure = (
                    "dead-lettered",
                    known.explained(failure, time, record.partition()),
                )
            elif not records.is_processed(record):
                outcome = "not processed yet"
            elif (other := records.other_keys.get(position_of(record))) is not None:
                outcome = f"it has another key, {other}: it is the label of another event"
            else:
                outcome = known.outcome(time, after=[one.outcome for one in found])
            found.append(traced_record(record, outcome, failure))
        return found

    def _prepare(self, record: Message | None) -> PreparedInput | None:
        """Return the preparation of a raw record by the current pipeline."""
        if record is None:
            return None
        sent = as_record(record)
        if self._direct is not None:
            sent = self._direct.marked(sent)
        results = dict(Stages(self._pipeline).of(sent, self._finder.schemas))
        last = list(results.values())[-1]
        failure = None
        if isinstance(last, Failure):
            failure = FailureDetail(last.code, last.message, ERROR_CODES[last.code].remedy)
        before, cleaned = results.get("validate", {}), results.get("clean")
        if not isinstance(cleaned, CleanedRecord):
            return PreparedInput({}, (), None, failure)
        after = cleaned.fields
        pairs = {
            name: FieldChange(before.get(name), after.get(name)) for name in {**before, **after}
        }
        changed = {name: pair for name, pair in pairs.items() if pair.before != pair.after}
        return PreparedInput(changed, cleaned.imputed, None if failure else last, failure)

    def _rescore(
        self, scored: ScoredRecord, prepared: PreparedInput | None, example: Example | None
    ) -> Rescoring:
        version = scored["model"]["version"]
        if version == NO_VERSION:
            return _not_rescored("the fallback rule made the score, because the model failed")
        if scored["fingerprint"] != self._checker.fingerprint:
            return _not_rescored("the fingerprint of the pipeline has changed since")
        if version not in self._registry.versions:
            return _not_rescored(f"version {version} is deleted")
        features = _features(scored, prepared, example)
        if features is None:
            return _not_rescored("the raw record is deleted, and no example has its features")
        try:
            manifest = self._registry.versions[version]
            model = self._checker.load(manifest)
            score = model.score(features)
            parts = contributions(self._checker.river_model(manifest), features)
        except (ModelError, *STORE_ERRORS) as error:
            return _not_rescored(str(error))
        values = model.task.prediction_fields(score)
        equal = all(
            scored[name] == value for name, value in zip(PREDICTION_FIELDS, values, strict=True)
        )
        return Rescoring(score, equal, None, parts)

    def _find_learner(self, offset: int, example: Example) -> LearnedVersion:
        logged = LoggedExample(offset, example.label_time, label_source(example))
        control = self._control_before(offset)
        found = first_learner(self._registry, logged, control, self._finder.decisions)
        return LearnedVersion(offset, example.label, iso_time(example.label_time), *found)

    def _control_before(self, offset: int) -> ControlState:
        """Return the pauses and exclusions in force before an offset of the log."""
        registry, control = self._registry, ControlState()
        if not (registry.source_learning or registry.exclusions):
            was_paused = registry.learning is not None
            before = self._finder.last_pause_or_resume(offset) if was_paused else None
            control.paused = before is not None and before.command == "pause"
            return control
        # Learning as a whole was not paused when a version was published.
        bases = [
            one
            for one in registry.versions.values()
            if one.origin == "learned" and one.version <= offset
        ]
        start = 0
        if bases:
            start = bases[-1].version
            control.set_rules(bases[-1].rules)
        for position, one in self._finder.decisions(start, offset) if start < offset else ():
            if not control.is_void(one):
                control.apply(position, one)
        return control


def contributions(model: Any, features: Features) -> dict[str, float] | None:
    """Return what each input of a chain's logistic regression adds to the logit of the score.

    A contribution is weight times value. The largest come first.

    Args:
        model: River model or pipeline.
        features: features of the event.

    Returns:
        Contributions by name of the input, or None if the model is not linear.

    >>> from math import exp
    >>> from river import linear_model, preprocessing
    >>> model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    >>> for x in (1.0, 2.0, 3.0):
    ...     model.learn_one({"x": x}, x > 1.5)
    >>> parts = contributions(model, {"x": 3.0})
    >>> list(parts)
    ['x', '(intercept)']
    >>> score = model.predict_proba_one({"x": 3.0})[True]
    >>> round(1 / (1 + exp(-sum(parts.values()))) - score, 12)
    0.0
    """
    from river import compose, linear_model

    steps = list(model.steps.values()) if type(model) is compose.Pipeline else [model]
    if type(steps[-1]) is not linear_model.LogisticRegression:
        return None
    inputs: Any = features
    for step in steps[:-1]:
        inputs = step.transform_one(inputs)
    weights = steps[-1].weights
    found = {name: float(value * weights.get(name, 0.0)) for name, value in inputs.items()}
    found[INTERCEPT] = float(steps[-1].intercept)
    return dict(sorted(found.items(), key=lambda one: -abs(one[1])))


def _not_rescored(problem: str) -> Rescoring:
    return Rescoring(None, None, problem)


def _features(
    scored: ScoredRecord, prepared: PreparedInput | None, example: Example | None
) -> Features | None:
    """Return the features of the score: stored ones if there are, else prepared again."""
    if example is not None:
        return example.features
    published: Features | None = scored["features"]
    return published or (prepared.features if prepared is not None else None)
