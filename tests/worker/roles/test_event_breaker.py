"""The alarm of a circuit breaker ends, also one that a dead worker left open."""

from datetime import timedelta

from stream_app.core.scoring.circuit_breaker import IndexedFailure
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.resilience import Breaker
from stream_app.worker.roles.event_breaker import BREAKER_ALARM, EventBreaker

LIMITS = Breaker(consecutive=5, probe=2, pause=timedelta(seconds=5))
FAILURES = [IndexedFailure(place, "features-failed") for place in range(5)]


def left_open() -> PartitionState:
    """Return the state of a worker that died while its breaker was open."""
    state = PartitionState(0, 1, 1)
    EventBreaker(LIMITS, state).update(5, FAILURES, 0)
    assert state.alarms.open == [BREAKER_ALARM]
    return state


def test_the_alarm_of_an_earlier_worker_ends_with_the_first_event_that_passes() -> None:
    state = left_open()
    breaker = EventBreaker(LIMITS, state)
    assert breaker.ready(100, 1) == 100
    breaker.update(3, FAILURES[:3], 1)
    assert state.alarms.open == [BREAKER_ALARM]
    breaker.update(3, FAILURES[1:2], 2)
    assert state.alarms.open == []


def test_the_alarm_ends_without_events_and_without_a_declared_breaker() -> None:
    for limits in (LIMITS, None):
        state = left_open()
        EventBreaker(limits, state).end_idle_alarm(1)
        assert state.alarms.open == []


def test_the_alarm_of_an_open_breaker_stays_open_while_events_wait() -> None:
    state = PartitionState(0, 1, 1)
    breaker = EventBreaker(LIMITS, state)
    breaker.update(5, FAILURES, 0)
    breaker.end_idle_alarm(1)
    assert state.alarms.open == [BREAKER_ALARM]
    assert breaker.ready(100, 1) == 0
