"""The ledger derives the state of every dead letter from its records alone."""

import random

from stream_app.dead_letters.dead_letter_reader import DeadLetterRef, Origin
from stream_app.dead_letters.ledger import (
    DlqPartition,
    Ledger,
    LedgerRecord,
    OffsetRanges,
    Operation,
    OperationKind,
    ReplayProgress,
    operation_records,
    progress_record,
)

PARTITION: DlqPartition = ("raw.dlq", 1)


def operation(operation_id: str, kind: OperationKind, reverts: str = "") -> Operation:
    return Operation(operation_id, kind, 0, "ann@host", "all", "test", 0, reverts=reverts)


def written(operation_id: str, kind: OperationKind, *offsets: int) -> list[LedgerRecord]:
    return operation_records(operation(operation_id, kind), {PARTITION: OffsetRanges.of(offsets)})


def states(*parts: list[LedgerRecord]) -> dict[str, str]:
    refs = [
        DeadLetterRef(*PARTITION, offset, str(offset), Origin("p.raw", 1, offset))
        for offset in range(6)
    ]
    return dict(Ledger(record for part in parts for record in part).states(refs))


def test_dead_letters_are_open_unless_an_operation_closes_them() -> None:
    records = [*written("a", "park", 0, 1), *written("b", "drop", 3), *written("c", "replay", 4, 5)]
    assert states(records) == {
        "0": "parked",
        "1": "parked",
        "3": "dropped",
        "4": "replayed",
        "5": "replayed",
    }
    assert states([]) == {}


def test_a_key_that_is_no_text_is_ignored() -> None:
    assert states([(b"\xff/a", b"{}")], written("a", "park", 0)) == {"0": "parked"}


def test_a_position_is_open_unless_an_operation_closes_it() -> None:
    ledger = Ledger(written("a", "replay", 0, 1))
    assert [ledger.is_open("raw.dlq", 1, offset) for offset in range(3)] == [False, False, True]
    assert ledger.is_open("labels.dlq", 1, 0)
    assert ledger.is_open("raw.dlq", 0, 0)


def test_restored_dead_letters_are_open_and_can_be_closed_again() -> None:
    restore = operation_records(operation("a-1", "restore", reverts="a"), {})
    assert states(written("a", "park", 0, 1), restore) == {}
    assert states(written("a", "park", 0, 1), restore, written("b", "drop", 1)) == {"1": "dropped"}


def test_unsent_dead_letters_of_a_stopped_or_restored_replay_are_open() -> None:
    planned, reached = written("a", "replay", 1, 2, 4), {"raw.dlq/1": 3}
    sending, stopped = (
        [progress_record("a", ReplayProgress(state, "ann@host", 1, 0, next=reached))]
        for state in ("sending", "stopped")
    )
    restore = operation_records(operation("a-1", "restore", reverts="a"), {})
    assert set(states(planned, sending)) == {"1", "2", "4"}
    assert set(states(planned, stopped)) == {"1", "2"}
    assert set(states(planned, sending, restore)) == {"1", "2"}


def test_a_hundred_thousand_scattered_dead_letters_fit_into_one_record() -> None:
    offsets = sorted(random.Random(3).sample(range(400_000), 100_000))
    (_, value), _ = operation_records(
        operation("a", "replay"), {PARTITION: OffsetRanges.of(offsets)}
    )
    assert len(value) < 100_000
    ledger = Ledger(written("a", "replay", *offsets))
    assert [
        offset
        for offset in range(400_000)
        if ledger.state(DeadLetterRef(*PARTITION, offset, "", Origin("", 0, 0))) != "open"
    ] == offsets
