"""Publishes the watermark of a partition, with the offsets from which it holds, for the monitor."""

from stream_app.core.monitoring.log_alignment import STEP_MS, floor_time
from stream_app.core.monitoring.partition_watermark import PartitionWatermark
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.records import Output
from stream_app.worker.processor import WrittenOffsets

# Shortest time between two records of a partition.
PUBLISH_MS = 1_000
# Time after which the same watermark is written again, because retention deletes the old ones.
REPEAT_MS = 900_000
# Time without events after which a partition holds no window open.
IDLE_MS = 3_600_000


class WatermarkPublisher:
    """Publishes what the last committed transaction has reached, in the next one.

    Only then the offsets of its records are known. While nothing is processed, a transaction of
    its own says it. After a crash in between, the next owner does, with the end of the logs.

    Args:
        state: state of the partition.
    """

    def __init__(self, state: PartitionState) -> None:
        self._state = state
        self._scored = 0
        self._examples = 0
        # Committed watermark, None before `start`; the last one written, and when.
        self._known: PartitionWatermark | None = None
        self._written: PartitionWatermark | None = None
        self._written_at = 0

    def start(self, scored: int, examples: int) -> None:
        """Begin with a restored state.

        Args:
            scored: end of the scored records of the partition.
            examples: end of the examples.
        """
        self._scored, self._examples = scored, examples
        self._known = self._watermark()

    def committed(self, written: WrittenOffsets) -> None:
        """Note what a committed transaction has reached."""
        scored = written.get(("scored", self._state.partition), -1)
        self._scored = max(self._scored, scored + 1)
        self._examples = max(self._examples, written.get(("examples", 0), -1) + 1)
        if self._known is not None:
            self._known = self._watermark()

    def idle(self, now: int) -> list[Output]:
        """Return the present watermark if it is due; everything is committed."""
        if self._known is not None:
            self._known = self._watermark()
        return self.due(now)

    def due(self, now: int) -> list[Output]:
        """Return the committed watermark if it is due; `now` is in Unix milliseconds."""
        known, written = self._known, self._written
        if known is None:
            return []
        if written is not None:
            wait = REPEAT_MS if _steps(known) == _steps(written) else PUBLISH_MS
            if 0 <= now - self._written_at < wait:
                return []
        self._written, self._written_at = known, now
        return [known.output()]

    def _watermark(self) -> PartitionWatermark:
        clock = self._state.clock
        return PartitionWatermark(
            self._state.partition,
            # The clock is ahead of the events only while these are idle.
            max(clock.events.watermark, clock.time),
            clock.time,
            self._scored,
            self._examples,
            idle=clock.events.idle_ms >= min(clock.idle_after, IDLE_MS),
        )


def _steps(watermark: PartitionWatermark) -> PartitionWatermark:
    """Return a watermark with times to the step, as it is used."""
    events = floor_time(watermark.events, STEP_MS)
    return watermark._replace(events=events, clock=floor_time(watermark.clock, STEP_MS))
