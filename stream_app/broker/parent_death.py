"""Run a command that dies with its starter: `bound.py <process id of the starter> <command> <argument> ...`.

A script of its own, because between fork and exec a process with threads must not run Python.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(starter: int, command: list[str]) -> None:
    """Become `command`, to be killed by the kernel when `starter` ends."""
    die_with(starter)
    os.execv(command[0], command)


def die_with(starter: int) -> None:
    """Let the kernel kill this process when `starter`, its parent, ends; if it has ended already, exit."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != starter:
        os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
