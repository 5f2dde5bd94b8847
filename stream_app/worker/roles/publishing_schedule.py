"""When versions and checkpoints come out: as often as is due, and once the store is back what it has missed."""

from stream_app.core.learning.learner_state import LearnerState
from stream_app.core.monitoring.alarms import Alarms
from stream_app.errors import StoreError
from stream_app.records import Output
from stream_app.settings import LearnSettings
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import CHECKPOINT_SECONDS, PUBLISH_SECONDS
from stream_app.worker.roles.version_publisher import VersionPublisher

log = get_logger(__name__)

_ALARM = "store-unavailable"


class PublishingSchedule:
    """Issues the versions and checkpoints of one learner; an alarm lasts while the store is away.

    `checkpointed_at` is the offset of the last checkpoint.
    """

    def __init__(
        self,
        limits: LearnSettings,
        versions: VersionPublisher,
        alarms: Alarms,
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
        self._published_at = 0  # examples learned when the last version came out
        self._checkpointed_at = checkpointed_at

    def begin(self, state: LearnerState) -> None:
        """Count from the version that the model was learned from."""
        parent = self._versions.parent(state)
        self._published_at = 0 if parent is None else parent.learned

    def publish_first(self, offset: int, state: LearnerState, now: int) -> list[Output]:
        """Publish, unless there is a version or the store was away a moment ago."""
        late = self._versions.newest is not None or self._publishing.rests(now)
        return [] if late else self._publish(offset, state, now)

    def publish_if_due(self, offset: int, state: LearnerState, now: int) -> list[Output]:
        """The records of the version whose number is `offset`, if one is due; none while learning is held."""
        due = not state.control.paused and self._publishing.due(
            state.learned.examples - self._published_at, now
        )
        return self._publish(offset, state, now) if due else []

    def checkpoint_if_due(self, offset: int, state: LearnerState, now: int) -> list[Output]:
        """The record of a checkpoint, when one is due."""
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
        """Raise the alarm."""
        if _ALARM not in self._alarms.open:
            log.error("store unavailable, learning goes on", why=str(error))
        self._alarms.raise_(_ALARM, type(error.__cause__).__name__, now)

    def store_answered(self, now: int) -> None:
        """End the alarm."""
        self._alarms.end(_ALARM, now)

    def _publish(self, offset: int, state: LearnerState, now: int) -> list[Output]:
        try:
            outputs, cost = self._versions.publish(offset, state, now)
        except StoreError as error:
            self._publishing.failed(now)
            self.store_failed(error, now)
            return []
        self._published_at = state.learned.examples
        self._publishing.done(cost, now)
        self.store_answered(now)
        PUBLISH_SECONDS.observe(cost)
        return outputs


RETRY_MILLISECONDS = 5000  # after what failed


class DutyCycle:
    """When something costly is due: after `seconds` or `count` changes, but never more than `share` of the time.

    Times are epoch milliseconds; a clock that is set back starts the interval again.
    """

    def __init__(self, seconds: float, count: float, share: float) -> None:
        self._interval = seconds * 1000
        self._count = count
        self._share = share
        self._last = -1
        self._rest = 0.0
        self._failed = False

    def due(self, changes: int, now: int) -> bool:
        """Is it, after so many changes since the last time?"""
        if self._last < 0 or now < self._last:
            self._last = now
        elapsed = now - self._last
        wanted = self._failed or changes >= self._count or elapsed >= self._interval
        return changes > 0 and elapsed >= self._rest and wanted

    def rests(self, now: int) -> bool:
        """Must it not be done yet, however much has changed?"""
        return self._last <= now < self._last + self._rest

    def done(self, cost: float, now: int) -> None:
        """It took `cost` seconds."""
        self._last = now
        self._rest = cost * 1000 / self._share
        self._failed = False

    def failed(self, now: int) -> None:
        """It could not be done; it is due again in five seconds."""
        self._last, self._rest, self._failed = now, RETRY_MILLISECONDS, True
