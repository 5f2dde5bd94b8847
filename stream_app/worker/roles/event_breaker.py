"""The circuit breaker of a partition's events, at work: it holds them back, says so, and lets them go again."""

from collections.abc import Sequence

from stream_app.core.scoring.circuit_breaker import CircuitBreaker, IndexedFailure
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.resilience import Breaker
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import BREAKER_OPEN

log = get_logger(__name__)

ALARM = "breaker-open"


class EventBreaker:
    """Stands before the scorer of one partition; without `limits` it never holds anything back.

    Opening and closing are corrective actions and an alarm in `state`.
    """

    def __init__(self, limits: Breaker | None, state: PartitionState) -> None:
        self._circuit = None if limits is None else CircuitBreaker(limits)
        self._state = state
        self._metric = BREAKER_OPEN.labels(str(state.partition))
        self._metric.set(0)

    def ready(self, count: int, now: int) -> int:
        """How many of so many events may be processed now."""
        if self._circuit is None:
            return count
        allowed = self._circuit.allowed(now)
        return count if allowed is None else min(count, allowed)

    def note(self, count: int, failed: Sequence[IndexedFailure], now: int) -> None:
        """Of `count` events, processed in order, these failed."""
        circuit = self._circuit
        if circuit is None:
            return
        before = circuit.state
        circuit.note(count, failed, now)
        if circuit.state == "open":
            self._opened(circuit, before == "closed", now)
        elif circuit.state == "closed" and (before != "closed" or len(failed) < count):
            self._closed(circuit, before != "closed", now)

    def rest(self, now: int) -> None:
        """There is no event left; an alarm of a worker before ends, for a new one begins closed."""
        if self._circuit is None or self._circuit.state == "closed":
            self._state.alarms.end(ALARM, now)

    def _opened(self, circuit: CircuitBreaker, newly: bool, now: int) -> None:
        self._state.actions.note("breaker-open" if newly else "breaker-probe", circuit.cause, now)
        self._state.alarms.raise_(ALARM, circuit.cause, now)
        self._metric.set(1)
        if newly:
            log.warning(
                "events pause, most of them fail",
                partition=self._state.partition,
                cause=circuit.cause,
            )

    def _closed(self, circuit: CircuitBreaker, newly: bool, now: int) -> None:
        """It goes on; also ends the alarm of a worker before."""
        self._state.alarms.end(ALARM, now)
        if newly:
            self._state.actions.note("breaker-close", circuit.cause, now)
            self._metric.set(0)
            log.info("events go on", partition=self._state.partition, after=circuit.cause)
