"""A replay has a result while some of its outcomes are still unknown."""

from collections import Counter

from stream_app.dead_letters.ledger import Operation, ReplayProgress
from stream_app.dead_letters.replay_outcomes import ReplayOutcomes, ReplayResult, replay_result

OPERATION = Operation("a", "replay", 0, "ann@host", "all", "test", 12)
PROGRESS = ReplayProgress("sending", "ann@host", 1, 0, events=10, labels=2)
OUTCOMES = ReplayOutcomes(4, Counter({"wrong-type": 1}), Counter({"invalid-json": 1}))
FAILED = {"wrong-type": 1, "invalid-json": 1}


LABELS = {"joined": 1}


def result(retrying: int, *, backlog: int = 0) -> ReplayResult:
    return replay_result(OPERATION, PROGRESS, OUTCOMES, LABELS, backlog=backlog, retrying=retrying)


def test_records_without_an_outcome_are_pending_then_retrying_then_duplicates() -> None:
    assert result(2, backlog=3) == ReplayResult("a", 12, 5, FAILED, 0, 0, 5)
    assert result(2) == ReplayResult("a", 12, 5, FAILED, 3, 2, 0)
    assert result(99) == ReplayResult("a", 12, 5, FAILED, 0, 5, 0)
    assert result(0) == ReplayResult("a", 12, 5, FAILED, 5, 0, 0)


def test_only_scored_events_and_joined_labels_have_passed() -> None:
    labels = {"joined": 2, "expired": 720, "duplicate": 3, "waiting": 4}
    progress = ReplayProgress("done", "ann@host", 1, 0, events=4, labels=731)
    outcomes = ReplayOutcomes(4, labels_failed=Counter({"label-too-late": 1}))
    found = replay_result(OPERATION, progress, outcomes, labels, backlog=0, retrying=0)
    assert found == ReplayResult(
        "a", 735, 6, {"label-too-late": 1}, 3, 0, 1, expired=720, waiting=4
    )
    total = found.passed + sum(found.failed.values()) + found.duplicates + found.pending
    assert total + found.expired + found.waiting == found.sent


def test_records_that_ingest_leaves_out_are_settled() -> None:
    counted = {"filtered": 3, "tombstone": 1, "label_filtered": 1, "joined": 1}
    found = replay_result(OPERATION, PROGRESS, OUTCOMES, counted, backlog=0, retrying=0)
    assert found == ReplayResult("a", 12, 5, FAILED, 1, 0, 0, filtered=4, tombstones=1)
