"""What is said of a replay while not all of its outcomes are known."""

from collections import Counter

from stream_app.dead_letters.operations import Operation, ReplayProgress
from stream_app.dead_letters.replay_outcomes import ReplayOutcomes, SentRecord, result

ACT = Operation("a", "replay", 0, "ann@host", "all", "test", 12)
SENT = ReplayProgress("sending", "ann@host", 1, 0, events=10, labels=2)
SEEN = ReplayOutcomes(4, Counter({"wrong-type": 1}), Counter({"invalid-json": 1}))
FAILED = {"wrong-type": 1, "invalid-json": 1}


def test_what_leaves_no_trace_is_pending_then_tried_again_then_a_duplicate() -> None:
    assert result(ACT, SENT, SEEN, backlog=3, retrying=2) == SentRecord("a", 12, 4, FAILED, 0, 0, 6)
    assert result(ACT, SENT, SEEN, backlog=0, retrying=2) == SentRecord("a", 12, 5, FAILED, 3, 2, 0)
    assert result(ACT, SENT, SEEN, backlog=0, retrying=99) == SentRecord(
        "a", 12, 5, FAILED, 0, 5, 0
    )
    assert result(ACT, SENT, SEEN, backlog=0, retrying=0) == SentRecord("a", 12, 5, FAILED, 5, 0, 0)
