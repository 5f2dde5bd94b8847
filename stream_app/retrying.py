"""Repeats a call or a check until it succeeds or a deadline has passed."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

E = TypeVar("E", bound=Exception)
T = TypeVar("T")

NEVER = float("inf")
"""Deadline of what is repeated without end."""


def retry_until(
    deadline: float,
    call: Callable[[], T],
    error_type: type[E],
    is_retriable: Callable[[E], bool],
    interval: float,
) -> T:
    """Return the result of a call, which is repeated while its error is retriable.

    Args:
        deadline: monotonic seconds after which an error is no longer retried.
        call: called once in any case.
        error_type: exceptions that may be retriable; others propagate at once.
        is_retriable: returns True to repeat the call; may raise an error in place of this one.
        interval: seconds between two calls.

    Raises:
        error_type: the last error, when it is not retriable or the deadline has passed.

    >>> retry_until(0.0, lambda: 42, ValueError, lambda error: True, 0.1)
    42
    """
    while True:
        try:
            return call()
        except error_type as error:
            if not is_retriable(error) or monotonic() > deadline:
                raise
        sleep(interval)


def wait_until(deadline: float, condition: Callable[[], object], interval: float) -> bool:
    """Return True once a condition holds, or False if it does not by the deadline.

    Args:
        deadline: monotonic seconds; the condition is checked at least once.
        condition: returns a true value when there is nothing left to wait for.
        interval: seconds between two checks.
    """
    while not condition():
        if monotonic() > deadline:
            return False
        sleep(interval)
    return True
