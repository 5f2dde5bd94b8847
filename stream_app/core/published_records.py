"""Records that the roles publish: scored records and measurements."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

import orjson

from stream_app.records import Features, Fields, Output

# Version of a score that no model made, but the rule of a fallback, or a prior.
NO_VERSION = -1


class ScoringModel(TypedDict):
    """Model that made a score, or `NO_VERSION`."""

    name: str
    version: int


class SourceOffset(TypedDict):
    """Topic, partition and offset of the raw record."""

    topic: str
    partition: int
    offset: int


class EventOrigin(TypedDict):
    """Name of the source from which an event was forwarded, partition and offset there."""

    source: str
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
    origin: EventOrigin | None
    schema_id: str | None
    fields: NotRequired[Fields]


PredictionField = Literal["prediction", "score", "threshold", "probabilities"]

# Fields that say what was predicted, in the order of `PredictionTask.prediction_fields`.
PREDICTION_FIELDS: tuple[PredictionField, ...] = (
    "prediction",
    "score",
    "threshold",
    "probabilities",
)


class ExampleOffsets(NamedTuple):
    """Offsets of examples in the log, from `first` to `last`, both inclusive."""

    first: int
    last: int


Kind = Literal[
    "performance",
    "cumulative",
    "baseline",
    "drift",
    "alarm",
    "corrective_action",
    "experimentation_needed",
    "unlearnable",
    "volume",
    "coverage",
    "delay",
]

# Metrics of which less is better.
LOSSES = frozenset({"log_loss", "brier", "mae", "rmse"})


class LimitCheck(NamedTuple):
    """A limit, and whether it is breached; without a limit it is not."""

    threshold: float | None = None
    breached: bool = False


class ValueInterval(NamedTuple):
    """Confidence interval of 95 %."""

    low: float
    high: float


class Measurement(NamedTuple):
    """One measured value. The time at which it was written is that of its Kafka record.

    Corrective actions and lasting alarms use some attributes in their own way: `name` is the action
    or alarm, `reference` its cause, `n` the number of times; the window is from its start to its
    end by the worker's clock, and `source` names the task or worker.

    Attributes:
        kind: kind of the measurement.
        name: name of the metric or variable.
        start, end: window of event time in Unix milliseconds, `end` exclusive.
        n: number of observations in the window.
        value: measured value; None if undefined, such as ROC AUC of a single class.
        limit_check: limit of the value.
        reference: what the value is compared with.
        model_version: version that served the newest observation.
        source: task or worker.
        examples: offsets of the examples that it is about, if any.
        interval: confidence interval of the value, if it has a simple one.
    """

    kind: Kind
    name: str
    start: int
    end: int
    n: int
    value: float | None = None
    limit_check: LimitCheck = LimitCheck()
    reference: str | None = None
    model_version: int | None = None
    source: str | None = None
    examples: ExampleOffsets | None = None
    interval: ValueInterval | None = None

    def output(self, pipeline: str) -> Output:
        """Return the record to write, with kind and name as its key."""
        fields = {
            "kind": self.kind,
            "name": self.name,
            "pipeline": pipeline,
            "model_version": self.model_version,
            "window": {"start": self.start, "end": self.end},
            "reference": self.reference,
            "n": self.n,
            "value": self.value,
            "interval": None if self.interval is None else self.interval._asdict(),
            "threshold": self.limit_check.threshold,
            "breached": self.limit_check.breached,
            "source": self.source,
            "examples": None if self.examples is None else self.examples._asdict(),
        }
        return Output("monitoring", -1, f"{self.kind}/{self.name}".encode(), orjson.dumps(fields))


def is_lasting_alarm(measurement: Mapping[str, Any]) -> bool:
    """Return True if the fields of a measurement are those of an alarm that lasts for some time."""
    window = measurement["window"]
    return bool(measurement["kind"] == "alarm" and window["end"] > window["start"])
