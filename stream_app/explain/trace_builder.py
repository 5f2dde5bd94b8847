"""The story of one event, put together from its records, the registry and the store."""

from typing import Any

from confluent_kafka import Message

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.example import Example
from stream_app.core.learning.examples_log import decode_example
from stream_app.core.reading.record_reader import LabelReader
from stream_app.core.reading.user_functions import CleanedRecord
from stream_app.core.scored_record import PREDICTION_FIELDS
from stream_app.core.scoring.predictor import NO_VERSION
from stream_app.error_codes import ERROR_CODES
from stream_app.errors import ModelError, SelectionError
from stream_app.explain.event_finder import (
    EventFinder,
    EventRecords,
    dead_letter,
    label_state,
    place,
    sent,
    source,
    was_scored,
)
from stream_app.explain.event_trace import (
    Again,
    Change,
    EventTrace,
    FailedAttempt,
    LearnedVersion,
    PreparedInput,
    ReplaySent,
)
from stream_app.explain.first_learner import first_learner
from stream_app.formatting import iso_time
from stream_app.kafka.log_reader import as_record
from stream_app.model_admin.version_checks import AWAY, Checker
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.offline.stage_timing import Stages
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, Features, Fields

_END_OF_TIME = 2**53


class TraceBuilder:
    """Tells the story of events of one pipeline."""

    def __init__(
        self, pipeline: Pipeline, finder: EventFinder, registry: ModelRegistry, checker: Checker
    ) -> None:
        self._pipeline = pipeline
        self._finder = finder
        self._registry = registry
        self._checker = checker

    def tell(self, event_id: str) -> EventTrace:
        """The story; SelectionError if no record is about such an event."""
        traces = self._finder.find()
        if not traces.found:
            raise SelectionError(
                f"No record of {self._pipeline.name} is about an event {event_id}",
                "Correct EVENT_ID; without --since all that the topics still have is searched",
            )
        message = next(iter(traces.of("scored")), None)
        scored = self._finder.fields(message) if message is not None else None
        example = self._example(message)
        raw, deleted = self._raw(traces, scored)
        events = [self._event(traces, one, scored) for one in raw]
        origin = next(
            (one for one, event in zip(raw, events, strict=True) if event.became == "scored"), None
        )
        prepared = self._prepared(origin or (raw[-1] if raw and scored is None else None))
        return EventTrace(
            event_id,
            "scored" if scored is not None else events[-1].became if events else "not there yet",
            events,
            deleted,
            prepared,
            scored,
            self._again(scored, prepared, example[1] if example else None)
            if scored is not None
            else None,
            label_state(traces, joined=example is not None),
            self._labels(traces, example[1] if example else None),
            self._learned(*example) if example is not None else None,
        )

    def _example(self, scored: Message | None) -> tuple[int, Example] | None:
        if scored is None:
            return None
        found = self._finder.example(scored.timestamp()[1])
        example = (
            decode_example(found.value(), task_of(self._pipeline)) if found is not None else None
        )
        return (
            (found.offset() or 0, example)
            if found is not None and isinstance(example, Example)
            else None
        )

    def _raw(self, traces: EventRecords, scored: Fields | None) -> tuple[list[Message], bool]:
        """The raw records, with the one that was scored even if it is older than what was searched."""
        records = traces.of("raw") + traces.of("raw.replay")
        if scored is None or any(place(record) == source(scored) for record in records):
            return records, False
        older = self._finder.record_at(*source(scored))
        return ([] if older is None else [older]) + records, older is None

    def _event(self, traces: EventRecords, record: Message, scored: Fields | None) -> ReplaySent:
        dead = dead_letter(traces.of("raw.dlq"), record)
        if scored is not None and place(record) == source(scored):
            became = "scored"
        elif dead is not None:
            became = "dead-lettered"
        elif (record.offset() or 0) >= traces.positions.get(record.topic() or "", 0):
            became = "not processed yet"
        elif scored is not None:
            became = "duplicate"
        else:
            became = (
                "scored, but that record is gone"
                if was_scored(traces)
                else "waiting to be tried again"
            )
        return sent(record, became, dead)

    def _labels(self, traces: EventRecords, example: Example | None) -> list[ReplaySent]:
        """The label's records; the first one that says what was learned is the one that was joined."""
        found: list[ReplaySent] = []
        for record in traces.of("labels"):
            joined = any(one.became == "joined" for one in found)
            found.append(self._label(traces, record, None if joined else example))
        return found

    def _label(self, traces: EventRecords, record: Message, example: Example | None) -> ReplaySent:
        dead = dead_letter(traces.of("labels.dlq"), record)
        label = LabelReader(self._pipeline).read(
            as_record(record), _END_OF_TIME, self._finder.schemas
        )
        if dead is not None:
            became = "dead-lettered"
        elif (record.offset() or 0) >= traces.positions.get(record.topic() or "", 0):
            became = "not processed yet"
        elif not traces.of("scored"):
            became = "waiting for its event"
        elif (
            example is not None
            and not isinstance(label, Failure)
            and label.label_time == example.label_time
        ):
            became = "joined"
        else:
            became = "not counted: it came twice, or became known after the horizon"
        return sent(record, became, dead)

    def _prepared(self, record: Message | None) -> PreparedInput | None:
        """Of the scored record, or of the last one that was not."""
        if record is None:
            return None
        made = dict(Stages(self._pipeline).of(as_record(record), self._finder.schemas))
        before, cleaned, last = made.get("validate", {}), made.get("clean"), list(made.values())[-1]
        failed = (
            FailedAttempt(last.code, last.message, ERROR_CODES[last.code].remedy)
            if isinstance(last, Failure)
            else None
        )
        if not isinstance(cleaned, CleanedRecord):
            return PreparedInput({}, (), None, failed)
        after = cleaned.fields
        pairs = {name: Change(before.get(name), after.get(name)) for name in {**before, **after}}
        changed = {name: pair for name, pair in pairs.items() if pair.before != pair.after}
        return PreparedInput(changed, cleaned.imputed, None if failed else last, failed)

    def _again(
        self, scored: Fields, prepared: PreparedInput | None, example: Example | None
    ) -> Again:
        version = scored["model"]["version"]
        if version == NO_VERSION:
            return Again(None, None, "the pipeline's rule made the score, because the model failed")
        if scored["fingerprint"] != self._checker.fingerprint:
            return Again(None, None, "the pipeline has changed since, in what decides a score")
        if version not in self._registry.versions:
            return Again(None, None, f"version {version} is not kept any more")
        features = _features(scored, prepared, example)
        if features is None:
            return Again(None, None, "the raw record is gone, and its features are in no example")
        try:
            manifest = self._registry.versions[version]
            model = self._checker.load(manifest)
            score = model.score(features)
            parts = contributions(self._checker.river_model(manifest), features)
        except (ModelError, *AWAY) as error:
            return Again(None, None, str(error))
        equal = all(
            scored[name] == value
            for name, value in zip(
                PREDICTION_FIELDS, model.task.prediction_fields(score), strict=True
            )
        )
        return Again(score, equal, None, parts)

    def _learned(self, offset: int, example: Example) -> LearnedVersion:
        was_held = self._registry.learning is not None
        before = self._finder.last_hold(offset) if was_held else None
        found = first_learner(self._registry, offset, before, self._finder.decisions)
        return LearnedVersion(offset, example.label, iso_time(example.label_time), *found)


