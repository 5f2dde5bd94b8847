"""Decides if a label is late, and says of late records why: by how much, and what would help."""

from stream_app.core.reading.event_time import SUSPICION, is_suspect
from stream_app.core.scoring.event_clock import ClockMover
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.formatting import exact_duration, iso_time
from stream_app.records import Failure

_MOVERS: dict[ClockMover, str] = {
    "events": "the watermark of events",
    "labels": "the watermark of labels",
    "idle inputs": "the wall clock, because nothing was left to read for idle_after",
}
_FULL = "the state was full (STREAM_APP_WORKER__MAX_STATE_ENTRIES)"


def event_too_late(state: PartitionState, event_time: int) -> Failure:
    """Return the failure of an event that is older than its duplicates are remembered."""
    if is_suspect(event_time):
        return Failure("event-too-late", f"the time of the event {SUSPICION}; {_clock(state)}")
    if event_time >= state.forgotten_before:
        return Failure(
            "event-too-late",
            f"{_FULL}, so the ids of events before {iso_time(state.evicted_before)} were forgotten",
        )
    late = state.forgotten_before - event_time
    return Failure(
        "event-too-late",
        f"the event came {exact_duration(late)} later than horizon + allowed_lateness allow; "
        f"{_clock(state)}",
    )


def is_within_horizon(state: PartitionState, event_time: int, label_time: int) -> bool:
    """Return True if a label became known early enough to be joined to its prediction."""
    return label_time <= event_time + state.horizon


def label_too_late(state: PartitionState, label_time: int) -> Failure | None:
    """Return the failure of a label without an open prediction, or None if it can wait."""
    if label_time + state.lateness >= state.clock.time:
        return None
    if is_suspect(label_time):
        return Failure("label-too-late", f"the time of the label {SUSPICION}; {_clock(state)}")
    age = exact_duration(state.clock.time - label_time)
    return Failure(
        "label-too-late",
        f"no prediction is open for the label: it was closed before, or its event never came in "
        f"time; {_clock(state)}, {age} after the label became known. An allowed_lateness of {age} "
        f"instead of {exact_duration(state.lateness)} would have kept the prediction open, if the "
        "label became known within the horizon",
    )


def label_without_event(state: PartitionState, label_time: int) -> Failure:
    """Return the failure of a label for whose event nothing waits any longer."""
    age = exact_duration(state.clock.time - label_time)
    return Failure(
        "unknown-event",
        f"no event with this id came while the label waited; {_clock(state)}, {age} after the "
        f"label became known, and allowed_lateness is {exact_duration(state.lateness)}",
    )


def label_evicted(label_time: int) -> Failure:
    """Return the failure of a label that waited for its event when the state was full."""
    return Failure(
        "unknown-event",
        f"{_FULL} before the event of the label of {iso_time(label_time)} came",
    )


def _clock(state: PartitionState) -> str:
    return f"event time was moved to {iso_time(state.clock.time)} by {_MOVERS[state.clock.mover]}"
