"""The ledger: what acts make of letters, from its records alone."""

import random

from stream_app.dead_letters.dead_letter_record import DeadLetterRef, Origin
from stream_app.dead_letters.ledger import Change, Ledger, act_records, progress_record
from stream_app.dead_letters.offset_ranges import OffsetRanges
from stream_app.dead_letters.operations import ActKind, Operation, ReplayProgress, Spot

SPOT: Spot = ("raw.dlq", 1)


def act(identity: str, kind: ActKind, undoes: str = "") -> Operation:
    return Operation(identity, kind, 0, "ann@host", "all", "test", 0, undoes=undoes)


def written(identity: str, kind: ActKind, *offsets: int) -> list[Change]:
    return act_records(act(identity, kind), {SPOT: OffsetRanges.of(offsets)})


def states(*changes: list[Change]) -> dict[str, str]:
    refs = [
        DeadLetterRef(*SPOT, offset, str(offset), Origin("p.raw", 1, offset)) for offset in range(6)
    ]
    return dict(Ledger(change for part in changes for change in part).states(refs))


def test_letters_are_open_unless_an_act_holds_them() -> None:
    changes = [*written("a", "park", 0, 1), *written("b", "drop", 3), *written("c", "replay", 4, 5)]
    assert states(changes) == {
        "0": "parked",
        "1": "parked",
        "3": "dropped",
        "4": "replayed",
        "5": "replayed",
    }
    assert states([]) == {}


def test_what_is_restored_is_open_and_may_be_acted_on_again() -> None:
    taken_back = act_records(act("a-1", "restore", undoes="a"), {})
    assert states(written("a", "park", 0, 1), taken_back) == {}
    assert states(written("a", "park", 0, 1), taken_back, written("b", "drop", 1)) == {
        "1": "dropped"
    }


def test_of_a_stopped_or_restored_replay_what_is_not_sent_is_open() -> None:
    planned, reached = written("a", "replay", 1, 2, 4), {"raw.dlq/1": 3}
    sending, stopped = (
        [progress_record("a", ReplayProgress(state, "ann@host", 1, 0, next=reached))] for state in ("sending", "stopped")
    )  # fmt: skip
    assert set(states(planned, sending)) == {"1", "2", "4"}
    assert set(states(planned, stopped)) == {"1", "2"}
    assert set(states(planned, sending, act_records(act("a-1", "restore", undoes="a"), {}))) == {
        "1",
        "2",
    }


def test_a_hundred_thousand_scattered_letters_fit_into_one_record() -> None:
    offsets = sorted(random.Random(3).sample(range(400_000), 100_000))
    (_, value), _ = act_records(act("a", "replay"), {SPOT: OffsetRanges.of(offsets)})
    assert len(value) < 100_000
    ledger = Ledger(written("a", "replay", *offsets))
    assert [
        offset
        for offset in range(400_000)
        if ledger.state(DeadLetterRef(*SPOT, offset, "", Origin("", 0, 0))) != "open"
    ] == (offsets)
