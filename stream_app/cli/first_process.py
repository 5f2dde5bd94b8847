"""First process of a container: runs the command in a child, as an init program does.

The kernel gives process 1 only the signals that it handles. So the watchdog could not end a worker
that hangs, and nobody would await the orphans of trial processes.
"""

import os
import signal

FIRST = 1
# Exit code of a process that a signal ended, less the number of the signal.
_SIGNALLED = 128
_FORWARDED = frozenset(
    {
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGINT,
    }
)


def leave_first_process() -> None:
    """Return in a child if this is the first process of a container; else return at once.

    The first process forwards signals to the child, and ends with its exit code.
    """
    if os.getpid() != FIRST:
        return
    # The kernel drops what the first process does not handle. Blocked signals wait instead, and
    # are taken one by one: none can come between a look for signals and a call that waits.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_FORWARDED, signal.SIGCHLD})
    child = os.fork()
    if child:
        _await(child)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _await(child: int) -> None:
    # A terminal sends SIGINT to both.
    not_forwarded = {signal.SIGINT} if os.isatty(0) else set()
    while True:
        number = signal.sigwait({*_FORWARDED, signal.SIGCHLD})
        if number == signal.SIGCHLD:
            _reap(child)
        elif number not in not_forwarded:
            os.kill(child, number)


def _reap(child: int) -> None:
    """Await the processes that have ended; end as the child if it is one of them."""
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else _SIGNALLED - code)
        if not ended:
            return
