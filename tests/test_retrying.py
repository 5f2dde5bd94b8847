"""Calls are repeated while their error is retriable, checks until they hold or time is up."""

from time import monotonic

import pytest

from stream_app.retrying import NEVER, retry_until, wait_until


class FlakyCall:
    """Fails a number of times before it returns 42."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError(str(self.calls))
        return 42


def test_a_call_is_repeated_until_it_succeeds() -> None:
    call = FlakyCall(failures=3)
    assert retry_until(NEVER, call, ConnectionError, lambda error: True, 0.0) == 42
    assert call.calls == 4


def test_an_error_that_is_not_retriable_is_raised_at_once() -> None:
    call = FlakyCall(failures=3)
    with pytest.raises(ConnectionError, match="2"):
        retry_until(NEVER, call, ConnectionError, lambda error: str(error) == "1", 0.0)


def test_an_error_of_another_type_is_not_retried() -> None:
    call = FlakyCall(failures=3)
    with pytest.raises(ConnectionError, match="1"):
        retry_until(NEVER, call, KeyError, lambda error: True, 0.0)


def test_the_last_error_is_raised_after_the_deadline() -> None:
    call = FlakyCall(failures=10**9)
    with pytest.raises(ConnectionError):
        retry_until(monotonic() + 0.05, call, ConnectionError, lambda error: True, 0.01)
    assert call.calls > 1


def test_a_check_may_raise_another_error() -> None:
    def give_up(error: ConnectionError) -> bool:
        raise RuntimeError("no more attempts") from error

    with pytest.raises(RuntimeError, match="no more attempts"):
        retry_until(NEVER, FlakyCall(failures=1), ConnectionError, give_up, 0.0)


def test_waiting_ends_once_the_condition_holds() -> None:
    answers = iter([False, False, True])
    assert wait_until(NEVER, lambda: next(answers), 0.0)


def test_waiting_ends_at_the_deadline() -> None:
    assert not wait_until(monotonic() + 0.02, lambda: False, 0.01)
    assert wait_until(monotonic() - 1, lambda: True, 0.01)
