"""A replay has a result while some of its outcomes are still unknown."""

from collections import Counter

from stream_app.dead_letters.ledger import Operation, ReplayProgress
from stream_app.dead_letters.replay_outcomes import ReplayOutcomes, ReplayResult, replay_result

OPERATION = Operation("a", "replay", 0, "ann@host", "all", "test", 12)
PROGRESS = ReplayProgress("sending", "ann@host", 1, 0, events=10, labels=2)
OUTCOMES = ReplayOutcomes(4, Counter({"wrong-type": 1}), Counter({"invalid-json": 1}))
FAILED = {"wrong-type": 1, "invalid-json": 1}


def test_records_without_an_outcome_are_pending_then_retrying_then_duplicates() -> None:
    assert replay_result(OPERATION, PROGRESS, OUTCOMES, backlog=3, retrying=2) == ReplayResult(
        "a", 12, 4, FAILED, 0, 0, 6
    )
    assert replay_result(OPERATION, PROGRESS, OUTCOMES, backlog=0, retrying=2) == ReplayResult(
        "a", 12, 5, FAILED, 3, 2, 0
    )
    assert replay_result(OPERATION, PROGRESS, OUTCOMES, backlog=0, retrying=99) == ReplayResult(
        "a", 12, 5, FAILED, 0, 5, 0
    )
    assert replay_result(OPERATION, PROGRESS, OUTCOMES, backlog=0, retrying=0) == ReplayResult(
        "a", 12, 5, FAILED, 5, 0, 0
    )
