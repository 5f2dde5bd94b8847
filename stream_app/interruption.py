"""Ctrl-C in a program that uses native clients: it is never lost.

A Kafka client calls Python functions in the midst of native code. An exception in them, such as
the `KeyboardInterrupt` of a signal that arrives just then, is dropped by the native code, or
becomes an error that says nothing. So a signal that arrives in such a function is repeated until
it can be raised.
"""

import functools
import signal
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., object])

_REPEAT_SECONDS = 0.01

_called_by_native_code: set[CodeType] = set()


class InterruptHandler:
    """Handler of a signal that raises `KeyboardInterrupt` where it is not lost.

    Attributes:
        has_been_called: whether the signal has arrived.
    """

    def __init__(self) -> None:
        self.has_been_called = False

    def install(self) -> None:
        """Handle SIGINT unless it is ignored, as in the background of a shell."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self)
            sys.unraisablehook = _UnraisableHook(sys.unraisablehook)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.has_been_called = True
        while frame is not None:
            if frame.f_code in _called_by_native_code:
                _repeat(number)
                return
            frame = frame.f_back
        raise KeyboardInterrupt


class _UnraisableHook:
    """Repeats the signal whose exception was raised in a finalizer, which ignores exceptions."""

    def __init__(self, other: Callable[[Any], object]) -> None:
        self._other = other

    def __call__(self, unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            _repeat(signal.SIGINT)
        else:
            self._other(unraisable)


def uninterrupted(function: F) -> F:
    """Mark a function that a native client calls, in which Ctrl-C is not raised; return it."""
    called: Any = function
    while isinstance(called, functools.partial):
        called = called.func
    called = getattr(called, "__func__", called)
    if not hasattr(called, "__code__"):
        called = type(called).__call__
    _called_by_native_code.add(called.__code__)
    return function


def _repeat(number: int) -> None:
    main_thread = threading.main_thread().ident
    if main_thread is not None:
        repetition = threading.Timer(_REPEAT_SECONDS, signal.pthread_kill, (main_thread, number))
        repetition.daemon = True
        repetition.start()
