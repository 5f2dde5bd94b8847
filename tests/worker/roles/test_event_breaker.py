"""The breaker of a partition at work: what a worker that died left behind does not last."""

from datetime import timedelta

from stream_app.core.scoring.circuit_breaker import IndexedFailure
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.resilience import Breaker
from stream_app.worker.roles.event_breaker import ALARM, EventBreaker

LIMITS = Breaker(consecutive=5, probe=2, pause=timedelta(seconds=5))
FAILURES = [IndexedFailure(place, "features-failed") for place in range(5)]


def left_open() -> PartitionState:
    """The state that a worker leaves which dies while its breaker is open."""
    state = PartitionState(0, 1, 1)
    EventBreaker(LIMITS, state).note(5, FAILURES, 0)
    assert state.alarms.open == [ALARM]
    return state


def test_the_alarm_of_a_worker_before_lasts_while_events_fail_and_ends_with_one_that_passes() -> (
    None
):
    state = left_open()
    breaker = EventBreaker(LIMITS, state)
    assert breaker.ready(100, 1) == 100
    breaker.note(3, FAILURES[:3], 1)
    assert state.alarms.open == [ALARM]
    breaker.note(3, FAILURES[1:2], 2)
    assert state.alarms.open == []


def test_it_also_ends_when_there_is_no_event_left_or_no_breaker_any_more() -> None:
    for limits in (LIMITS, None):
        state = left_open()
        EventBreaker(limits, state).rest(1)
        assert state.alarms.open == []


def test_while_events_wait_for_it_nothing_is_at_rest() -> None:
    state = PartitionState(0, 1, 1)
    breaker = EventBreaker(LIMITS, state)
    breaker.note(5, FAILURES, 0)
    breaker.rest(1)
    assert state.alarms.open == [ALARM]
    assert breaker.ready(100, 1) == 0
