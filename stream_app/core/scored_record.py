"""Scored record: the outcome of an event that was scored, as published to `<p>.scored`."""

from collections.abc import Sequence
from typing import Any, Literal, NotRequired, TypedDict

from stream_app.records import Features, Fields


class ScoringModel(TypedDict):
    """Model that made a score; version -1 stands for the rule of a fallback."""

    name: str
    version: int


class SourceOffset(TypedDict):
    """Topic, partition and offset of the raw record."""

    topic: str
    partition: int
    offset: int


class ScoredRecord(TypedDict):
    """Fields of `schemas/scored.avsc`, which documents them; times are Unix milliseconds.

    `fields` is present only if the pipeline declares `pass_through`.
    """

    event_id: str
    event_time: int
    scored_at: int
    prediction: Any
    score: float
    threshold: float | None
    probabilities: dict[str, float] | None
    model: ScoringModel
    degraded: str | None
    source: SourceOffset
    fingerprint: str
    imputed: Sequence[str]
    label_due_by: int
    features: Features | None
    fields: NotRequired[Fields]


PredictionField = Literal["prediction", "score", "threshold", "probabilities"]

# Fields that say what was predicted, in the order of `PredictionTask.prediction_fields`.
PREDICTION_FIELDS: tuple[PredictionField, ...] = (
    "prediction",
    "score",
    "threshold",
    "probabilities",
)
