"""Run a command that ends with its starter.

Usage: `parent_death.py <process id of the starter> <command> <argument> ...`

It is a separate script because a process with threads must not run Python between fork and exec.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(starter: int, command: list[str]) -> None:
    """Replace this process by a command that the kernel kills when `starter` ends."""
    set_parent_death_signal(starter)
    os.execv(command[0], command)


def set_parent_death_signal(parent: int) -> None:
    """Make the kernel kill this process when its parent ends; exit if the parent has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
