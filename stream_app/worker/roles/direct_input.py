"""Input of a scorer that is a partition of a source: its start, and what becomes of it later."""

from stream_app.core.scoring.partition_state import PartitionState
from stream_app.errors import TopicsError
from stream_app.telemetry.logs import get_logger
from stream_app.worker.processor import HELD
from stream_app.worker.roles.source_start import (
    HELD_ALARM,
    LOST_ALARM,
    LOST_QUIET_MS,
    SourceStart,
)

log = get_logger(__name__)


class DirectInput:
    """Partition of a source that a scorer reads itself.

    Args:
        start: start of the partition.

    Attributes:
        must_commit: True if the partition was begun and its first offset is not committed. Until
            then another start could choose another one.
    """

    def __init__(self, start: SourceStart) -> None:
        self.must_commit = False
        self._start = start
        # False while the topic is missing or the partition is held.
        self._is_read = False
        self._awaits_retries = False

    @property
    def topic(self) -> str:
        """Full name of the topic."""
        return self._start.partition.topic

    def next_offset(self, offset: int, state: PartitionState, now: int) -> int:
        """Return the offset to continue at, `HELD` if records were deleted unread.

        Args:
            offset: next offset as of the last commit, negative before the first.
            state: state of the scorer.
            now: wall-clock time in Unix milliseconds.
        """
        start = self._start
        # If it was ingested before, its last word would hold back the clock for ever.
        state.clock.events.sources.forget(start.source.source_name)
        low, high = start.reader.ends(start.partition)
        is_recreated = start.is_recreated(state.source_id)
        if offset < 0:
            offset = start.first_offset(low, high)
            self.must_commit = True
        elif low <= offset <= high and not is_recreated:
            state.alarms.end(HELD_ALARM, now)
        elif is_recreated and self._has_retries(state):
            # Records are known by their offsets, which repeat.
            log.warning(
                "a recreated topic is read once no record of its predecessor waits for a retry",
                topic=self.topic,
                partition=state.partition,
            )
            self._awaits_retries = True
            return HELD
        else:
            if start.accepted_loss(offset, low, state.source_id, state.alarms, now) is None:
                return HELD
            if low < offset:
                state.former_offsets += offset - low
            state.positions[self.topic] = offset = low
            self.must_commit = True
        self._is_read = True
        state.source_id = start.id_of(self.topic) or state.source_id
        return offset

    def check(self, state: PartitionState, now: int) -> None:
        """Check that the topic is still the same one.

        Raises:
            TopicsError: it was recreated, or can be read again.
        """
        state.alarms.end(LOST_ALARM, now, LOST_QUIET_MS)
        if self._is_read:
            self._start.check_topic(state.source_id)
        elif self._awaits_retries and not self._has_retries(state):
            raise TopicsError(
                f"{self.topic} has no more record that waits for a retry",
                "No action needed: its task starts again and reads the topic",
            )

    def _has_retries(self, state: PartitionState) -> bool:
        return any(name.rpartition("/")[0] == self.topic for name in state.retries.waiting)
