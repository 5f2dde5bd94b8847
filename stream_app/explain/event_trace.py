"""Trace of one event, and its form as JSON and as text."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from stream_app.core.published_records import ScoredRecord
from stream_app.formatting import iso_time
from stream_app.records import Features
from stream_app.transfer.record_rendering import sanitize_for_terminal

# Characters of a value in the text.
_MAX_CHARACTERS = 2000

# Columns of the title before each line.
_TITLE_WIDTH = 15


class FailureDetail(NamedTuple):
    """Failure of a record: error code, description without values, and what to do about it."""

    code: str
    message: str
    remedy: str


class TracedRecord(NamedTuple):
    """Record of the event or its label on an input topic.

    Attributes:
        topic: full name of the topic.
        partition: partition of the topic.
        offset: offset in the partition.
        time: Kafka's timestamp in ISO 8601.
        outcome: what the scorers made of the record, in words.
        failure: failure of a dead letter, None otherwise.
        value: value as text, or its bytes as ``{"base64": ...}``.
    """

    topic: str
    partition: int
    offset: int
    time: str
    outcome: str
    failure: FailureDetail | None
    value: Any


class FieldChange(NamedTuple):
    """Value of a field before and after cleaning, None where the field is missing."""

    before: Any
    after: Any


class PreparedInput(NamedTuple):
    """Result of the current pipeline's cleaning and feature steps for the raw record.

    Attributes:
        changed: fields that cleaning changed.
        imputed: names of the fields that cleaning filled in.
        features: features, None if a step fails.
        failure: failure of a step, None if all pass.
    """

    changed: dict[str, FieldChange]
    imputed: tuple[str, ...]
    features: Features | None
    failure: FailureDetail | None


class Rescoring(NamedTuple):
    """Score that the artifact of the served version gives now.

    Attributes:
        score: the score, None if it cannot be computed.
        equal: True if it equals the served score exactly, None if it cannot be computed.
        problem: reason why it cannot be computed.
        contributions: what each feature adds to the logit, for linear models only.
    """

    score: Any
    equal: bool | None
    problem: str | None
    contributions: dict[str, float] | None = None


class LearnedVersion(NamedTuple):
    """Example of the event, and the first version that learned it; see `FirstLearner`.

    Attributes:
        offset: offset of the example in `<p>.examples`.
        label: label as joined.
        label_time: time of the label in ISO 8601.
        version: first stored version that learned the example.
        is_first: False if an earlier version may have been deleted.
        reason: reason why there is no version.
        is_certain: False if the example may have been one that could not be learned.
    """

    offset: int
    label: Any
    label_time: str
    version: int | None
    is_first: bool
    reason: str
    is_certain: bool = True


class EventTrace(NamedTuple):
    """Trace of one event; parts that do not apply are empty.

    Attributes:
        event_id: id of the event, as text.
        key: text of the event's key, None if no record has one.
        outcome: state of the event in words.
        events: records of the event.
        raw_deleted: True if retention has deleted the record that was scored.
        prepared: preparation of the raw record with the current pipeline.
        scored: fields of the scored record.
        rescored: the score computed again.
        label: state of the label in words.
        labels: records of the label.
        learned: the example and the version that learned it.
    """

    event_id: str
    key: str | None
    outcome: str
    events: list[TracedRecord]
    raw_deleted: bool
    prepared: PreparedInput | None
    scored: ScoredRecord | None
    rescored: Rescoring | None
    label: str
    labels: list[TracedRecord]
    learned: LearnedVersion | None


def trace_object(trace: EventTrace) -> dict[str, Any]:
    """Return the JSON object of `explain --json`."""
    return {name: _plain(value) for name, value in trace._asdict().items()}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: without named tuples, tuples and Avro's bytes."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def trace_lines(trace: EventTrace) -> Iterator[str]:
    """Yield the lines of `explain`."""
    yield _line("event", f"{trace.event_id}: {trace.outcome}")
    if trace.key not in (None, trace.event_id):
        yield _line("key", f"{trace.key}")
    if trace.raw_deleted:
        yield _line("raw", "deleted by the topic's retention")
    for record in trace.events:
        yield from _record_lines("raw", record)
    if trace.prepared is not None:
        yield from _prepared_lines(trace.prepared)
    if trace.scored is not None:
        yield _line("scored", _scored_text(trace.scored))
        if passed := trace.scored.get("fields"):
            values = (f"{name}={_plain(value)}" for name, value in passed.items())
            yield _line("fields", "  ".join(values)[:_MAX_CHARACTERS])
    if trace.rescored is not None:
        yield _line("rescored", _rescored_text(trace.rescored))
        if trace.rescored.contributions is not None:
            parts = trace.rescored.contributions.items()
            yield _line("contributions", "  ".join(f"{name} {part:+.3f}" for name, part in parts))
    for record in trace.labels:
        yield from _record_lines("label", record)
    if trace.scored is not None or trace.labels:
        yield _line("label", _label_text(trace))
    if trace.learned is not None:
        yield _line("learned", _learned_text(trace.learned))


def _line(title: str, text: str) -> str:
    return sanitize_for_terminal(f"{title:<{_TITLE_WIDTH}}{text}")


def _record_lines(title: str, record: TracedRecord) -> Iterator[str]:
    position = f"{record.topic}[{record.partition}]@{record.offset}"
    yield _line(title, f"{position}  {record.time}  {record.outcome}")
    if record.failure is not None:
        yield _line("", _failure_text(record.failure))
    yield _line("", str(record.value)[:_MAX_CHARACTERS])


def _failure_text(failure: FailureDetail) -> str:
    return f"{failure.code}: {failure.message}. {failure.remedy}"


def _prepared_lines(prepared: PreparedInput) -> Iterator[str]:
    for name, (before, after) in prepared.changed.items():
        imputed = "  (imputed)" if name in prepared.imputed else ""
        yield _line("cleaned", f"{name}: {before!r} -> {after!r}{imputed}")
    if prepared.features is not None:
        features = (f"{name}={value}" for name, value in prepared.features.items())
        yield _line("features", "  ".join(features))
    if prepared.failure is not None:
        yield _line("fails now", _failure_text(prepared.failure))


def _scored_text(scored: ScoredRecord) -> str:
    degraded = f", degraded: {scored['degraded']}" if scored["degraded"] else ""
    version = f"version {scored['model']['version']}{degraded}"
    return f"{scored['score']} by {version}: prediction {scored['prediction']}"


def _rescored_text(rescored: Rescoring) -> str:
    if rescored.problem is not None:
        return f"the score cannot be computed again: {rescored.problem}"
    comparison = "the same" if rescored.equal else "NOT the score that was served"
    return f"{rescored.score}, {comparison}"


def _label_text(trace: EventTrace) -> str:
    if trace.label == "awaited" and trace.scored is not None:
        return f"awaited until {iso_time(trace.scored['label_due_by'])}"
    return trace.label


def _learned_text(learned: LearnedVersion) -> str:
    example = (
        f"{learned.label}, known since {learned.label_time}, "
        f"at offset {learned.offset} of the examples"
    )
    if learned.version is None:
        return f"{example}; {learned.reason or 'no version has learned it yet'}"
    which = "the first version" if learned.is_first else "the first stored version"
    doubt = (
        ""
        if learned.is_certain
        else ", unless it could not be learned: of such examples, the version names only newer ones"
    )
    return f"{example}; {which} that learned it is {learned.version}{doubt}"
