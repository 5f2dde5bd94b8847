"""The committed books and state of one scorer's partition, as metrics."""

from stream_app.core.scoring.partition_state import NEVER, PartitionState
from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.telemetry.metrics import (
    DEAD_LETTERS,
    DEGRADED,
    RECORDS,
    RETRYING,
    STATE_ENTRIES,
    WATERMARK,
)

COUNTED = ("scored", "duplicates", "joined", "label_duplicates", "label_expired", "expired")


class ExportedMetrics:
    """What was shown of the partition last; `raw` is the full name of its topic."""

    def __init__(self, raw: str) -> None:
        self._raw = raw
        self._tallies = RecordCounts()
        for outcome in COUNTED:
            RECORDS.labels("score", raw, outcome)  # from 0 on, or none would look like no data

    def start(self, state: PartitionState) -> None:
        """Show a state that was restored: what it has counted so far, another worker has shown."""
        self._tallies = _copy(state.tallies)
        self._show_state(state)

    def update(self, state: PartitionState) -> None:
        """Show a state that was committed, and what was counted since the one before."""
        tallies, shown = state.tallies, self._tallies
        for outcome in COUNTED:
            change = getattr(tallies, outcome) - getattr(shown, outcome)
            if change:
                RECORDS.labels("score", self._raw, outcome).inc(change)
        DEGRADED.inc(tallies.degraded - shown.degraded)
        for codes, before, topic in (
            (tallies.dead, shown.dead, "raw"),
            (tallies.label_dead, shown.label_dead, "labels"),
        ):
            for code, count in (codes - before).items():
                DEAD_LETTERS.labels(topic, code).inc(count)
        self._tallies = _copy(tallies)
        self._show_state(state)

    def _show_state(self, state: PartitionState) -> None:
        partition = str(state.partition)
        for status in ("pending", "waiting"):
            STATE_ENTRIES.labels(partition, status).set(getattr(state.tallies, status))
        RETRYING.labels(partition).set(state.tallies.retrying)
        STATE_ENTRIES.labels(partition, "known").set(len(state.entries))
        if state.clock != NEVER:
            WATERMARK.labels(partition).set(state.clock / 1000)


def _copy(tallies: RecordCounts) -> RecordCounts:
    return RecordCounts.from_dict(tallies.as_dict())
