"""History of an event's entry, from the records that the state writes."""

import pytest

from stream_app.core.scoring.state_changelog import (
    BlockChange,
    EntryChange,
    FloorChange,
    RestoreFloor,
    StateChange,
    decode_change,
    encode_block,
)
from stream_app.core.scoring.state_codec import (
    PendingPrediction,
    PredictionCodec,
    PredictionOrigin,
    to_single,
)
from stream_app.explain.entry_history import EntryHistories, EntryHistory
from stream_app.explain.event_records import EventRecords

ORIGIN = PredictionOrigin("f", 0.5, "raw")
EARLIER, LATER = (
    PredictionCodec().pack(PendingPrediction(time, 0.5, 1, {}, ORIGIN, 7)) for time in (5, 9)
)
BLOCK = decode_change(b"b0", encode_block(RestoreFloor(9, "z"), ["x", "z"], [EARLIER, LATER]))


def floor(event_time: int, event_id: str) -> FloorChange:
    return FloorChange(RestoreFloor(event_time, event_id))


@pytest.mark.parametrize(
    ("changes", "state", "removed_at", "was_scored"),
    [
        ([], "unknown", None, False),
        ([EntryChange("y", 5), BlockChange(1, None, (), ())], "unknown", None, False),
        ([EntryChange("x", '["w",true]')], "waiting", None, False),
        ([EntryChange("x", '["w",true]'), EntryChange("x", None)], "removed", 1, False),
        ([EntryChange("x", to_single(EARLIER))], "pending", None, True),
        ([EntryChange("x", 5)], "joined", None, True),
        ([BLOCK], "pending", None, True),
        ([BLOCK, EntryChange("x", 5)], "joined", None, True),
        ([BLOCK, EntryChange("x", 5), floor(5, "x")], "joined", None, True),
        ([BLOCK, floor(5, "w"), floor(4, "z")], "pending", None, True),
        ([BLOCK, EntryChange("x", '["a",5]'), floor(5, "x")], "assumed", None, True),
        ([BLOCK, EntryChange("x", '["a",5]'), EntryChange("x", None)], "removed", 2, True),
        # Compaction may have removed an earlier floor that was above the event.
        ([BLOCK, floor(5, "x")], "removed", None, True),
        ([BLOCK, floor(4, "x"), floor(5, "x"), floor(6, "x")], "removed", 2, True),
        ([BLOCK, EntryChange("x", 5), EntryChange("x", None), floor(5, "x")], "removed", 2, True),
    ],
)
def test_the_changes_give_the_state_of_the_entry(
    changes: list[StateChange], state: str, removed_at: int | None, was_scored: bool
) -> None:
    history = EntryHistory("x")
    for at, change in enumerate(changes):
        history.apply(change, at)
    assert (history.state, history.was_scored) == (state, was_scored)
    if state == "removed":
        assert history.removed_at == removed_at


def test_a_change_tells_whether_it_contains_the_event() -> None:
    assert BLOCK is not None
    changes = [BLOCK, EntryChange("x", None), EntryChange("y", None), floor(5, "x")]
    assert [EntryHistory("x").apply(change, 0) for change in changes] == [True, True, False, False]


def test_an_event_up_to_the_floor_is_below_it() -> None:
    history = EntryHistory("x")
    assert not history.is_below_floor(5)
    history.apply(floor(5, "x"), 0)
    assert [history.is_below_floor(time) for time in (4, 5, 6)] == [True, True, False]


@pytest.mark.parametrize(
    ("is_complete", "event_time", "expected"),
    [
        (True, 5, "removed"),
        (True, 6, "unknown"),
        (True, None, "unknown"),
        # The single record of the entry may be older than the search.
        (False, 5, "unknown"),
    ],
)
def test_a_scored_event_below_the_floor_was_removed_even_if_compaction_left_no_record(
    is_complete: bool, event_time: int | None, expected: str
) -> None:
    history = EntryHistory("x")
    history.apply(floor(5, "x"), 0)
    records = EventRecords(history, is_complete)
    assert records.entry(event_time) == expected
    assert records.removed_at is None


def test_the_time_of_a_tombstone_is_that_of_the_removal() -> None:
    history = EntryHistory("x")
    history.apply(EntryChange("x", None), 1_700_000_000_000)
    assert EventRecords(history, True).removed_at == "2023-11-14T22:13:20.000+00:00"


def test_each_wanted_entry_of_a_partition_has_a_history() -> None:
    histories = EntryHistories({"x", "y", "v"}.__contains__)
    changes = [floor(1, "a"), BLOCK, EntryChange("y", 5), EntryChange("w", 5), floor(5, "x")]
    assert BLOCK is not None
    found = [histories.apply(change, at) for at, change in enumerate(changes) if change is not None]
    assert found == [[], ["x"], ["y"], [], []]
    assert {one: history.state for one, history in histories.by_identity.items()} == {
        "x": "removed",
        "y": "joined",
    }
    # The floor before the block is known, so the later one has removed the prediction.
    assert histories.history("x").removed_at == 4
    assert histories.history("v").state == "unknown"
    assert histories.history("v").is_below_floor(5)
