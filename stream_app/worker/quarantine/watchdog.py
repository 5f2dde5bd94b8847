"""Ends a worker whose record exceeds its limits: `python -m stream_app.worker.quarantine.watchdog <pid> <journal>`.

A process of its own, because code that hangs may hold the worker's interpreter, and then no thread of it can look.
SIGABRT makes the worker write down where it was; SIGKILL follows if that does not end it.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stream_app.worker.quarantine.journal import GREW, HUNG, Watched, Working

TICK = 0.05  # seconds
GRACE = 1.0  # seconds between SIGABRT and SIGKILL
PATIENCE = (
    15 * 10**9
)  # nanoseconds beyond its limit, after which a record is to blame whatever its thread waits for
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Ageing:
    """How long one record has been worked on, and how much memory the process has gained meanwhile.

    Only the ticks count in which its thread did not just wait for the interpreter, which another thread holds: that is
    not the record's doing. When the machine stands still, so do the ticks.
    """

    def __init__(self, working: Working, resident: int) -> None:
        self.working = working
        self._resident = resident
        self._counted = 0
        self._spent = _spent(working.thread)

    def tick(self, limits: tuple[int, int], resident: int) -> int | None:
        """HUNG or GREW once it has exceeded its limits."""
        before, self._spent = self._spent, _spent(self.working.thread)
        age = time.monotonic_ns() - self.working.started
        waits = _only_woken(before, self._spent)
        self._counted += 0 if waits else int(TICK * 1e9)
        if age > limits[0] + PATIENCE or (age > limits[0] and self._counted > limits[0]):
            return HUNG
        return GREW if not waits and resident - self._resident > limits[1] else None


def watch(journal: Watched, pid: int, alive: Callable[[], bool]) -> None:
    """Look at every record that is worked on, until the process has ended."""
    ageing: dict[int, Ageing] = {}
    resident = _resident(pid)
    while alive():
        time.sleep(TICK)
        before, resident = resident, _resident(pid)
        if _is_stopped(pid):
            ageing.clear()
            continue
        present = {working.partition: working for working in journal.working()}
        for partition, working in present.items():
            known = ageing.get(partition)
            if known is None or known.working.started != working.started:
                ageing[partition] = Ageing(working, before)
                continue
            reason = known.tick(journal.limits, resident)
            if reason is not None and working in journal.working():
                journal.blame(partition, reason)
                _end(pid, alive)
                return
        for partition in ageing.keys() - present.keys():
            del ageing[partition]


def _end(pid: int, alive: Callable[[], bool]) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGABRT)
        deadline = time.monotonic() + GRACE
        while alive() and time.monotonic() < deadline:
            time.sleep(TICK / 5)
        os.kill(pid, signal.SIGKILL)


def _resident(pid: int) -> int:
    """Bytes of memory that the process has."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
    return 0


def _is_stopped(pid: int) -> bool:
    """Whether somebody has suspended it."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"T", b"t")
    return False


def _spent(thread: int) -> tuple[int, int] | None:
    """Nanoseconds that a thread has run, and how often it was let run; None where the kernel does not tell."""
    with suppress(OSError, ValueError):
        ran, _, times = Path(f"/proc/{thread}/schedstat").read_bytes().split()
        return int(ran), int(times)
    return None


def _only_woken(before: tuple[int, int] | None, after: tuple[int, int] | None) -> bool:
    """Whether a thread was let run many times in a tick and hardly did: it asked for the interpreter, in vain."""
    if before is None or after is None:
        return False
    return after[1] - before[1] >= 4 and after[0] - before[0] < TICK * 1e9 / 50


def main(pid: int, path: Path) -> None:
    """Watch our starter."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker; we end with it
    watch(Watched(path), pid, lambda: os.getppid() == pid)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