def _features(
    scored: Fields, prepared: PreparedInput | None, example: Example | None
) -> Features | None:
    """Those that the score was made of: as they were kept, or else computed again."""
    if example is not None:
        return example.features
    published: Features | None = scored["features"]
    return published or (prepared.features if prepared is not None else None)


INTERCEPT = "(intercept)"


def contributions(model: Any, features: Features) -> dict[str, float] | None:
    """Weight times value of everything that a chain's logistic regression sees, the largest first; None for others.

    They add up to the logit of the score.

    >>> from math import exp
    >>> from river import linear_model, preprocessing
    >>> model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    >>> for x in (1.0, 2.0, 3.0):
    ...     model.learn_one({"x": x}, x > 1.5)
    >>> parts = contributions(model, {"x": 3.0})
    >>> list(parts), round(1 / (1 + exp(-sum(parts.values()))) - model.predict_proba_one({"x": 3.0})[True], 12)
    (['x', '(intercept)'], 0.0)
    """
    from river import compose, linear_model

    steps = list(model.steps.values()) if type(model) is compose.Pipeline else [model]
    if type(steps[-1]) is not linear_model.LogisticRegression:
        return None
    seen: Any = features
    for step in steps[:-1]:
        seen = step.transform_one(seen)
    weights = steps[-1].weights
    found = {name: float(value * weights.get(name, 0.0)) for name, value in seen.items()}
    found[INTERCEPT] = float(steps[-1].intercept)
    return dict(sorted(found.items(), key=lambda one: -abs(one[1])))
