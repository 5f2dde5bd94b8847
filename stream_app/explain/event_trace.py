"""What there is to tell about one event."""

from typing import Any, NamedTuple
from stream_app.records import Features, Fields
from collections.abc import Iterator
from typing import Any
from stream_app.formatting import iso_time
from stream_app.transfer.record_rendering import harmless

class FailedAttempt(NamedTuple):
    """Why a record, or a stage of it, failed."""

    code: str
    message: str
    remedy: str


class ReplaySent(NamedTuple):
    """A record of an event or its label as it was sent; `time` is Kafka's, `became` what the workers made of it.

    `value` is text, or its bytes as ``{"base64": ...}``.
    """

    topic: str
    partition: int
    offset: int
    time: str
    became: str
    failed: FailedAttempt | None
    value: Any


class Change(NamedTuple):
    """A field's value, None where there is none."""

    before: Any
    after: Any


class PreparedInput(NamedTuple):
    """What the pipeline as it is now makes of the raw record: the fields that cleaning changed, and the features."""

    changed: dict[str, Change]
    imputed: tuple[str, ...]
    features: Features | None
    failed: FailedAttempt | None


class Again(NamedTuple):
    """The score as the artifact of its version gives it now; `problem` is why it does not.

    `contributions` are what each feature adds to its logit, of linear models only.
    """

    score: Any
    equal: bool | None
    problem: str | None
    contributions: dict[str, float] | None = None


class LearnedVersion(NamedTuple):
    """The example at `offset` of the log, and which version was the first to learn it; see `FirstLearner`."""

    offset: int
    label: Any
    label_time: str
    version: int | None
    first: bool
    why: str


class EventTrace(NamedTuple):
    """All about an event, the parts that do not apply empty; `outcome` and `label` are its state in words."""

    event_id: str
    outcome: str
    events: list[ReplaySent]
    raw_deleted: bool
    prepared: PreparedInput | None
    scored: Fields | None
    again: Again | None
    label: str
    labels: list[ReplaySent]
    learned: LearnedVersion | None


_SHOWN = 2000  # characters of a value
_WIDTH = 11


def story_object(story: EventTrace) -> dict[str, Any]:
    """All of it for programs."""
    return {name: _plain(value) for name, value in story._asdict().items()}


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: _plain(one) for name, one in value._asdict().items()}
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def story_lines(story: EventTrace) -> Iterator[str]:
    """All of it for people."""
    yield _line("event", f"{story.event_id}: {story.outcome}")
    if story.raw_deleted:
        yield _line("raw", "deleted by the topic's retention")
    for sent in story.events:
        yield from _sent("raw", sent)
    if story.prepared is not None:
        yield from _prepared(story.prepared)
    if story.scored is not None:
        yield from _scored(story.scored)
    if story.again is not None:
        yield _line("again", _again(story.again))
        if story.again.contributions is not None:
            parts = (f"{name} {value:+.3f}" for name, value in story.again.contributions.items())
            yield _line("adds up", "  ".join(parts))
    for sent in story.labels:
        yield from _sent("label", sent)
    if story.scored is not None or story.labels:
        yield _line("label", _label(story))
    if story.learned is not None:
        yield _line("learned", _learned(story.learned))


def _line(title: str, text: str) -> str:
    return harmless(f"{title:<{_WIDTH}}{text}")


def _sent(title: str, sent: ReplaySent) -> Iterator[str]:
    yield _line(title, f"{sent.topic}[{sent.partition}]@{sent.offset}  {sent.time}  {sent.became}")
    if sent.failed is not None:
        yield _line("", f"{sent.failed.code}: {sent.failed.message}. {sent.failed.remedy}")
    yield _line("", str(sent.value)[:_SHOWN])


def _prepared(prepared: PreparedInput) -> Iterator[str]:
    for name, (before, after) in prepared.changed.items():
        imputed = "  (imputed)" if name in prepared.imputed else ""
        yield _line("cleaned", f"{name}: {before!r} -> {after!r}{imputed}")
    if prepared.features is not None:
        yield _line(
            "features", "  ".join(f"{name}={value}" for name, value in prepared.features.items())
        )
    if prepared.failed is not None:
        yield _line(
            "fails now",
            f"{prepared.failed.code}: {prepared.failed.message}. {prepared.failed.remedy}",
        )


def _scored(scored: dict[str, Any]) -> Iterator[str]:
    by = f"version {scored['model']['version']}" + (
        f", degraded: {scored['degraded']}" if scored["degraded"] else ""
    )
    yield _line("scored", f"{scored['score']} by {by}: prediction {scored['prediction']}")


def _again(again: Again) -> str:
    if again.problem is not None:
        return f"the score cannot be computed again: {again.problem}"
    return (
        f"{again.score}, the same"
        if again.equal
        else f"{again.score}, which is NOT what was served"
    )


def _label(story: EventTrace) -> str:
    if story.label == "awaited" and story.scored is not None:
        return f"awaited until {iso_time(story.scored['label_due_by'])}"
    return story.label


def _learned(learned: LearnedVersion) -> str:
    said = f"{learned.label}, known since {learned.label_time}, at offset {learned.offset} of the examples"
    if learned.version is None:
        return f"{said}; {learned.why or 'no version after it yet'}"
    name = (
        "the first version with it"
        if learned.first
        else "the first version with it that is still kept"
    )
    return f"{said}; {name} is {learned.version}"
