"""What a user declares: one frozen `Pipeline` per Python file; the text below a field is its description."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from stream_app.errors import PipelineError
from stream_app.records import Features, Fields
from stream_app.resilience import Breaker, Fallback, Limits, Retry

CleaningStep = Callable[[Fields], Mapping[str, Any]]
"""Takes the record, returns the fields it changes; see `stream_app.cleaning`."""

Schema = str | Mapping[str, Any]
"""An Avro record schema: a path (relative to the file that declares the pipeline) or the schema itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """How the truth about an event arrives, as records on `<pipeline>.labels`."""

    schema: Schema
    """Avro schema of the label record; it has the pipeline's `event_id` field, `field` and `time`."""
    field: str
    """Field that is the label. Its type says what is predicted: `boolean` true or false, `string` or an enum one of
    several classes, `int`, `long`, `float` or `double` a number."""
    time: str
    """Field with the time at which the label became known; it does not precede the event."""
    horizon: timedelta
    """How long after the event a label may become known; then the prediction expires."""
    allowed_lateness: timedelta = timedelta(hours=12)
    """How much later than that records may still arrive out of order and be recognised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A limit of a metric in the pipeline's windows, and what is done when it is passed.

    Its alarm opens when `windows` windows in a row have passed the limit, and ends with the first that has not.
    """

    metric: str
    """One of the pipeline's metrics."""
    limit: float
    """Worst acceptable value, the highest of losses, the lowest of others; with `against`, by how much the metric may
    be worse than that. A negative number then says by how much it must be better."""
    against: str | None = None
    """What the limit is relative to: a baseline of the same window and metric (`prior`, `majority`, `no_change`, or the
    `mean` of a number), or `laboratory`, the metric of the trained version that the model descends from; without one,
    nothing is judged."""
    action: Literal["alarm", "hold", "rollback"] = "alarm"
    """`alarm` only tells; `hold` holds learning as well; `rollback` also goes back to the newest version of before."""
    labels: int = 100
    """A window with fewer is not judged."""
    windows: int = 1
    """How many in a row have to pass the limit."""
    cool_down: timedelta = timedelta(0)
    """For how long in event time it rests after its alarm has ended, and after learning was resumed or a version was
    chosen: windows that begin in that time open no alarm and have nothing done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Limits that decisions and alarms are made by."""

    decision: float = 0.5
    """Score at or above which the prediction is true, where the label is a boolean."""
    metrics: tuple[Threshold, ...] = ()
    """Limits of metrics, each with what is done when it is passed."""
    psi_significance: float = 0.01
    """Chance of a false alarm per window for the population stability index."""
    adwin_delta: float = 0.002
    """River's ADWIN confidence for a change in the errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A scoring pipeline: what comes in, how it is cleaned, what the model sees and how the truth arrives."""

    name: str
    """Prefix of every topic and group: up to 100 lower-case letters, digits and hyphens."""
    schema: Schema
    """Avro schema of the raw record."""
    event_id: str
    """Field that identifies an event: a second one with the same id is a counted duplicate."""
    event_time: str
    """Field with the time of the event: `timestamp-millis`, or text in ISO 8601 with an offset."""
    features: Callable[[Fields], Features]
    """Pure function of the cleaned record: finite numbers, booleans and strings by name."""
    model: Callable[[], Any]
    """Makes an untrained River classifier, or regressor for a number; give one with random parts a seed."""
    label: Label
    """How the truth arrives."""
    key: str = ""
    """Field whose UTF-8 text is the record key of events and labels; empty, that of `event_id`."""
    clean: tuple[CleaningStep, ...] = ()
    """Cleaning steps, in order; each takes the record and returns the fields it changes."""
    metrics: tuple[str, ...] = ()
    """What the learner reports for each window; empty, the usual ones."""
    thresholds: Thresholds = Thresholds()
    """Limits of decisions and alarms."""
    window: timedelta = timedelta(days=1)
    """Length of a window in event time."""
    untrained: Literal["allowed", "refused"] = "refused"
    """`allowed` starts at version 0, `refused` waits for a trained version."""
    publish_features: bool = False
    """Put the features into each scored record, which the drift statistics of features need."""
    format: Literal["json", "avro"] = "json"
    """How scored and monitoring records are written, and what `produce` sends; raw records and labels are read in
    either. Avro needs a schema registry."""
    retry: Retry = Retry()
    """How often an event is tried again that failed for a reason outside."""
    breaker: Breaker | None = Breaker()
    """When to stop reading events because most of them fail; None never does."""
    fallback: Fallback | None = None
    """What is served when the model fails; None makes such events dead letters."""
    limits: Limits = Limits()
    """What one record may cost before it is given up."""


def parsed(schema: Schema) -> Mapping[str, Any]:
    """The schema of a loaded pipeline; a path is a `PipelineError`, for reading files is the loader's work."""
    if isinstance(schema, str):
        raise PipelineError(
            f"schema {schema} was not read", "Load the pipeline with stream_app.loading first"
        )
    return schema
