"""Declaration of a scoring pipeline: one frozen `Pipeline` per Python file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

from stream_app.errors import PipelineError
from stream_app.records import Features, Fields, Target
from stream_app.resilience import Breaker, Fallback, Limits, Retry
from stream_app.sources import Source

CleaningStep = Callable[[Fields], Mapping[str, Any]]
"""Takes a record and returns the fields that it changes; see `stream_app.cleaning`."""

Schema = str | Mapping[str, Any]
"""Avro record schema: a path relative to the file that declares the pipeline, or the schema."""

LabelValue = int | float | str
"""Value of a label's field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Declaration of the delayed labels, which arrive as records on `<pipeline>.labels`."""

    schema: Schema
    """Avro schema of a label record. It contains the fields of the pipeline's `event_id`, and those
    named by `field` and `time`."""
    field: str
    """Field with the label. Its Avro type selects the prediction task: `boolean` is binary
    classification, `string` or an enum is multiclass classification, `int`, `long`, `float` or
    `double` is regression. With `positive`, every other type is binary classification too."""
    time: str
    """Field with the time at which the label became known, not earlier than the event."""
    horizon: timedelta
    """Longest time from an event to its label. The prediction then expires and is never
    evaluated or learned."""
    allowed_lateness: timedelta = timedelta(hours=12)
    """Extra time, after the horizon, during which records that arrive out of order are still
    joined and duplicates are still recognised."""
    absent: Target | None = None
    """Label that is assumed for an event that gets none until its prediction closes, if the labels
    prove that their source was alive; with `positive`, True or False. None: such an event is
    not learned."""
    idle_after: timedelta | None = None
    """Wall-clock time after which an input that has nothing to read, events or labels, does not
    hold back the clock any more. None: the horizon, at least an hour."""
    positive: LabelValue | tuple[LabelValue, ...] | None = None
    """Value of the field that means true, or a tuple of them: `1`, `"yes"`, `("fraud", "theft")`.
    None: a label that is not `boolean` is a class or a number."""
    negative: LabelValue | tuple[LabelValue, ...] | None = None
    """Value that means false, or a tuple of them. None: 0 for a number, the other symbol for an
    enum of two; text needs it. A label with any other value becomes a dead letter
    `label-unknown`, because it is not known to be false."""
    delay: timedelta | None = None
    """Time after an event at which its label is taken to be known, for rows of a table that have
    the label and no `time`. Label records on Kafka always have their time."""
    sources: tuple[Source, ...] = ()
    """Topics of other programs from which labels are read, besides `<pipeline>.labels`."""

    @property
    def idle_time(self) -> timedelta:
        """Time of `idle_after`, or its default."""
        return self.idle_after or max(self.horizon, timedelta(hours=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Limit of a metric, evaluated for each window, and the action taken when it is breached.

    An alarm opens when `windows` consecutive windows breach the limit. It closes with the first
    window that does not.

    >>> Threshold(metric="roc_auc", limit=0.55).action
    'alarm'
    >>> Threshold(metric="log_loss", limit=0.1, against="prior", action="rollback").windows
    1
    """

    metric: str
    """Name of one of the pipeline's metrics."""
    limit: float
    """Worst acceptable value: the highest for a loss, the lowest for other metrics. With
    `against`, the largest acceptable difference for the worse; a negative number then demands
    that the metric is better by that much."""
    against: str | None = None
    """Reference of the limit: a baseline of the same window and metric (`prior`, `majority`,
    `no_change`, or `mean` for regression), or `offline`, the metric of the trained version that
    the model descends from. The threshold is not evaluated while that value is missing. None:
    the limit is absolute."""
    action: Literal["alarm", "pause", "rollback"] = "alarm"
    """`alarm` reports the breach. `pause` also pauses learning. `rollback` also pauses learning
    and returns to the newest version from before the breach."""
    min_labels: int = 100
    """Number of labels that a window needs to be evaluated."""
    windows: int = 1
    """Number of consecutive windows that must breach the limit."""
    cool_down: timedelta = timedelta(0)
    """Event time without evaluation after the alarm has closed, after learning was resumed and
    after a version was selected. Windows that begin in that time open no alarm and trigger no
    action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Decision threshold of predictions, and limits of metrics."""

    decision: float = 0.5
    """Score from which a boolean label is predicted as true, from 0 to 1."""
    metrics: tuple[Threshold, ...] = ()
    """Limits of metrics, each with its action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """Alarms of the monitor about labels, volumes and inputs, by how many may be false."""

    false_per_year: float = 1.0
    """False alarms per year that are acceptable for the pipeline. It is an aim: what is usual is
    learned from the stream."""
    input_drift_per_year: float = 10.0
    """False reports per year that inputs have drifted, which call nobody."""
    zone: str = "UTC"
    """Time zone whose clock decides what number of events is usual, as `America/New_York`."""
    holidays: tuple[date, ...] = ()
    """Days in that zone on which nothing is usual, such as `date(2026, 12, 25)`."""
    action: Literal["alarm", "pause"] = "alarm"
    """`alarm` reports. `pause` also pauses learning from a declared source of labels when an alarm
    `label-flips` or `positive-share` about it opens, until somebody resumes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Scoring pipeline: schema of the events, cleaning, features, model and labels.

    A minimal declaration:

        pipeline = Pipeline(
            name="payments",
            schema="payment.avsc",
            event_id="payment_id",
            event_time="paid_at",
            features=lambda payment: {"amount": payment["amount"]},
            model=lambda: linear_model.LogisticRegression(),
            label=Label(
                schema="verdict.avsc",
                field="fraud",
                time="decided_at",
                horizon=timedelta(days=7),
            ),
        )
    """

    name: str
    """Prefix of the names of all topics and consumer groups: up to 100 lower-case letters, digits
    and hyphens."""
    schema: Schema
    """Avro schema of the raw records."""
    event_id: str | tuple[str, ...]
    """Field, or fields, that identify an event of its key. A second event with the same id is
    counted as a duplicate and not scored."""
    event_time: str
    """Field with the time of the event: a timestamp in the unit that the schema declares, such as
    `timestamp-millis` or `timestamp-seconds`, or text in ISO 8601 with an offset."""
    features: Callable[[Fields], Features]
    """Pure function from a cleaned record to features by name: finite numbers, booleans and
    strings."""
    model: Callable[[], Any]
    """Function that returns a new, untrained River classifier, or a regressor if the label is a
    number. Give models with random parts a seed."""
    label: Label
    """Declaration of the labels."""
    key: str | tuple[str, ...] = ""
    """Field, or fields, whose text in UTF-8 is the Kafka key of events and labels. Event, label and
    all that is kept of a key are in its partition. Empty: the event id."""
    sources: tuple[Source, ...] = ()
    """Topics of other programs from which events are read, besides `<pipeline>.raw`."""
    clean: tuple[CleaningStep, ...] = ()
    """Cleaning steps, in order. Each takes a record and returns the fields that it changes."""
    metrics: tuple[str, ...] = ()
    """Metrics that the learner reports for each window. Empty: the usual ones of the task."""
    thresholds: Thresholds = Thresholds()
    """Decision threshold, and limits of metrics."""
    alarms: Alarms | None = Alarms()
    """Alarms of the monitor. None: it writes statistics only."""
    window: timedelta = timedelta(days=1)
    """Length of a window of the learner's metrics in event time. The monitor chooses its own."""
    untrained: Literal["allowed", "rejected"] = "rejected"
    """`allowed` starts with an untrained model as version 0; events that it cannot score get the
    share or mean of the labels so far. `rejected` scores nothing before a trained version is
    published."""
    pass_through: tuple[str, ...] = ()
    """Fields of the event that scored records carry under `fields`, so that consumers need not
    join the raw records. They are as received: validated, before cleaning; a missing field has its
    default, and timestamps are Unix milliseconds. A change needs a restart and no new model."""
    publish_features: bool = False
    """True: scored records contain the features, which drift statistics of features require."""
    format: Literal["json", "avro"] = "json"
    """Encoding of scored records, measurements, and records sent by `produce`. Raw records and
    labels may have either encoding. Avro requires a schema registry."""
    retry: Retry = Retry()
    """Retries of events that failed because an external system was unavailable."""
    breaker: Breaker | None = Breaker()
    """Circuit breaker that stops reading events while most of them fail. None: no breaker."""
    fallback: Fallback | None = None
    """Replacement of a failing model. None: events whose prediction fails become dead letters."""
    limits: Limits = Limits()
    """Time and memory limits for processing one record."""


def parsed(schema: Schema) -> Mapping[str, Any]:
    """Return the schema of a loaded pipeline.

    Raises:
        PipelineError: the schema is a path that the loader has not read yet.
    """
    if isinstance(schema, str):
        raise PipelineError(
            f"schema {schema} was not read", "Load the pipeline with stream_app.loading first"
        )
    return schema


def source_topics(pipeline: Pipeline) -> list[str]:
    """Return the topics of all sources, first those of events."""
    return [source.topic for source in (*pipeline.sources, *pipeline.label.sources)]


def direct_source(pipeline: Pipeline) -> Source | None:
    """Return the source that scorers read themselves, None if there is none."""
    return next((source for source in pipeline.sources if source.direct), None)


def ingested_topics(pipeline: Pipeline) -> list[str]:
    """Return the topics of the sources that `ingest` reads, first those of events."""
    sources = (*pipeline.sources, *pipeline.label.sources)
    return [source.topic for source in sources if not source.direct]
