"""Corrective actions: exact counts in few reports, also across restarts."""

from collections import Counter
from itertools import pairwise

import orjson
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.monitoring.alarms import (
    FIRST_INTERVAL_MS,
    MAX_CAUSES,
    MAX_INTERVAL_MS,
    OTHER,
    CorrectiveActions,
)
from stream_app.core.published_records import Measurement

NOW = 1_700_000_000_000
ADDED = st.lists(
    st.tuples(
        st.integers(0, 30_000),  # milliseconds since the one before
        st.sampled_from(["impute", "retry"]),
        st.sampled_from(["amount", "country"]),
        st.integers(1, 1000),
        st.sampled_from(["", "report", "restart"]),
    )
)


def counts(reports: list[Measurement]) -> Counter[tuple[str, str | None]]:
    found: Counter[tuple[str, str | None]] = Counter()
    for report in reports:
        found[report.name, report.reference] += report.n
    return found


@given(ADDED)
def test_reports_add_up_to_all_actions_across_restarts(
    steps: list[tuple[int, str, str, int, str]],
) -> None:
    actions, now, added, reports = (
        CorrectiveActions(),
        NOW,
        Counter[tuple[str, str | None]](),
        list[Measurement](),
    )
    for passed, action, cause, n, then in steps:
        now += passed
        actions.add(action, cause, now, n)
        added[action, cause] += n
        if then:
            reports += actions.due(now)
        if then == "restart":
            actions = CorrectiveActions.from_dict(orjson.loads(orjson.dumps(actions.as_dict())))
    reports += actions.due(now + MAX_INTERVAL_MS)
    assert counts(reports) == added
    assert actions.due(now + 2 * MAX_INTERVAL_MS) == []
    assert all(NOW <= report.start < report.end <= now + 1 for report in reports)


def test_a_million_actions_make_few_reports() -> None:
    actions, reports = CorrectiveActions(), list[Measurement]()
    for now in range(NOW, NOW + 3_600_000, 100):
        actions.add("impute", "amount", now, 28)
        reports += actions.due(now)
    reports += actions.due(NOW + 3_600_000 + MAX_INTERVAL_MS)
    assert reports[0].n == 28  # at once
    assert [second.end - first.end for first, second in pairwise(reports[:4])] == [
        FIRST_INTERVAL_MS, 2 * FIRST_INTERVAL_MS, 4 * FIRST_INTERVAL_MS,
    ]  # fmt: skip
    assert len(reports) < 15
    assert sum(report.n for report in reports) == 28 * 36_000


def test_the_first_action_after_a_quiet_time_is_reported_at_once() -> None:
    actions = CorrectiveActions()
    for start in (NOW, NOW + 5 * MAX_INTERVAL_MS):
        actions.add("retry", "TimeoutError", start)
        assert len(actions.due(start)) == 1
        actions.take_new()
        assert actions.due(start + MAX_INTERVAL_MS) == []


def test_a_report_has_action_cause_count_and_window() -> None:
    actions = CorrectiveActions()
    actions.add("impute", "amount", NOW)
    actions.add("impute", "amount", NOW + 70, 2)
    (report,) = actions.due(NOW + 100)
    assert report == Measurement(
        "corrective_action", "impute", NOW, NOW + 71, 3, reference="amount"
    )
    fields = orjson.loads(report.output("p").value or b"")
    assert (fields["breached"], fields["value"], fields["threshold"]) == (False, None, None)


def test_causes_beyond_the_limit_are_counted_together() -> None:
    actions = CorrectiveActions()
    for number in range(MAX_CAUSES + 50):
        actions.add("retry", f"cause {number}", NOW)
    found = counts(actions.due(NOW))
    assert found["retry", OTHER] == 50
    assert (len(found), found.total()) == (MAX_CAUSES + 1, MAX_CAUSES + 50)


def test_a_clock_that_is_set_back_delays_no_report() -> None:
    actions = CorrectiveActions()
    actions.add("impute", "amount", NOW)
    actions.due(NOW)
    actions.add("impute", "amount", NOW - 3_600_000)
    assert len(actions.due(NOW - 3_600_000)) == 1


def test_new_actions_are_taken_once_and_not_again_after_a_restart() -> None:
    actions = CorrectiveActions()
    actions.add("impute", "amount", NOW, 3)
    assert (actions.take_new(), actions.take_new()) == ({("impute", "amount"): 3}, {})
    assert CorrectiveActions.from_dict(actions.as_dict()).take_new() == {}
