"""Histories of events' entries in the scorer's state, from the changelog of their partition."""

from collections.abc import Callable
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

    Args:
        identity: identity of the event.
        floor: restore floor before the first change.

    Attributes:
        state: state after the last change.
        removed_at: wall-clock time at which the entry was removed, in Unix milliseconds; None if
            that is unknown.
        was_scored: True if the entry is, or was, a prediction or a joined event.
    """

    def __init__(self, identity: str, floor: RestoreFloor | None = None) -> None:
        self.state: EntryState = "unknown"
        self.removed_at: int | None = None
        self.was_scored = False
        self._identity = identity
        self._floor = floor
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
        elif isinstance(change, EntryChange) and change.identity == self._identity:
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
        elif isinstance(change, BlockChange) and self._identity in change.ids:
            packed = change.packed[change.ids.index(self._identity)]
            self._in_block = RestoreFloor(packed_event_time(packed), self._identity)
            self.state, self.was_scored = "pending", True
            return True
        return False

    def is_below_floor(self, event_time: int) -> bool:
        """Return True if the event, with a time in Unix milliseconds, is not above the floor."""
        return self._floor is not None and (event_time, self._identity) <= self._floor

    def _move_floor(self, floor: RestoreFloor, at: int) -> None:
        if self._in_block is not None and self._in_block <= floor:
            # Compaction removes earlier floors, so the first one that is found may be a later one.
            self.state, self.removed_at = "removed", None if self._floor is None else at
            self._in_block = None
        self._floor = floor


class EntryHistories:
    """Histories of entries in the changelog of one partition.

    Args:
        is_wanted: returns True for the identities of the wanted entries.

    Attributes:
        by_identity: histories of the wanted entries that the changes contain.
    """

    def __init__(self, is_wanted: Callable[[str], bool]) -> None:
        self.by_identity: dict[str, EntryHistory] = {}
        self._is_wanted = is_wanted
        self._floor: RestoreFloor | None = None

    def apply(self, change: StateChange, at: int) -> list[str]:
        """Apply a change; arguments as for `EntryHistory.apply`.

        Returns:
            The wanted identities that the change contains.
        """
        found: list[str] = []
        if isinstance(change, EntryChange) and self._is_wanted(change.identity):
            found = [change.identity]
        elif isinstance(change, BlockChange):
            found = list(filter(self._is_wanted, change.ids))
        for identity in found:
            self.by_identity.setdefault(identity, self.history(identity))
        for history in self.by_identity.values():
            history.apply(change, at)
        if isinstance(change, FloorChange):
            self._floor = change.floor
        return found

    def history(self, identity: str) -> EntryHistory:
        """Return the history of an entry, which has no changes if none was found."""
        return self.by_identity.get(identity) or EntryHistory(identity, self._floor)
