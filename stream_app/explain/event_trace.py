"""What there is to tell about one event."""

from typing import Any, NamedTuple

from stream_app.records import Features, Fields


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
