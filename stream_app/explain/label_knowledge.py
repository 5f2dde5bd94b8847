"""Outcomes of the labels of one event, from what its records and the scorer's state tell."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from stream_app.explain.entry_history import EntryState
from stream_app.explain.event_trace import FailureDetail
from stream_app.formatting import exact_duration, iso_time

JOINED = "joined"
WAITING = "waiting for its event"
ASSUMED = "assumed, as none came"
NOT_LEARNED = "not learned: replayed with --no-learn"


class LabelKnowledge(NamedTuple):
    """Facts that determine what became of the labels of an event. Times are Unix milliseconds.

    Attributes:
        due_by: end of the horizon of the scored event, None if it was not scored.
        example_time: label time of the event's example, None without an example.
        assumed: True if the label of that example was assumed.
        entry: state of the event's entry in the scorer's state.
        removed_at: wall-clock time at which the entry was removed, if that is known.
        partition: partition of the scored event, None if it was not scored.
        unlearned: True if the event was replayed with --no-learn.
        lateness: allowed lateness in milliseconds.
        event_failures: failures of the event's records.
    """

    due_by: int | None
    example_time: int | None
    entry: EntryState
    removed_at: str | None
    partition: int | None
    unlearned: bool
    lateness: int
    event_failures: Sequence[FailureDetail]
    assumed: bool = False

    def outcome(self, time: int | None, after: Collection[str]) -> str:
        """Return the outcome, in words, of a processed label that is not a dead letter.

        Args:
            time: time at which the label became known, None if its record cannot be read.
            after: outcomes of the labels of the event before it.
        """
        if time is None:
            return "rejected; its dead letter is deleted"
        if JOINED in after or WAITING in after:
            return "duplicate: the event had a label already"
        if self.due_by is not None and time > self.due_by:
            return f"not counted: known {exact_duration(time - self.due_by)} after the horizon"
        if self.assumed or self.entry == "assumed":
            return "not learned: it came after a label was assumed"
        if self.example_time is not None:
            is_joined = time == self.example_time
            return JOINED if is_joined else "duplicate: the event got another label"
        if self.entry == "joined":
            return JOINED
        if self.entry == "waiting":
            return WAITING
        return "no longer known: its example or its dead letter is deleted"

    def explained(
        self, failure: FailureDetail, time: int | None, partition: int | None
    ) -> FailureDetail:
        """Return the failure of a label in a partition with what became of its event."""
        if failure.code not in ("unknown-event", "label-too-late"):
            return failure
        found = self._event(failure.code, time, partition)
        return failure._replace(message=f"{failure.message}. {found}")

    def _event(self, code: str, time: int | None, partition: int | None) -> str:
        """Return what became of the event of a label that met no prediction."""
        late = next((one for one in self.event_failures if one.code == "event-too-late"), None)
        if self.due_by is None:
            if late is not None:
                return f"Its event is a dead letter too: {late.message}"
            if self.event_failures:
                return f"Its event is a dead letter too: {self.event_failures[-1].code}"
            return "No record of its event is found"
        if partition != self.partition:
            return (
                f"Its event is in partition {self.partition}, the label in {partition}: they have "
                "other keys, or their producers other partitioners"
            )
        if time is not None and time > self.due_by:
            known = f"{exact_duration(time - self.due_by)} after the horizon"
        else:
            known = "within the horizon"
        if code == "unknown-event" and known == "within the horizon":
            return (
                "Its event was scored after the label had been given up: it came later than the "
                "label's time + allowed_lateness"
            )
        closed = f"event time passed {iso_time(self.due_by + self.lateness)}"
        when = "" if self.removed_at is None else f", at {self.removed_at} by the scorer's clock"
        return f"The label became known {known}; its prediction was closed when {closed}{when}"


def label_state(known: LabelKnowledge) -> str:
    """Return the state of an event's label in words."""
    if known.assumed or known.entry == "assumed":
        return ASSUMED
    if known.example_time is not None:
        return JOINED
    if known.entry == "joined":
        if known.unlearned:
            return f"{JOINED}; {NOT_LEARNED}"
        return JOINED if known.due_by is None else f"{JOINED}; it has no example"
    if known.entry == "pending":
        return "awaited"
    if known.entry == "waiting":
        return WAITING
    if known.due_by is None:
        return "none"
    if known.unlearned:
        return f"unknown, because the prediction is closed; {NOT_LEARNED}"
    return "none in time" if known.entry == "removed" else "none found"
