"""The answer of `status`, which is also its JSON: times are ISO 8601 in UTC, durations seconds, rates per second."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

WorkerState = Literal["ready", "not ready", "running", "silent", "ended"]
"""`running` is in its group on another machine, so only that is known; `silent` runs here and does not answer; `ended`
has run here and does no more."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker that is in its group, or that has run on this machine.

    `reasons` say why it is not ready, or why it ended. `partitions` are those of its first input that it owns. `pid`,
    `model_version` and `memory_bytes` are known of this machine's only.
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
    """One role: its consumer group, whether anyone is in it, whether it ever committed anything, and its workers."""

    role: str
    group: str
    running: bool
    started: bool
    workers: tuple[WorkerStatus, ...]


@dataclass(frozen=True, slots=True)
class InputStatus:
    """How far a role has come in one partition that it reads.

    `lag_records`: offsets from `position` to `end`; behind a transactional writer some of them are markers, but 0 is
    exact. `lag_seconds`: age of the oldest record that is not yet committed. `lost`: records deleted before they were
    read.
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


@dataclass(frozen=True, slots=True)
class Rates:
    """Records per second between two looks that were `seconds` apart."""

    seconds: float
    events_in: float
    labels_in: float
    events_done: float
    scored: float
    joined: float
    dead_letters: float


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """The version that is served; `behind` are the examples it has not learned, at most."""

    version: int
    created_at: str
    age_seconds: float
    learned: int
    learned_through: str | None
    behind: int
    fingerprint: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RecordCountTotals:
    """The scorers' own counts since the pipeline's beginning, all partitions together.

    `balanced`: every prediction is joined, expired or pending, and no offset has two outcomes. `without_outcome`:
    offsets passed over that were no records, or were deleted before anyone read them. `retrying`: events that wait to
    be tried again. `degraded`: those of the scored that a fallback scored. `unlearned`: those of the joined that
    nothing is to learn from.
    """

    events: int
    scored: int
    degraded: int
    duplicates: int
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
    balanced: bool
    without_outcome: int


@dataclass(frozen=True, slots=True)
class RecentDeadLetters:
    """Dead letters by code that were written in the last `minutes`; at least so many if not `complete`."""

    minutes: int
    complete: bool
    events: Mapping[str, int]
    labels: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LabelStatus:
    """Labels as last measured by the monitor, of the events of one window; None where nothing was measured yet.

    `coverage`: share of the scored events whose label came within the horizon. Delays are seconds of event time.
    """

    window_end: str | None = None
    coverage: float | None = None
    delay_p50: float | None = None
    delay_p95: float | None = None
    delay_max: float | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """A limit that was passed in the last 24 hours: what, by how much, when it was written and of which window.

    `count`: how many windows, or how often an alarm that lasts was raised. `ongoing`: whether the newest window passes
    it too, or the alarm has not ended; None for what happens at one moment. `reference` is the cause of an alarm that
    lasts, `source` the worker or task that raised it, and its window begins when it did.
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
class CorrectiveAction:
    """What was done about a fault in the last 24 hours, without anyone's help, all workers together."""

    action: str
    cause: str | None
    count: int
    since: str
    until: str


@dataclass(frozen=True, slots=True)
class PartitionState:
    """State of one partition: entries against the limit that is set here, and how far event time has come there."""

    partition: int
    entries: int | None
    limit: int
    clock: str | None
    event_watermark: str | None
    label_watermark: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """Everything. `problems` say what is wrong with the machinery now; alarms and corrective actions are apart."""

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
    books: RecordCountTotals
    recent_dead_letters: RecentDeadLetters
    labels: LabelStatus
    alarms: tuple[Alarm, ...]
    corrective_actions: tuple[CorrectiveAction, ...]
    state: tuple[PartitionState, ...]
