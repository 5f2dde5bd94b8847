"""Circuit breaker: when it opens, probes and closes."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.scoring.circuit_breaker import CircuitBreaker, IndexedFailure
from stream_app.resilience import Breaker

LIMITS = Breaker(consecutive=50, ratio=0.8, window=200, pause=timedelta(seconds=5), probe=10)
SECOND = 1000
OURS, THEIRS = "model-failed", "wrong-type"


def failures(count: int, code: str = OURS) -> list[IndexedFailure]:
    return [IndexedFailure(index, code) for index in range(count)]


def opened(code: str = OURS) -> CircuitBreaker:
    circuit = CircuitBreaker(LIMITS)
    circuit.update(50, failures(50, code), 0)
    return circuit


def probe(circuit: CircuitBreaker, now: int, *, code: str | None) -> int:
    """Process a whole probe; return its number of events."""
    allowed = circuit.allowed(now)
    assert allowed
    circuit.update(allowed, failures(allowed, code) if code else [], now)
    return allowed


def test_few_failures_leave_the_breaker_closed() -> None:
    circuit = CircuitBreaker(LIMITS)
    for _ in range(100):
        circuit.update(100, failures(40), 0)
    assert circuit.allowed(0) is None


def test_consecutive_failures_open_the_breaker_across_batches() -> None:
    circuit = CircuitBreaker(LIMITS)
    circuit.update(30, [IndexedFailure(index, OURS) for index in range(5, 30)], 0)
    assert circuit.state == "closed"
    circuit.update(25, failures(25), 0)
    assert (circuit.state, circuit.cause) == ("open", OURS)


def test_a_success_ends_a_run_of_failures() -> None:
    circuit = CircuitBreaker(LIMITS)
    for _ in range(3):
        circuit.update(50, failures(49), 0)
    assert circuit.state == "closed"


def test_a_ratio_of_failures_opens_the_breaker_without_a_run() -> None:
    circuit = CircuitBreaker(LIMITS)
    for _ in range(19):
        circuit.update(10, [IndexedFailure(index, THEIRS) for index in range(9)], 0)
    assert (circuit.state, circuit.cause) == ("open", THEIRS)


def test_an_open_breaker_allows_nothing_until_the_pause_is_over() -> None:
    circuit = opened()
    assert [circuit.allowed(now) for now in (0, 4999, 5000)] == [0, 0, 10]


def test_a_successful_probe_closes_the_breaker() -> None:
    circuit = opened()
    probe(circuit, 5 * SECOND, code=None)
    assert circuit.allowed(5 * SECOND) is None
    circuit.update(49, failures(49), 6 * SECOND)
    assert circuit.state == "closed", "failures from before count no more"


def test_a_probe_can_be_split_over_batches() -> None:
    circuit = opened()
    assert circuit.allowed(5 * SECOND) == 10
    circuit.update(4, [], 5 * SECOND)
    assert (circuit.state, circuit.allowed(5 * SECOND)) == ("half-open", 6)


def test_pauses_grow_for_errors_that_are_not_the_events_fault() -> None:
    circuit, now, pauses = opened(), 0, []
    for _ in range(6):
        start = now
        while circuit.allowed(now) == 0:
            now += SECOND
        pauses.append((now - start) // SECOND)
        assert probe(circuit, now, code=OURS) == 10
    assert pauses == [5, 10, 20, 40, 60, 60]


def test_probes_grow_for_errors_that_are_the_events_fault() -> None:
    circuit = opened(THEIRS)
    assert [probe(circuit, number * 5 * SECOND, code=THEIRS) for number in range(1, 5)] == [
        10,
        40,
        160,
        640,
    ]
    probe(circuit, 25 * SECOND, code=None)
    assert circuit.state == "closed"


@given(
    st.lists(
        st.tuples(st.integers(1, 60), st.sets(st.integers(0, 59)), st.integers(0, 20_000)),
        max_size=60,
    )
)
def test_at_most_a_probe_is_allowed_until_the_breaker_closes(
    steps: list[tuple[int, set[int], int]],
) -> None:
    circuit, now, since_open = CircuitBreaker(LIMITS), 0, 0
    for count, indices, elapsed in steps:
        now += elapsed
        allowed = circuit.allowed(now)
        taken = count if allowed is None else min(count, allowed)
        if not taken:
            continue
        failed = [IndexedFailure(index, OURS) for index in sorted(indices) if index < taken]
        before = circuit.state
        circuit.update(taken, failed, now)
        since_open = since_open + taken if before == "half-open" else 0
        assert since_open <= LIMITS.probe or circuit.state != "half-open"
        if circuit.state == "open":
            since_open = 0
            assert circuit.allowed(now) == 0


def test_a_clock_that_is_set_back_ends_the_pause() -> None:
    assert opened().allowed(-1) == LIMITS.probe
