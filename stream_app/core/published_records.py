"""Records that the roles publish: scored records, labelled examples and measurements."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Protocol, TypedDict

import orjson
from msgspec import Meta, MsgspecError, Struct
from msgspec.json import Decoder, Encoder

from stream_app.records import Features, Fields, Output, Score


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


_Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Number = float | _Integer


class Example(
    Struct, tag_field="kind", tag="example", forbid_unknown_fields=True, frozen=True, gc=False
):
    """Event with the prediction that was served, and its label.

    The types are those of any task, as JSON expresses them.

    Attributes:
        event_id: id of the event.
        event_time: time of the event in Unix milliseconds.
        label_time: time at which the label became known in Unix milliseconds.
        label: the label.
        score: served score.
        model_version: version that made the score.
        features: features as they were at the prediction.
        fingerprint: fingerprint of the pipeline's declaration.
        assumed: True if no label came, and the declared one was assumed.
    """

    event_id: str
    event_time: _Integer
    label_time: _Integer
    label: bool | str | _Number
    score: _Number | Mapping[str, _Number]
    model_version: _Integer
    features: dict[str, _Number | bool | str]
    fingerprint: str
    assumed: bool = False

    def encode(self) -> bytes:
        """Return the JSON object that `<p>.examples` carries."""
        return _encode_example(self)

    @classmethod
    def decode(cls, value: bytes) -> "Example":
        """Return the example of `encode`, without any check."""
        return _decoded(orjson.loads(value))


class ExampleOffsets(NamedTuple):
    """Offsets of examples in the log, from `first` to `last`, both inclusive."""

    first: int
    last: int


class ExampleTask(Protocol):
    """Task that tells if labels and scores are its own; every `PredictionTask` is one."""

    def is_label(self, label: object) -> bool:
        """Return True if the value is a label of the task."""

    def valid_score(self, score: object) -> Score | None:
        """Return the score, or None if the value is not a score of the task."""


_encode_example = Encoder().encode
# The last field has a default.
_example_values = itemgetter(*Example.__struct_fields__[:-1])
# Beginning of what `Example.encode` returns.
_ENCODED_START = b'{"kind":"example",'
_decode_encoded = Decoder(Example).decode


def decode_example(value: bytes | None, task: ExampleTask) -> Example | str:
    """Return the example that a value holds.

    Returns:
        The example, or the cause why there is none: "empty", "undecodable", "unknown-kind" or
        "wrong-type".
    """
    if value is None:
        return "empty"
    if value.startswith(_ENCODED_START):
        try:
            example: Example = _decode_encoded(value)
        except MsgspecError:
            return _decode_other(value, task)
        known = task.is_label(example.label) and task.valid_score(example.score) is not None
        return example if known else "wrong-type"
    return _decode_other(value, task)


def _decode_other(value: bytes, task: ExampleTask) -> Example | str:
    """Decode a value that another program may have written."""
    try:
        fields: dict[str, Any] = orjson.loads(value)
        if fields["kind"] != "example":
            return "unknown-kind"
        example = _decoded(fields)
    except (ValueError, TypeError, KeyError):
        return "undecodable"
    return example if _has_example_types(example, task) else "wrong-type"


def _decoded(fields: dict[str, Any]) -> Example:
    return Example(*_example_values(fields), assumed=fields.get("assumed", False))


def _has_example_types(example: Any, task: ExampleTask) -> bool:
    return (
        task.is_label(example.label)
        and type(example.label_time) is int
        and type(example.event_time) is int
        and type(example.model_version) is int
        and type(example.features) is dict
        and type(example.assumed) is bool
        and task.valid_score(example.score) is not None
    )


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
