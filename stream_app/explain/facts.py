"""What there is to tell about one event."""

from typing import Any, NamedTuple

from stream_app.core.records import Features, Fields
from stream_app.management.comparing import Pair


class Failed(NamedTuple):
    """Why a record, or a stage of it, failed."""

    code: str
    message: str
    remedy: str


class Sent(NamedTuple):
    """A record of an event or its label as it was sent; `time` is Kafka's, `became` what the workers made of it.

    `value` is text, or its bytes as ``{"base64": ...}``.
    """

    topic: str
    partition: int
    offset: int
    time: str
    became: str
    failed: Failed | None
    value: Any


class Prepared(NamedTuple):
    """What the pipeline as it is now makes of the raw record: the fields that cleaning changed, and the features."""

    changed: dict[str, Pair]
    imputed: tuple[str, ...]
    features: Features | None
    failed: Failed | None


class Again(NamedTuple):
    """The score as the artifact of its version gives it now; `problem` is why it does not."""

    score: Any
    equal: bool | None
    problem: str | None


class Learned(NamedTuple):
    """The example at `offset` of the log; `version` is the first one still kept that comes after it, `first` whether
    none before it has been retired.
    """

    offset: int
    label: Any
    label_time: str
    version: int | None
    first: bool


class Story(NamedTuple):
    """All about an event, the parts that do not apply empty; `outcome` and `label` are its state in words."""

    event_id: str
    outcome: str
    events: list[Sent]
    raw_deleted: bool
    prepared: Prepared | None
    scored: Fields | None
    again: Again | None
    label: str
    labels: list[Sent]
    learned: Learned | None
