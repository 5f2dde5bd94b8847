"""Circuit breaker of a partition's events, with its alarm, corrective actions and metric."""

from collections.abc import Sequence

from stream_app.core.scoring.circuit_breaker import CircuitBreaker, IndexedFailure
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.resilience import Breaker
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import BREAKER_OPEN

log = get_logger(__name__)

BREAKER_ALARM = "breaker-open"


class EventBreaker:
    """Holds back the events of one partition while most of them fail.

    Args:
        limits: declared limits; None lets every event pass.
        state: state of the partition, which receives alarms and corrective actions.
    """

    def __init__(self, limits: Breaker | None, state: PartitionState) -> None:
        self._circuit = None if limits is None else CircuitBreaker(limits)
        self._state = state
        self._metric = BREAKER_OPEN.labels(str(state.partition))
        self._metric.set(0)

    def ready(self, count: int, now: int) -> int:
        """Return the number of events out of `count` that may be processed now."""
        if self._circuit is None:
            return count
        allowed = self._circuit.allowed(now)
        return count if allowed is None else min(count, allowed)

    def update(self, count: int, failed: Sequence[IndexedFailure], now: int) -> None:
        """Record the results of events.

        Args:
            count: number of events, processed in order.
            failed: failures among them.
            now: wall-clock time in Unix milliseconds.
        """
        circuit = self._circuit
        if circuit is None:
            return
        before = circuit.state
        circuit.update(count, failed, now)
        if circuit.state == "open":
            self._opened(circuit, before == "closed", now)
        elif circuit.state == "closed" and (before != "closed" or len(failed) < count):
            self._closed(circuit, before != "closed", now)

    def end_idle_alarm(self, now: int) -> None:
        """End the alarm of an earlier worker when no event is left: a new breaker starts closed."""
        if self._circuit is None or self._circuit.state == "closed":
            self._state.alarms.end(BREAKER_ALARM, now)

    def _opened(self, circuit: CircuitBreaker, newly: bool, now: int) -> None:
        self._state.actions.add("breaker-open" if newly else "breaker-probe", circuit.cause, now)
        self._state.alarms.raise_(BREAKER_ALARM, circuit.cause, now)
        self._metric.set(1)
        if newly:
            log.warning(
                "circuit breaker opened", partition=self._state.partition, cause=circuit.cause
            )

    def _closed(self, circuit: CircuitBreaker, newly: bool, now: int) -> None:
        """End the alarm, also that of an earlier worker."""
        self._state.alarms.end(BREAKER_ALARM, now)
        if newly:
            self._state.actions.add("breaker-close", circuit.cause, now)
            self._metric.set(0)
            log.info("circuit breaker closed", partition=self._state.partition, cause=circuit.cause)
