"""Tests how `status` derives alarms, corrective actions and coverage from measurements."""

from typing import Any

from stream_app.formatting import iso_time
from stream_app.status.measurements import (
    RECENT_MS,
    WrittenMeasurement,
    alarms,
    corrective_actions,
    label_status,
    threshold_statuses,
)

NOW = 1_700_000_000_000
DAY = 86_400_000


def written(
    kind: str, name: str, window: int, breached: bool = False, **changes: Any
) -> WrittenMeasurement:
    """Return a measurement of the window that ends on a day of 1970, written before `NOW`."""
    fields = {
        "kind": kind,
        "name": name,
        "window": {"start": (window - 1) * DAY, "end": window * DAY},
        "reference": None,
        "n": 10,
        "value": 1.0,
        "threshold": 0.5,
        "breached": breached,
        "model_version": 3,
    }
    return WrittenMeasurement(NOW - 1000 * (100 - window), fields | changes)


def test_an_alarm_is_ongoing_until_a_window_without_a_breach() -> None:
    found = alarms(
        [
            written("volume", "scored", 1, True, value=0.8),
            written("drift", "score", 1, True, reference="fixed"),
            written("drift", "score", 1, False, reference="trailing"),
            written("volume", "scored", 2, True, value=0.9),
            written("drift", "score", 2, False, reference="fixed"),
        ],
        NOW,
    )
    assert [(a.kind, a.reference, a.count, a.value, a.ongoing) for a in found] == [
        ("volume", None, 2, 0.9, True),
        ("drift", "fixed", 1, 1.0, False),
    ]
    assert found[0].window_end == "1970-01-03T00:00:00.000+00:00"


def test_performance_windows_raise_no_alarm_themselves() -> None:
    assert alarms([written("performance", "log_loss", 1, True)], NOW) == ()


def test_an_alarm_without_duration_is_neither_ongoing_nor_ended() -> None:
    alarms_in_order = [
        written("unlearnable", "empty", 1, True, reference=f"offset {n}") for n in range(3)
    ]
    (found,) = alarms(alarms_in_order, NOW)
    assert (found.count, found.ongoing, found.reference) == (3, None, "offset 2")


def lasting(minute: int, breached: bool, source: str, **changes: Any) -> WrittenMeasurement:
    """Return a report, so many minutes after `NOW`, of an alarm that was raised at `NOW`."""
    window = {"start": NOW, "end": NOW + 60_000 * minute + 1}
    fields = written(
        "alarm", "breaker-open", 1, breached, source=source, reference="TimeoutError"
    ).fields
    return WrittenMeasurement(
        NOW + 60_000 * minute, {**fields, "window": window, "n": minute + 1, **changes}
    )


def test_a_lasting_alarm_ends_when_its_source_reports_the_end() -> None:
    reports = [
        lasting(0, True, "score[0]"),
        lasting(0, True, "score[1]"),
        lasting(1, True, "score[0]", reference="ConnectionError"),
        lasting(2, False, "score[1]"),
    ]
    found = alarms(reports, NOW + 120_000)
    assert [(a.source, a.reference, a.count, a.ongoing) for a in found] == [
        ("score[0]", "ConnectionError", 2, True),
        ("score[1]", "TimeoutError", 1, False),
    ]
    assert {a.window_start for a in found} == {iso_time(NOW)}
    assert found[1].window_end == iso_time(NOW + 120_001)


def test_corrective_actions_of_all_workers_are_summed() -> None:
    def action(at: int, name: str, cause: str, n: int, source: str) -> WrittenMeasurement:
        fields = written("corrective_action", name, 1, reference=cause, source=source).fields
        return WrittenMeasurement(at, {**fields, "window": {"start": at - 50, "end": at}, "n": n})

    reports = [
        action(NOW - RECENT_MS, "impute", "amount", 1000, "score[0]"),
        action(NOW - 3000, "impute", "amount", 7, "score[0]"),
        action(NOW - 1000, "restart", "died", 1, "score-0"),
        action(NOW - 2000, "impute", "amount", 3, "score[1]"),
    ]
    found = [
        (a.action, a.cause, a.count, a.since, a.until) for a in corrective_actions(reports, NOW)
    ]
    assert found == [
        ("restart", "died", 1, iso_time(NOW - 1050), iso_time(NOW - 1000)),
        ("impute", "amount", 10, iso_time(NOW - 3050), iso_time(NOW - 2000)),
    ]
    assert alarms(reports, NOW) == ()


def test_an_alarm_older_than_a_day_is_left_out() -> None:
    old = written("drift", "score", 1, True)
    assert alarms([old], old.at + RECENT_MS) == ()
    assert len(alarms([old], old.at + RECENT_MS - 1)) == 1


def test_metrics_with_a_threshold_are_shown_as_of_their_newest_window() -> None:
    interval = {"low": 0.8, "high": 1.2}
    found = threshold_statuses(
        [
            written("performance", "log_loss", 1, value=0.4, interval=interval),
            written("performance", "accuracy", 2, threshold=None),
            written("performance", "roc_auc", 1),
            written("performance", "roc_auc", 2, threshold=None),
            written("performance", "log_loss", 2, True, interval=interval),
            written("performance", "log_loss", 2, reference="labelled", value=3.0),
            written("performance", "f1", 2, interval=None),
        ]
    )
    assert [(one.metric, one.value, one.low, one.high, one.breached) for one in found] == [
        ("f1", 1.0, None, None, False),
        ("log_loss", 1.0, 0.8, 1.2, True),
    ]
    assert (found[1].limit, found[1].n) == (0.5, 10)
    assert found[1].window_end == "1970-01-03T00:00:00.000+00:00"


def test_label_coverage_and_delays_are_those_of_the_newest_window() -> None:
    found = label_status(
        [
            written("coverage", "label_coverage", 1, value=0.1),
            written("coverage", "label_coverage", 2, value=0.9),
            written("delay", "p50", 1, value=1.0),
            written("delay", "p50", 2, value=2.0),
            written("delay", "p95", 2, value=3.0),
        ]
    )
    assert (found.coverage, found.delay_p50, found.delay_p95, found.delay_max) == (
        0.9,
        2.0,
        3.0,
        None,
    )
    assert label_status([]).coverage is None
