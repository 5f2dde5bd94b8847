"""Declared thresholds: limits, consecutive windows, triggered actions and cool-downs."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.evaluation.evaluator import WindowReport
from stream_app.core.evaluation.thresholds import (
    ThresholdFindings,
    ThresholdState,
    alarm_name,
    allows_rollback_to,
    check_metric,
    check_threshold,
)
from stream_app.core.published_records import ExampleOffsets, LimitCheck
from stream_app.pipeline import Threshold

HOUR = 3_600_000
NOTHING: dict[str, float] = {}
OFFLINE = {"log_loss": 0.5, "roc_auc": 0.75}


def window(number: int, log_loss: float, n: int = 200, **values: float) -> WindowReport:
    """Return the report of an hour, with a hundred offsets of the log."""
    examples = ExampleOffsets(number * 100, number * 100 + 120)
    found = {"log_loss": log_loss, **values}
    return WindowReport(number * HOUR, (number + 1) * HOUR, n, number, found, examples, {})


def threshold(**changes: Any) -> Threshold:
    declared: dict[str, Any] = {"metric": "log_loss", "limit": 0.6}
    return Threshold(**(declared | changes))


class Log:
    """Windows of one hour each through the state of a few thresholds."""

    def __init__(self, *thresholds: Threshold) -> None:
        self.thresholds = thresholds
        self.state = ThresholdState()
        self.number = 0

    def close(self, log_loss: float, *, paused: bool = False, **more: Any) -> ThresholdFindings:
        report = window(self.number, log_loss, **more)
        self.number += 1
        return self.state.close(self.thresholds, report, NOTHING, paused=paused)

    def breaches(self, *losses: float) -> list[int]:
        """Return after each window how many consecutive ones breach the first threshold."""
        found = [self.close(loss).breaches for loss in losses]
        return [breaches[0].windows if breaches else 0 for breaches in found]

    def reset(self) -> None:
        """Select a version, or resume learning, at the end of the last window."""
        self.state.reset(self.thresholds, self.number * HOUR)


@pytest.mark.parametrize(
    ("changes", "limit", "breached"),
    [
        ({"limit": 0.6}, 0.6, True),
        ({"limit": 0.8}, 0.8, False),
        ({"metric": "roc_auc", "limit": 0.7}, 0.7, True),
        ({"limit": 0.02, "against": "prior"}, 0.62, True),
        ({"limit": 0.2, "against": "prior"}, 0.8, False),
        ({"limit": -0.02, "against": "prior"}, 0.58, True),
        ({"metric": "accuracy", "limit": 0.05, "against": "majority"}, 0.7, False),
        ({"metric": "accuracy", "limit": -0.05, "against": "no_change"}, 0.85, True),
        ({"metric": "roc_auc", "limit": 0.03, "against": "offline"}, 0.72, True),
        ({"limit": 0.3, "against": "offline"}, 0.8, False),
    ],
)
def test_a_limit_is_absolute_or_relative_to_a_baseline_or_to_the_offline_metric(
    changes: dict[str, Any], limit: float, breached: bool
) -> None:
    values = {"log_loss": 0.7, "roc_auc": 0.65, "accuracy": 0.72}
    values |= {"prior_log_loss": 0.6, "majority_accuracy": 0.75, "no_change_accuracy": 0.8}
    found = check_threshold(threshold(**changes), values, 100, OFFLINE)
    assert found is not None
    assert found.threshold == pytest.approx(limit)
    assert found.breached == breached


@pytest.mark.parametrize(
    ("changes", "n"),
    [
        ({}, 99),
        ({"metric": "roc_auc"}, 100),
        ({"against": "prior"}, 100),
        ({"against": "offline"}, 100),
    ],
)
def test_a_threshold_is_not_checked_with_too_few_labels_or_without_a_reference(
    changes: dict[str, Any], n: int
) -> None:
    assert check_threshold(threshold(**changes), {"log_loss": 9.0}, n, NOTHING) is None


def test_of_several_thresholds_of_a_metric_a_breached_one_is_reported() -> None:
    both = (threshold(limit=0.9), threshold(limit=0.6, action="pause"))
    assert check_metric(both, "log_loss", window(0, 0.7), NOTHING) == LimitCheck(0.6, True)
    assert check_metric(both, "log_loss", window(0, 0.5), NOTHING) == LimitCheck(0.9, False)
    assert check_metric(both, "roc_auc", window(0, 0.5), NOTHING) == LimitCheck()


def test_only_thresholds_that_roll_back_exclude_a_version_from_a_rollback() -> None:
    alarm, rollback = threshold(limit=0.1), threshold(limit=0.6, action="rollback")
    assert allows_rollback_to((alarm, rollback), {"log_loss": 0.5}, 200, NOTHING)
    assert not allows_rollback_to((alarm, rollback), {"log_loss": 0.7}, 200, NOTHING)


def test_a_breach_takes_consecutive_windows_and_ends_with_the_first_good_one() -> None:
    assert Log(threshold(windows=2)).breaches(0.7, 0.5, 0.7, 0.7, 0.7, 0.5, 0.7) == [
        0,
        0,
        0,
        2,
        3,
        0,
        0,
    ]


def test_a_window_with_too_few_labels_neither_extends_nor_ends_a_breach() -> None:
    log = Log(threshold(windows=2))
    log.close(0.7)
    assert log.close(0.5, n=3) == ThresholdFindings([], [])
    assert log.breaches(0.7) == [2]


def test_a_breach_names_all_of_its_windows_and_their_examples() -> None:
    log = Log(threshold(windows=2))
    log.breaches(0.5, 0.7)
    (found,) = log.close(0.8).breaches
    assert (found.start, found.end, found.n, found.examples) == (
        HOUR,
        3 * HOUR,
        400,
        ExampleOffsets(100, 320),
    )
    assert (found.value, found.limit, found.model_version) == (0.8, 0.6, 2)
    assert found.why == "log_loss 0.8 is above 0.6 in 2 windows in a row"


def test_a_threshold_that_is_not_breached_is_reported_as_within() -> None:
    assert Log(threshold()).close(0.5).within == [alarm_name(threshold())]


def test_the_action_alarm_triggers_nothing() -> None:
    assert Log(threshold()).close(0.7).triggered is None


def test_the_strongest_action_is_triggered_once_until_a_reset() -> None:
    log = Log(threshold(), threshold(action="pause"), threshold(action="rollback"))
    triggered = log.close(0.7).triggered
    assert triggered is not None
    assert triggered.threshold.action == "rollback"
    assert [log.close(0.7).triggered for _ in range(3)] == [None] * 3
    log.reset()
    assert log.close(0.7).triggered is not None


def test_a_pause_triggers_no_action_but_reports_breaches() -> None:
    log = Log(threshold(action="rollback"))
    found = log.close(0.7, paused=True)
    assert (len(found.breaches), found.triggered) == (1, None)
    assert not log.state.action_pending


def test_the_cool_down_begins_when_the_alarm_ends() -> None:
    log = Log(threshold(cool_down=timedelta(hours=2)))
    assert log.breaches(0.7, 0.5, 0.7, 0.7, 0.7) == [1, 0, 0, 0, 1]


def test_the_cool_down_begins_at_a_reset_and_earlier_windows_do_not_count() -> None:
    log = Log(threshold(windows=2, cool_down=timedelta(hours=1)))
    assert log.breaches(0.7, 0.7) == [0, 2]
    log.reset()
    assert log.breaches(0.7, 0.7, 0.7) == [0, 0, 2]


def test_a_window_during_the_cool_down_can_end_an_alarm() -> None:
    log = Log(threshold(cool_down=timedelta(hours=5)))
    log.reset()
    assert log.close(0.5).within == [alarm_name(threshold())]


@given(
    losses=st.lists(
        st.tuples(st.sampled_from([0.5, 0.7]), st.sampled_from(["", "decide", "paused"])),
        max_size=40,
    ),
    windows=st.integers(1, 3),
    hours=st.integers(0, 4),
)
def test_two_actions_are_separated_by_a_reset_and_a_cool_down(
    losses: list[tuple[float, str]], windows: int, hours: int
) -> None:
    log = Log(threshold(windows=windows, action="rollback", cool_down=timedelta(hours=hours)))
    decided, waiting = -hours, False
    for number, (loss, what) in enumerate(losses):
        triggered = log.close(loss, paused=what == "paused").triggered
        if triggered is not None:
            assert not waiting
            assert what != "paused"
            assert triggered.start >= (decided + hours) * HOUR
            assert triggered.windows >= windows
            waiting = True
        if what == "decide":
            log.reset()
            decided, waiting = number + 1, False
