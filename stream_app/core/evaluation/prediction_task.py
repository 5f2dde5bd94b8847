"""What is different between predicting yes or no, one of several classes, and a number."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from stream_app.records import Features, Fields, Score

Ask = Callable[[Features], Score]
Metrics = Mapping[str, Callable[[Any], float | None]]

SHOWN = ("prediction", "score", "threshold", "probabilities")
"""The fields of a scored record that say what was predicted."""


class PredictionTask(ABC):
    """What a pipeline predicts; the type of the label's field decides it.

    A model's *score* is what it gives; `answer` says in words what that has to be. `labels` are the Avro types that a
    label may have. `metrics` and `baselines` take a card that is not empty; `usual` are those of a pipeline that names
    none. `alarm` is called what is raised when the errors rise.
    """

    name: ClassVar[str]
    answer: ClassVar[str]
    labels: ClassVar[frozenset[str]]
    metrics: ClassVar[Metrics]
    baselines: ClassVar[Metrics]
    usual: ClassVar[tuple[str, ...]]
    alarm: ClassVar[str] = "error_rate"

    @abstractmethod
    def refusal(self, model: Any) -> tuple[str, str] | None:
        """What is wrong with the last step of a model, and the remedy; None if it is one for this task."""

    @abstractmethod
    def asking(self, model: Any) -> Ask:
        """What gives the model's score of features; it raises whatever the model raises."""

    @abstractmethod
    def checked(self, score: object) -> Score | None:
        """The score, if it is one."""

    @abstractmethod
    def takes(self, label: object) -> bool:
        """Whether this is a label."""

    @abstractmethod
    def shown(self, score: Any) -> tuple[Any, ...]:
        """What a scored record says, in the order of `SHOWN`."""

    @abstractmethod
    def watched(self, scored: Mapping[str, Any]) -> Fields:
        """What of a scored record is watched for drift."""

    @abstractmethod
    def loss(self, label: Any, score: Any) -> float:
        """How bad a score is: log loss (nats), or of a number the absolute error."""

    @abstractmethod
    def known(self) -> Any:
        """What is known without a model: the labels so far, of which there are none."""

    @abstractmethod
    def card(self, *, cumulative: bool = False) -> Any:
        """An empty card."""

    @abstractmethod
    def judge(self, known: Any, card: Any, label: Any, score: Any) -> None:
        """Count a served score and its label, which is known from then on."""

    @abstractmethod
    def error(self, known: Any, label: Any, score: Any) -> float:
        """How wrong it was, from 0 to 1."""
