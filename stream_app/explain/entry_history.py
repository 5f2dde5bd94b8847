"""History of one event's entry in the scorer's state, from the changelog of its partition."""

from typing import Literal

from stream_app.core.scoring.state_changelog import (
    BlockChange,
    EntryChange,
    FloorChange,
    RestoreFloor,
    StateChange,
    is_waiting,
)
from stream_app.core.scoring.state_codec import packed_event_time

EntryState = Literal["pending", "joined", "assumed", "waiting", "removed", "unknown"]
"""A prediction that waits for its label, or has a real or assumed one; a label that waits; none."""


class EntryHistory:
    """State of the entry of one event, updated by the changes of the changelog in their order.

    Attributes:
        state: state after the last change.
        removed_at: wall-clock time at which the entry was removed, in Unix milliseconds; None if
            that is unknown.
        was_scored: True if the entry is, or was, a prediction or a joined event.
    """

    def __init__(self, event_id: str) -> None:
        self.state: EntryState = "unknown"
        self.removed_at: int | None = None
        self.was_scored = False
        self._event_id = event_id
        self._floor: RestoreFloor | None = None
        # The prediction, as a floor that removes it, if it is in a block.
        self._in_block: RestoreFloor | None = None

    def apply(self, change: StateChange, at: int) -> bool:
        """Apply a change of the partition's state.

        Args:
            change: the change.
            at: wall-clock time at which it was written, in Unix milliseconds.

        Returns:
            True if the change contains the event.
        """
        if isinstance(change, FloorChange):
            self._move_floor(change.floor, at)
        elif isinstance(change, EntryChange) and change.event_id == self._event_id:
            self._in_block = None
            if change.entry is None:
                self.state, self.removed_at = "removed", at
            elif isinstance(change.entry, str):
                self.state = "waiting" if is_waiting(change.entry) else "assumed"
                self.was_scored = self.was_scored or self.state == "assumed"
            else:
                self.state = "joined" if isinstance(change.entry, int) else "pending"
                self.was_scored = True
            return True
        elif isinstance(change, BlockChange) and self._event_id in change.ids:
            packed = change.packed[change.ids.index(self._event_id)]
            self._in_block = RestoreFloor(packed_event_time(packed), self._event_id)
            self.state, self.was_scored = "pending", True
            return True
        return False

    def is_below_floor(self, event_time: int) -> bool:
        """Return True if the event, with a time in Unix milliseconds, is not above the floor."""
        return self._floor is not None and (event_time, self._event_id) <= self._floor

    def _move_floor(self, floor: RestoreFloor, at: int) -> None:
        if self._in_block is not None and self._in_block <= floor:
            # Compaction removes earlier floors, so the first one that is found may be a later one.
            self.state, self.removed_at = "removed", None if self._floor is None else at
            self._in_block = None
        self._floor = floor
