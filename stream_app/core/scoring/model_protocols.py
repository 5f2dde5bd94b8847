"""Interfaces of the model versions that score events."""

from typing import Protocol, runtime_checkable

from stream_app.core.evaluation.prediction_tasks import ScoreFunction
from stream_app.records import Features, Score


class Model(Protocol):
    """Loaded model version."""

    name: str
    version: int

    @property
    def score(self) -> ScoreFunction:
        """Function from features to a score, which may raise whatever the model raises."""


@runtime_checkable
class TrainableModel(Protocol):
    """Model version that may lack evidence."""

    def prior_for(self, features: Features) -> Score | None:
        """Return the score of an event about which the model has learned nothing, else None."""
