"""LastingAlarms: opened once, reported once a minute, ended also after a restart."""

from itertools import pairwise

import orjson
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.monitoring.alarms import REPORT_INTERVAL_MS, LastingAlarms
from stream_app.core.published_records import LimitCheck, Measurement, is_lasting_alarm

NOW = 1_700_000_000_000
STEPS = st.lists(
    st.tuples(
        st.integers(0, 90_000),
        st.sampled_from(["raise", "end", "report", "restart"]),
        st.sampled_from("ab"),
    )
)


def summary(reports: list[Measurement]) -> list[tuple[str, int, bool]]:
    return [(report.name, report.n, report.limit_check.breached) for report in reports]


def restarted(alarms: LastingAlarms) -> LastingAlarms:
    return LastingAlarms.from_dict(orjson.loads(orjson.dumps(alarms.as_dict())))


def test_an_alarm_opens_once_is_reported_once_a_minute_and_ends() -> None:
    alarms, reports = LastingAlarms(), list[Measurement]()
    for second in range(150):
        alarms.raise_(
            "state-full", "partition 3", NOW + 1000 * second, value=0.9 + second / 1e6, limit=0.9
        )
        reports += alarms.due(NOW + 1000 * second)
    alarms.end("state-full", NOW + 150_000)
    assert alarms.open == []
    reports += alarms.due(NOW + 150_000)
    assert summary(reports) == [
        ("state-full", 1, True),
        ("state-full", 61, True),
        ("state-full", 121, True),
        ("state-full", 150, False),
    ]
    last = reports[-1]
    assert (last.start, last.end, last.reference) == (NOW, NOW + 150_001, "partition 3")
    assert last.limit_check == LimitCheck(0.9, False)
    assert alarms.due(NOW + REPORT_INTERVAL_MS * 10) == []


def test_an_alarm_raised_once_is_reported_until_it_ends() -> None:
    alarms = LastingAlarms()
    alarms.raise_("breaker-open", "TimeoutError", NOW)
    assert [len(alarms.due(NOW + REPORT_INTERVAL_MS * minute // 2)) for minute in range(5)] == [
        1,
        0,
        1,
        0,
        1,
    ]


def test_a_restarted_worker_ends_an_open_alarm() -> None:
    alarms = LastingAlarms()
    alarms.raise_("breaker-open", "TimeoutError", NOW, 0.7, 0.5)
    alarms.due(NOW)
    after = restarted(alarms)
    assert (after.open, after.due(NOW + 1)) == (["breaker-open"], [])
    after.end("breaker-open", NOW + 10)
    assert summary(after.due(NOW + 10)) == [("breaker-open", 1, False)]
    assert restarted(after).as_dict() == {}


def test_an_alarm_that_ends_before_its_first_report_is_reported() -> None:
    alarms = LastingAlarms()
    alarms.raise_("breaker-open", "TimeoutError", NOW)
    alarms.end("breaker-open", NOW)
    found = alarms.due(NOW)
    assert summary(found) == [("breaker-open", 1, True), ("breaker-open", 1, False)]
    assert all(is_lasting_alarm(orjson.loads(report.output("p").value or b"")) for report in found)


def test_an_alarm_raised_again_before_its_end_was_reported_stays_open() -> None:
    alarms = LastingAlarms()
    alarms.raise_("breaker-open", "TimeoutError", NOW)
    alarms.due(NOW)
    alarms.end("breaker-open", NOW + 1)
    alarms.raise_("breaker-open", "ConnectionError", NOW + 2)
    assert alarms.due(NOW + 2) == []
    assert alarms.open == ["breaker-open"]


def test_ending_an_unknown_alarm_has_no_effect() -> None:
    alarms = LastingAlarms()
    alarms.end("breaker-open", NOW)
    assert alarms.due(NOW) == []


@given(STEPS)
def test_beginnings_and_ends_alternate_across_restarts(steps: list[tuple[int, str, str]]) -> None:
    alarms, now, reports = LastingAlarms(), NOW, list[Measurement]()
    for passed, step, name in steps:
        now += passed
        if step == "raise":
            alarms.raise_(name, "cause", now)
        elif step == "end":
            alarms.end(name, now)
        elif step == "report":
            reports += alarms.due(now)
        else:
            alarms = restarted(alarms)
    reports += alarms.due(now)
    for name in "ab":
        mine = [report for report in reports if report.name == name]
        assert not mine or mine[0].limit_check.breached
        assert all(a.limit_check.breached or b.limit_check.breached for a, b in pairwise(mine))
        assert all(a.start == b.start for a, b in pairwise(mine) if a.limit_check.breached)
        assert (name in alarms.open) == bool(mine and mine[-1].limit_check.breached)


def test_an_alarm_raised_repeatedly_lasts_until_it_has_been_quiet() -> None:
    alarms = LastingAlarms()
    reports = []
    for second in range(30):
        now = second * 1000
        if second % 3 == 0:
            alarms.raise_("degraded", "model-failed", now)
        alarms.end("degraded", now, quiet=10_000)
        reports += [(second, report.limit_check.breached) for report in alarms.due(now)]
        alarms = LastingAlarms.from_dict(alarms.as_dict())
    assert reports == [(0, True)]
    alarms.end("degraded", 36_999, quiet=10_000)
    assert alarms.due(36_999) == []
    alarms.end("degraded", 37_000, quiet=10_000)
    assert [report.limit_check.breached for report in alarms.due(37_000)] == [False]
