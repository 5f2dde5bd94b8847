"""The answer of `status`, also as JSON: ISO 8601 times in UTC, seconds, records per second."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from stream_app.core.alarms.alarm_log import AlarmState, DetectorPhase

WorkerState = Literal["ready", "not ready", "running", "unresponsive", "ended"]
"""State of a worker.

- running: member of its group on another machine, where its readiness is not known.
- unresponsive: runs on this machine, and does not answer on its health port.
- ended: ran on this machine.
"""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker that is a member of its group, or that has run on this machine.

    Attributes:
        name: role and instance, for example `score-0`.
        state: see `WorkerState`.
        reasons: reasons why it is not ready, or the error with which it ended.
        member: True if it is a member of its consumer group.
        host: address from which it is connected to the cluster.
        partitions: partitions of the role's first input that are assigned to it; for `ingest`,
            those of all its inputs.
        pid: process id, None on another machine.
        model_version: version that it serves, None on another machine.
        memory_bytes: resident memory, None on another machine.
    """

    name: str
    state: WorkerState
    reasons: tuple[str, ...]
    member: bool
    host: str
    partitions: tuple[int, ...]
    pid: int | None = None
    model_version: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class RoleStatus:
    """A role with its consumer group and its workers.

    Attributes:
        running: True if the group has members.
        started: True if the group has ever committed an offset.
    """

    role: str
    group: str
    running: bool
    started: bool
    workers: tuple[WorkerStatus, ...]


@dataclass(frozen=True, slots=True)
class InputStatus:
    """Progress of a role in one partition that it reads.

    Attributes:
        position: offset of the next record.
        end: offset after the last record.
        lag_records: offsets from `position` to `end`; they include transaction markers, but 0 is
            exact.
        lag_seconds: age of the oldest record that is not yet committed.
        lost: records that were deleted before they were read.
        waiting: True if the monitor waits for a watermark before it reads on.
    """

    role: str
    topic: str
    partition: int
    worker: str | None
    position: int
    end: int
    lag_records: int
    lag_seconds: float
    lost: int
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Rates:
    """Records per second between two samples that are `seconds` apart."""

    seconds: float
    events_in: float
    labels_in: float
    events_done: float
    scored: float
    joined: float
    dead_letters: float


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """The served version; `behind` is an upper bound of the examples that it has not learned."""

    version: int
    created_at: str
    age_seconds: float
    learned: int
    learned_through: str | None
    behind: int
    fingerprint: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LearningPause:
    """Pause of learning, as a whole or of one source of labels, with its author and reason.

    Attributes:
        source: name of the source, None for learning as a whole.
    """

    source: str | None
    since: str
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class ExclusionStatus:
    """Exclusion in force, of label times from `start` to `end`, with its author and reason.

    Attributes:
        source: source of the labels, None for all labels.
    """

    number: int
    start: str
    end: str
    source: str | None
    at: str
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class RecordCountTotals:
    """Record counts of the scorers since the pipeline was created, summed over all partitions.

    Attributes:
        degraded: events among `scored` that a fallback scored.
        filtered, tombstones: records of a direct source that are no events.
        retrying: events that wait for another attempt.
        dead: dead letters of events by code.
        waiting: labels that wait for their event.
        label_dead: dead letters of labels by code.
        pending: predictions that wait for their label.
        expired: predictions whose label did not arrive in time.
        unlearned: predictions among `joined` that are no examples.
        assumed: predictions that got the label that is assumed if none comes.
        absent_unproven: predictions among `expired` for which it was not assumed, because nothing
            proved that the source of labels was alive.
        contradicting: labels of events for which another label had been assumed.
        completeness, label_completeness: completeness records among events and labels.
        evicted: entries that were removed because the state was full, by kind.
        balanced: True if no event was lost or duplicated: every prediction is joined, assumed,
            expired or pending, and no offset has two outcomes.
        without_outcome: offsets of transaction markers, and of records deleted unread.
    """

    events: int
    scored: int
    degraded: int
    duplicates: int
    filtered: int
    tombstones: int
    retrying: int
    dead: Mapping[str, int]
    labels: int
    joined: int
    waiting: int
    label_duplicates: int
    label_expired: int
    label_dead: Mapping[str, int]
    pending: int
    expired: int
    unlearned: int
    assumed: int
    absent_unproven: int
    contradicting: int
    completeness: int
    label_completeness: int
    evicted: Mapping[str, int]
    balanced: bool
    without_outcome: int


@dataclass(frozen=True, slots=True)
class RecentDeadLetters:
    """Dead letters by code of the last `minutes`; lower bounds if not `complete`.

    Attributes:
        events: those of events, whether open or not; `labels` likewise.
        open: those of events and labels that are not replayed, parked or dropped; None if unknown.
    """

    minutes: int
    complete: bool
    events: Mapping[str, int]
    labels: Mapping[str, int]
    open: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class LabelStatus:
    """Label coverage and delays as last measured by the monitor; None before that.

    Attributes:
        window_end: end of the window of event time that was measured.
        coverage: share of its scored events whose label arrived within the horizon.
        delay_p50: median delay in seconds of event time; the other delays likewise.
    """

    window_end: str | None = None
    coverage: float | None = None
    delay_p50: float | None = None
    delay_p95: float | None = None
    delay_max: float | None = None


