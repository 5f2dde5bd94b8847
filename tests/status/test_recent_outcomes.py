"""Shares of dead letters in the last minutes."""

from collections import Counter

import pytest

from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.status.recent_outcomes import SHARE_WINDOW_MS, OutcomeHistory, RecentOutcomes


def counts(scored: int, dead: int, joined: int = 0, label_dead: int = 0) -> RecordCounts:
    return RecordCounts(
        scored=scored,
        dead=Counter({"invalid-json": dead}),
        joined=joined,
        label_dead=Counter({"unknown-event": label_dead}),
    )


@pytest.mark.parametrize(
    ("outcomes", "reported"),
    [
        (RecentOutcomes(1000, 180, 0, 0), ["180 of 1,000 recent events became dead letters"]),
        (RecentOutcomes(100, 5, 100, 6), ["6 of 100 recent labels became dead letters"]),
        (RecentOutcomes(1000, 50, 1000, 50), []),
        (RecentOutcomes(2, 2, 0, 0), []),
        (RecentOutcomes(0, 0, 0, 0), []),
    ],
)
def test_a_larger_share_than_declared_is_a_problem(
    outcomes: RecentOutcomes, reported: list[str]
) -> None:
    found = list(outcomes.problems(0.05))
    assert [one.split(" (")[0] for one in found] == reported


def test_a_declared_share_of_one_accepts_everything() -> None:
    assert list(RecentOutcomes(10, 10, 10, 10).problems(1.0)) == []


def test_only_records_of_the_last_minutes_count() -> None:
    history = OutcomeHistory()
    history.begin(counts(scored=1000, dead=500), 0)
    assert history.add(counts(1100, 500), 1000) == RecentOutcomes(100, 0, 0, 0)
    assert history.add(counts(1110, 540, 5, 1), 2000) == RecentOutcomes(150, 40, 6, 1)
    later = history.add(counts(1120, 540, 5, 1), SHARE_WINDOW_MS + 3000)
    assert later == RecentOutcomes(10, 0, 0, 0)
