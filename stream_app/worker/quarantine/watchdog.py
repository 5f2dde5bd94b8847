"""Process that kills a worker whose record exceeds its limits.

Usage: `python -m stream_app.worker.quarantine.watchdog <pid> <journal>`

It is a separate process because code that hangs may hold the interpreter lock of the worker, and
then no thread of the worker can act. SIGABRT makes the worker write a trace; SIGKILL follows if the
worker is still alive.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stream_app.worker.quarantine.journal import GREW, HUNG, JournalReader, Working

TICK_SECONDS = 0.05
# Time between SIGABRT and SIGKILL.
KILL_SECONDS = 1.0
# A record is blamed this long after its limit, even if its thread waits for the interpreter lock.
MAX_WAIT_NANOSECONDS = 15 * 10**9
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class RecordUsage:
    """Time and memory that one record has taken.

    Only ticks count in which its thread did not just wait for the interpreter lock, which another
    thread holds. If the machine is suspended, there are no ticks.

    Args:
        resident: memory of the process in bytes before the record.
    """

    def __init__(self, working: Working, resident: int) -> None:
        self.working = working
        self._resident = resident
        self._counted = 0
        self._scheduled = _scheduled(working.thread)

    def tick(self, limits: tuple[int, int], resident: int) -> int | None:
        """Count a tick; returns HUNG or GREW if a limit is exceeded, else None.

        Args:
            limits: nanoseconds and bytes.
            resident: memory of the process in bytes now.
        """
        before, self._scheduled = self._scheduled, _scheduled(self.working.thread)
        age = time.monotonic_ns() - self.working.started
        waits = _waits_for_interpreter(before, self._scheduled)
        self._counted += 0 if waits else int(TICK_SECONDS * 1e9)
        if age > limits[0] + MAX_WAIT_NANOSECONDS or (
            age > limits[0] and self._counted > limits[0]
        ):
            return HUNG
        return GREW if not waits and resident - self._resident > limits[1] else None


def watch(journal: JournalReader, pid: int, is_alive: Callable[[], bool]) -> None:
    """Check every record that is being processed, until the process has ended.

    Args:
        pid: process that writes the journal.
        is_alive: returns False once the process has ended.
    """
    usages: dict[int, RecordUsage] = {}
    resident = _resident_bytes(pid)
    while is_alive():
        time.sleep(TICK_SECONDS)
        before, resident = resident, _resident_bytes(pid)
        if _is_stopped(pid):
            usages.clear()
            continue
        present = {working.partition: working for working in journal.working()}
        for partition, working in present.items():
            usage = usages.get(partition)
            if usage is None or usage.working.started != working.started:
                usages[partition] = RecordUsage(working, before)
                continue
            reason = usage.tick(journal.limits, resident)
            if reason is not None and working in journal.working():
                journal.set_reason(partition, reason)
                _kill(pid, is_alive)
                return
        for partition in usages.keys() - present.keys():
            del usages[partition]


def _kill(pid: int, is_alive: Callable[[], bool]) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGABRT)
        deadline = time.monotonic() + KILL_SECONDS
        while is_alive() and time.monotonic() < deadline:
            time.sleep(TICK_SECONDS / 5)
        os.kill(pid, signal.SIGKILL)


def _resident_bytes(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES
    return 0


def _is_stopped(pid: int) -> bool:
    """Return True if the process is stopped by a signal or a debugger."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"T", b"t")
    return False


def _scheduled(thread: int) -> tuple[int, int] | None:
    """Return nanoseconds on the CPU and number of time slices, None if the kernel has no data."""
    with suppress(OSError, ValueError):
        ran, _, times = Path(f"/proc/{thread}/schedstat").read_bytes().split()
        return int(ran), int(times)
    return None


def _waits_for_interpreter(before: tuple[int, int] | None, after: tuple[int, int] | None) -> bool:
    """Return True if a thread was scheduled often in a tick and hardly ran.

    Such a thread asks for the interpreter lock in vain.
    """
    if before is None or after is None:
        return False
    return after[1] - before[1] >= 4 and after[0] - before[0] < TICK_SECONDS * 1e9 / 50


def main(pid: int, path: Path) -> None:
    """Watch the process that started this one."""
    # Ctrl-C is for the worker; this process ends with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch(JournalReader(path), pid, lambda: os.getppid() == pid)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
