"""Schedule of versions and checkpoints, which are retried while the artifact store is away."""

from stream_app.core.learning.learner_state import LearnerState
from stream_app.core.monitoring.alarms import LastingAlarms
from stream_app.errors import StoreError
from stream_app.records import Output
from stream_app.settings import LearnSettings
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import CHECKPOINT_SECONDS, PUBLISH_SECONDS
from stream_app.worker.roles.version_publisher import VersionPublisher

log = get_logger(__name__)

STORE_ALARM = "store-unavailable"
# Time until a failed attempt is repeated.
RETRY_MS = 5000


class DutyCycle:
    """Schedule of a costly task, which takes a bounded share of the time.

    Times are Unix milliseconds; a clock that is set back starts the interval again.

    Args:
        seconds: the task is due after this time, if anything has changed.
        count: the task is due after this number of changes.
        share: maximum share of the time that the task may take, in (0, 1].
    """

    def __init__(self, seconds: float, count: float, share: float) -> None:
        self._interval_ms = seconds * 1000
        self._count = count
        self._share = share
        self._last = -1
        self._rest_ms = 0.0
        self._failed = False

    def due(self, changes: int, now: int) -> bool:
        """Return True if the task is due after a number of changes since the last time."""
        if self._last < 0 or now < self._last:
            self._last = now
        elapsed = now - self._last
        wanted = self._failed or changes >= self._count or elapsed >= self._interval_ms
        return changes > 0 and elapsed >= self._rest_ms and wanted

    def rests(self, now: int) -> bool:
        """Return True if the task must not run yet, however much has changed."""
        return self._last <= now < self._last + self._rest_ms

    def done(self, cost: float, now: int) -> None:
        """Record a run of the task that took `cost` seconds."""
        self._last = now
        self._rest_ms = cost * 1000 / self._share
        self._failed = False

    def failed(self, now: int) -> None:
        """Record a failed run, which is repeated after `RETRY_MS`."""
        self._last, self._rest_ms, self._failed = now, RETRY_MS, True


class PublishingSchedule:
    """Publishes the versions and checkpoints of one learner when they are due.

    Args:
        limits: intervals of versions and checkpoints.
        versions: publisher.
        alarms: alarms of the learner; one is open while the store is away.
        checkpointed_at: offset of the last checkpoint.
    """

    def __init__(
        self,
        limits: LearnSettings,
        versions: VersionPublisher,
        alarms: LastingAlarms,
        checkpointed_at: int,
    ) -> None:
        self._publishing = DutyCycle(
            limits.publish_seconds, limits.publish_examples, limits.publish_share
        )
        self._checkpointing = DutyCycle(
            limits.checkpoint_seconds, float("inf"), limits.publish_share
        )
        self._versions = versions
        self._alarms = alarms
        # Number of examples that the last version had learned.
        self._published_examples = 0
        self._checkpointed_at = checkpointed_at

    def start(self, state: LearnerState) -> None:
        """Count examples from the version from which the model was learned."""
        parent = self._versions.parent(state)
        self._published_examples = 0 if parent is None else parent.learned

    def publish_first(self, offset: int, state: LearnerState, now: int) -> list[Output]:
        """Publish the first version, unless there is one or the store was away a moment ago."""
        if self._versions.newest is not None or self._publishing.rests(now):
            return []
        return self._publish(offset, state, now)

    def publish_if_due(self, offset: int, state: LearnerState, now: int) -> list[Output]:
        """Publish a version if one is due; none while learning is paused.

        Args:
            offset: number of the version.
            state: state of the learner.
            now: wall-clock time in Unix milliseconds.
        """
        changes = state.learned.examples - self._published_examples
        due = not state.control.paused and self._publishing.due(changes, now)
        return self._publish(offset, state, now) if due else []

    def checkpoint_if_due(self, offset: int, state: LearnerState, now: int) -> list[Output]:
        """Write a checkpoint if one is due."""
        if not self._checkpointing.due(offset - self._checkpointed_at, now):
            return []
        try:
            output, cost = self._versions.checkpoint(offset, state)
        except StoreError as error:
            self._checkpointing.failed(now)
            self.store_failed(error, now)
            return []
        self._checkpointed_at = offset
        self._checkpointing.done(cost, now)
        CHECKPOINT_SECONDS.observe(cost)
        return [output]

    def store_failed(self, error: StoreError, now: int) -> None:
        """Raise the alarm of an unavailable store."""
        if STORE_ALARM not in self._alarms.open:
            log.error("store unavailable, learning continues", why=str(error))
        self._alarms.raise_(STORE_ALARM, type(error.__cause__).__name__, now)

    def store_answered(self, now: int) -> None:
        """End the alarm of an unavailable store."""
        self._alarms.end(STORE_ALARM, now)

    def _publish(self, offset: int, state: LearnerState, now: int) -> list[Output]:
        try:
            outputs, cost = self._versions.publish(offset, state, now)
        except StoreError as error:
            self._publishing.failed(now)
            self.store_failed(error, now)
            return []
        self._published_examples = state.learned.examples
        self._publishing.done(cost, now)
        self.store_answered(now)
        PUBLISH_SECONDS.observe(cost)
        return outputs
