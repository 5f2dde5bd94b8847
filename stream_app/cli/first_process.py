"""First process of a container: runs the command in a child, as an init program does.

The kernel gives process 1 only the signals that it handles. So the watchdog could not end a worker
that hangs, and nobody would await the orphans of trial processes.
"""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

FIRST = 1
# Exit code of a process that a signal ended, less the number of the signal.
_SIGNALLED = 128
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def leave_first_process() -> None:
    """Return in a child if this is the first process of a container; else return at once.

    The first process forwards signals to the child, and ends with its exit code.
    """
    if os.getpid() != FIRST:
        return
    # A signal between the fork and the handlers would be lost: the kernel drops what the first
    # process does not handle. Blocked signals wait instead.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_FORWARDED, signal.SIGINT})
    child = os.fork()
    if child:
        _forward_signals(child)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if child:
        _await(child)


def _forward_signals(child: int) -> None:
    def forward(number: int, _: FrameType | None) -> None:
        os.kill(child, number)

    handler: Callable[[int, FrameType | None], Any] = forward
    for number in _FORWARDED:
        signal.signal(number, handler)
    # A terminal sends SIGINT to both.
    signal.signal(signal.SIGINT, signal.SIG_IGN if sys.stdin.isatty() else handler)


def _await(child: int) -> None:
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else _SIGNALLED - code)
