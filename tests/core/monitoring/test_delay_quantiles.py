"""Quantiles of delays are exact while few different delays are known, else within 2 %."""

import pytest

from stream_app.core.monitoring.delay_quantiles import DelayQuantiles

HOUR = 3_600_000


def test_equal_delays_are_exact() -> None:
    delays = DelayQuantiles(exact=10)
    for _ in range(1000):
        delays.add(HOUR)
    assert delays.summary() == {"p50": HOUR, "p95": HOUR, "max": HOUR}


def test_more_different_delays_than_are_kept_are_within_two_percent() -> None:
    delays = DelayQuantiles(exact=10)
    for minutes in range(1, 102):
        delays.add(minutes * 60_000)
        if minutes == 9:
            assert delays.quantile(0.5) == 5 * 60_000
    assert delays.quantile(0.5) == pytest.approx(51 * 60_000, rel=0.021)
    assert delays.largest == 101 * 60_000


def test_the_state_is_that_of_the_sketch_alone() -> None:
    exact, sketch = DelayQuantiles(exact=10), DelayQuantiles()
    for delay in (1, 5, 5, HOUR):
        exact.add(delay)
        sketch.add(delay)
    assert exact.to_state() == sketch.to_state()
    assert DelayQuantiles.from_state(exact.to_state()).summary() == sketch.summary()
    assert DelayQuantiles().summary() == {"p50": 0.0, "p95": 0.0, "max": 0.0}
