"""Declared thresholds: what windows say about them, how many it takes, what is demanded, and when they rest."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.evaluation.evaluator import WindowReport
from stream_app.core.evaluation.thresholds import (
    ThresholdFindings,
    ThresholdState,
    is_within,
    judge,
    name_of,
    verdict,
)
from stream_app.core.example import ExampleOffsets
from stream_app.core.measurement import LimitCheck
from stream_app.pipeline import Threshold

HOUR = 3_600_000
NOTHING: dict[str, float] = {}
LABORATORY = {"log_loss": 0.5, "roc_auc": 0.75}


def window(number: int, log_loss: float, n: int = 200, **values: float) -> WindowReport:
    """The window of that hour; a hundred offsets of the log each."""
    examples = ExampleOffsets(number * 100, number * 100 + 120)
    return WindowReport(
        number * HOUR, (number + 1) * HOUR, n, number, {"log_loss": log_loss, **values}, examples
    )


def threshold(**changes: Any) -> Threshold:
    declared: dict[str, Any] = {"metric": "log_loss", "limit": 0.6}
    return Threshold(**(declared | changes))


class Log:
    """Windows of one hour each through the state of a few thresholds."""

    def __init__(self, *thresholds: Threshold) -> None:
        self.thresholds = thresholds
        self.watching = ThresholdState()
        self.number = 0

    def close(self, log_loss: float, *, held: bool = False, **more: Any) -> ThresholdFindings:
        report = window(self.number, log_loss, **more)
        self.number += 1
        return self.watching.close(self.thresholds, report, NOTHING, held=held)

    def breaches(self, *losses: float) -> list[int]:
        """How many windows in a row are beyond the first threshold, after each of them; 0 if it is not breached."""
        found = [self.close(loss).breaches for loss in losses]
        return [breaches[0].windows if breaches else 0 for breaches in found]

    def decided(self) -> None:
        """Somebody chose a version, or resumed learning, at the end of the last window."""
        self.watching.decided(self.thresholds, self.number * HOUR)


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
def test_a_limit_is_absolute_or_relative_to_a_baseline_or_to_the_laboratory(
    changes: dict[str, Any], limit: float, breached: bool
) -> None:
    values = {"log_loss": 0.7, "roc_auc": 0.65, "accuracy": 0.72}
    values |= {"prior_log_loss": 0.6, "majority_accuracy": 0.75, "no_change_accuracy": 0.8}
    found = judge(threshold(**changes), values, 100, LABORATORY)
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
def test_too_few_labels_or_nothing_to_compare_with_is_no_verdict(
    changes: dict[str, Any], n: int
) -> None:
    assert judge(threshold(**changes), {"log_loss": 9.0}, n, NOTHING) is None


def test_of_several_thresholds_of_a_metric_the_one_that_is_passed_is_shown() -> None:
    both = (threshold(limit=0.9), threshold(limit=0.6, action="pause"))
    assert verdict(both, "log_loss", window(0, 0.7), NOTHING) == LimitCheck(0.6, True)
    assert verdict(both, "log_loss", window(0, 0.5), NOTHING) == LimitCheck(0.9, False)
    assert verdict(both, "roc_auc", window(0, 0.5), NOTHING) == LimitCheck()


def test_only_what_would_roll_back_decides_whether_a_version_is_good_enough() -> None:
    alarm, rollback = threshold(limit=0.1), threshold(limit=0.6, action="rollback")
    assert is_within((alarm, rollback), {"log_loss": 0.5}, 200, NOTHING)
    assert not is_within((alarm, rollback), {"log_loss": 0.7}, 200, NOTHING)


def test_it_takes_so_many_windows_in_a_row_and_one_that_is_well_ends_them() -> None:
    assert Log(threshold(windows=2)).breaches(0.7, 0.5, 0.7, 0.7, 0.7, 0.5, 0.7) == [
        0,
        0,
        0,
        2,
        3,
        0,
        0,
    ]


def test_a_window_with_too_few_labels_counts_neither_way() -> None:
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


def test_a_threshold_that_is_kept_says_so() -> None:
    assert Log(threshold()).close(0.5).kept == [name_of(threshold())]


def test_an_alarm_demands_nothing() -> None:
    assert Log(threshold()).close(0.7).demand is None


def test_what_asks_for_most_is_demanded_once_until_it_was_decided() -> None:
    log = Log(threshold(), threshold(action="pause"), threshold(action="rollback"))
    demand = log.close(0.7).demand
    assert demand is not None
    assert demand.threshold.action == "rollback"
    assert [log.close(0.7).demand for _ in range(3)] == [None] * 3
    log.decided()
    assert log.close(0.7).demand is not None


def test_while_learning_is_held_nothing_is_demanded_but_breaches_are_told() -> None:
    log = Log(threshold(action="rollback"))
    found = log.close(0.7, held=True)
    assert (len(found.breaches), found.demand) == (1, None)
    assert not log.watching.demanded


def test_it_rests_after_its_alarm_has_ended() -> None:
    log = Log(threshold(cool_down=timedelta(hours=2)))
    assert log.breaches(0.7, 0.5, 0.7, 0.7, 0.7) == [1, 0, 0, 0, 1]


def test_it_rests_after_a_decision_and_windows_of_before_do_not_count() -> None:
    log = Log(threshold(windows=2, cool_down=timedelta(hours=1)))
    assert log.breaches(0.7, 0.7) == [0, 2]
    log.decided()
    assert log.breaches(0.7, 0.7, 0.7) == [0, 0, 2]


def test_a_window_during_the_rest_can_still_end_an_alarm() -> None:
    log = Log(threshold(cool_down=timedelta(hours=5)))
    log.decided()
    assert log.close(0.5).kept == [name_of(threshold())]


@given(
    losses=st.lists(
        st.tuples(st.sampled_from([0.5, 0.7]), st.sampled_from(["", "decide", "held"])), max_size=40
    ),
    windows=st.integers(1, 3),
    hours=st.integers(0, 4),
)
def test_nothing_is_demanded_twice_without_a_decision_and_a_rest_between(
    losses: list[tuple[float, str]], windows: int, hours: int
) -> None:
    log = Log(threshold(windows=windows, action="rollback", cool_down=timedelta(hours=hours)))
    decided, waiting = -hours, False
    for number, (loss, what) in enumerate(losses):
        demand = log.close(loss, held=what == "held").demand
        if demand is not None:
            assert not waiting
            assert what != "held"
            assert demand.start >= (decided + hours) * HOUR
            assert demand.windows >= windows
            waiting = True
        if what == "decide":
            log.decided()
            decided, waiting = number + 1, False
