"""What is said of a replay while not all of its outcomes are known."""

from collections import Counter

from stream_app.deadletters.acts import Act, Progress
from stream_app.deadletters.outcomes import Outcomes, Sent, result

ACT = Act("a", "replay", 0, "ann@host", "all", "test", 12)
SENT = Progress("sending", "ann@host", 1, 0, events=10, labels=2)
SEEN = Outcomes(4, Counter({"wrong-type": 1}), Counter({"invalid-json": 1}))
FAILED = {"wrong-type": 1, "invalid-json": 1}


def test_what_leaves_no_trace_is_pending_then_tried_again_then_a_duplicate() -> None:
    assert result(ACT, SENT, SEEN, backlog=3, retrying=2) == Sent("a", 12, 4, FAILED, 0, 0, 6)
    assert result(ACT, SENT, SEEN, backlog=0, retrying=2) == Sent("a", 12, 5, FAILED, 3, 2, 0)
    assert result(ACT, SENT, SEEN, backlog=0, retrying=99) == Sent("a", 12, 5, FAILED, 0, 5, 0)
    assert result(ACT, SENT, SEEN, backlog=0, retrying=0) == Sent("a", 12, 5, FAILED, 5, 0, 0)
