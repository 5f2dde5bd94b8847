"""What a user declares: one frozen `Pipeline` per Python file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from stream_app.core.records import Features, Fields
from stream_app.errors import PipelineError

CleaningStep = Callable[[Fields], Mapping[str, Any]]
"""Takes the record, returns the fields it changes; see `stream_app.cleaning`."""

Schema = str | Mapping[str, Any]
"""An Avro record schema: a path (relative to the file that declares the pipeline) or the schema itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """How the truth about an event arrives, as records on `<pipeline>.labels`.

    `schema`: Avro schema of the label record; it has the pipeline's `event_id` field, `field` and `time`.
    `field`: the label, a boolean. `time`: when it became known (event time); it must not precede the event.
    `horizon`: how long after the event a label may become known; then the prediction expires.
    `allowed_lateness`: how much later than that records may still arrive out of order and be recognised.
    """

    schema: Schema
    field: str
    time: str
    horizon: timedelta
    allowed_lateness: timedelta = timedelta(hours=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Limits that decisions and alarms are made by.

    `decision`: score at or above which the prediction is true.
    `metrics`: per metric name the worst acceptable value in a window (highest for losses, lowest for the others).
    `psi_significance`: chance of a false alarm per window for the population stability index.
    `adwin_delta`: River's ADWIN confidence for a change in the errors.
    """

    decision: float = 0.5
    metrics: Mapping[str, float] = field(default_factory=dict)
    psi_significance: float = 0.01
    adwin_delta: float = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A scoring pipeline: what comes in, how it is cleaned, what the model sees and how the truth arrives.

    `name`: prefix of every topic and group; lower-case letters, digits and hyphens.
    `schema`: Avro schema of the raw record. `event_id`: field that identifies an event. `event_time`: field with the
    time of the event. `key`: field whose UTF-8 text is the record key of events and labels; by default `event_id`.
    `clean`: steps, in order. `features`: pure function of the cleaned record. `model`: makes an untrained River
    classifier. `metrics`: what the learner reports per window. `window`: length of a window in event time.
    `untrained`: "allowed" starts at version 0, "refused" waits for a trained version.
    `publish_features`: put the features into each scored record, which the drift statistics of features need.
    `format`: how scored and monitoring records are written, and what `produce` sends; raw records and labels are read
    in either. Avro needs a schema registry.
    """

    name: str
    schema: Schema
    event_id: str
    event_time: str
    features: Callable[[Fields], Features]
    model: Callable[[], Any]
    label: Label
    key: str = ""
    clean: tuple[CleaningStep, ...] = ()
    metrics: tuple[str, ...] = ("log_loss", "roc_auc", "accuracy")
    thresholds: Thresholds = Thresholds()
    window: timedelta = timedelta(days=1)
    untrained: Literal["allowed", "refused"] = "refused"
    publish_features: bool = False
    format: Literal["json", "avro"] = "json"


def parsed(schema: Schema) -> Mapping[str, Any]:
    """The schema of a loaded pipeline; a path is a `PipelineError`, for reading files is the loader's work."""
    if isinstance(schema, str):
        raise PipelineError(f"schema {schema} was not read", "Load the pipeline with stream_app.loading first")
    return schema