@dataclass(frozen=True, slots=True)
class WatermarkStatus:
    """Watermark of a partition, as its scorer published it last; None before that.

    Attributes:
        events: event time that its scored records have reached.
        clock: event time that its events and labels have reached.
        age_seconds: seconds since it was written; a running scorer writes it every 15 minutes.
        idle: True if the partition has had no events for so long that it holds no window open.
    """

    partition: int
    events: str | None
    clock: str | None
    age_seconds: float | None
    idle: bool


@dataclass(frozen=True, slots=True)
class WindowStatus:
    """Windows of the monitor.

    Attributes:
        window_end: end of the newest window of scored records that was reported, None before any.
        window_seconds: length of that window.
        held_by: partition whose watermark holds the next window open, None before any.
    """

    window_end: str | None = None
    window_seconds: int | None = None
    held_by: int | None = None
    watermarks: tuple[WatermarkStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class ThresholdStatus:
    """Metric with a threshold, in the newest window of labels that was measured.

    Attributes:
        low, high: confidence interval of the value (95 %), None if it has no simple one.
        limit: limit of the value; of several thresholds that of a breached one, else of the first.
        n: number of labels in the window.
        window_end: end of the window, in label time.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    limit: float
    breached: bool
    n: int
    window_end: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """A limit that was exceeded in the last 24 hours, as a worker has measured it.

    Attributes:
        reference: cause of a lasting alarm, else what the value is compared with.
        at: time at which it was written last.
        window_start: start of its window, or of a lasting alarm.
        count: number of windows, or of reports of a lasting alarm.
        ongoing: True if the newest window exceeds the limit too, or a lasting alarm has not ended;
            None for an event without duration.
        source: worker or task that raised it.
    """

    kind: str
    name: str
    reference: str | None
    value: float | None
    threshold: float | None
    at: str
    window_start: str
    window_end: str
    count: int
    ongoing: bool | None
    source: str | None


@dataclass(frozen=True, slots=True)
class MonitorAlarm:
    """Alarm that the monitor has decided; its times are those of events and labels.

    Attributes:
        source: what it is about.
        state: "open" calls somebody, "acknowledged" and "silenced" do not; or "closed".
        pages: False for an alarm that calls nobody in any state.
        count: number of times that the evidence reached its limit.
        note: who acknowledged or silenced it, and why; empty for neither.
    """

    id: str
    name: str
    source: str
    state: AlarmState
    pages: bool
    since: str
    opened_at: str
    updated_at: str
    closed_at: str | None
    strength: float
    count: int
    cause: str
    culprits: tuple[str, ...]
    examples: tuple[int, ...] | None
    note: str


@dataclass(frozen=True, slots=True)
class SilenceStatus:
    """Silence in force of the alarms of a name; `source` is None for all sources."""

    name: str
    source: str | None
    until: str
    at: str
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class DetectorStatus:
    """Alarm of a source that cannot be raised yet (`waits`) or with these labels (`off`)."""

    name: str
    source: str
    phase: DetectorPhase
    why: str


@dataclass(frozen=True, slots=True)
class CorrectiveAction:
    """A corrective action that the workers took in the last 24 hours, all workers together."""

    action: str
    cause: str | None
    count: int
    since: str
    until: str


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """State of a scorer's partition.

    Attributes:
        entries: entries of the state, at most `limit` as it is set here.
        clock: event time; the watermarks of events and labels likewise.
        clock_moved_at: wall-clock time at which the clock was moved last, None before that.
        held_by: input that holds back the clock, with the part of its source; None if both inputs
            are idle.
        evicted: entries that were removed because the state was full, by kind.
    """

    partition: int
    entries: int | None
    limit: int
    clock: str | None
    event_watermark: str | None
    label_watermark: str | None
    clock_moved_at: str | None
    held_by: str | None
    evicted: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Status:
    """Status of a pipeline.

    Attributes:
        started: True once a worker has run.
        healthy: True if there are no problems.
        problems: present problems of workers, topics and model, one sentence each, the most severe
            first; alarms about data and model are separate.
        rates: None at the first look without a sample.
        pauses: pauses of learning.
        exclusions: exclusions in force.
        open_alarms: alarms of the monitor that are open, also acknowledged and silenced ones.
        silences: silences in force.
        detectors: alarms that cannot be raised yet, or not at all.
        thresholds: metrics that have a threshold.
    """

    pipeline: str
    cluster: str
    at: str
    started: bool
    healthy: bool
    problems: tuple[str, ...]
    roles: tuple[RoleStatus, ...]
    inputs: tuple[InputStatus, ...]
    rates: Rates | None
    model: ModelStatus | None
    record_counts: RecordCountTotals
    recent_dead_letters: RecentDeadLetters
    labels: LabelStatus
    windows: WindowStatus
    alarms: tuple[Alarm, ...]
    corrective_actions: tuple[CorrectiveAction, ...]
    partitions: tuple[PartitionStatus, ...]
    pauses: tuple[LearningPause, ...] = ()
    exclusions: tuple[ExclusionStatus, ...] = ()
    open_alarms: tuple[MonitorAlarm, ...] = ()
    silences: tuple[SilenceStatus, ...] = ()
    detectors: tuple[DetectorStatus, ...] = ()
    thresholds: tuple[ThresholdStatus, ...] = ()
