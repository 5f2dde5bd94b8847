"""Restarts crashed workers during a fault as the supervisor does, and measures their memory."""

import time
from collections import Counter, defaultdict
from contextlib import suppress
from threading import Event, Thread

import psutil

from stream_app.worker.supervisor import FIRST_DELAY, HEALTHY_SECONDS, MAX_DELAY
from tests.running_system import System

# A worker starts with about 170 MB.
MAX_MEMORY_BYTES = 450 * 2**20
POLL_SECONDS = 0.2


class Supervision(Thread):
    """Supervises the workers of a system.

    Attributes:
        exits: name and exit code of each worker that exited unexpectedly.
        stopped: workers that are down on purpose.
        peak: largest resident memory of each worker in bytes, children included.
    """

    def __init__(self, system: System) -> None:
        super().__init__(name="supervision", daemon=True)
        self.exits: list[tuple[str, int]] = []
        self.stopped: set[str] = set()
        self.peak: Counter[str] = Counter()
        self._system = system
        self._stopping = Event()
        self._delay: defaultdict[str, float] = defaultdict(lambda: FIRST_DELAY)
        self._last_start: dict[str, float] = {}
        self._due: dict[str, float] = {}

    def __enter__(self) -> "Supervision":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops supervising; the workers continue."""
        self._stopping.set()
        self.join()

    @property
    def restarts(self) -> Counter[str]:
        """Number of restarts of each worker."""
        return Counter(worker for worker, _ in self.exits)

    def run(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            for worker, process in list(self._system.workers.items()):
                if (code := process.poll()) is None:
                    self._measure(worker, process.pid)
                elif worker not in self.stopped:
                    self._supervise(worker, code)

    def report(self) -> str:
        """Returns a line with the exits and the peak memory of each worker."""
        memory = ", ".join(
            f"{worker} {size / 2**20:.0f} MB" for worker, size in sorted(self.peak.items())
        )
        return f"exits {self.exits or 'none'}; peak memory {memory}"

    def _measure(self, worker: str, pid: int) -> None:
        with suppress(psutil.Error):
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            self.peak[worker] = max(self.peak[worker], sum(one.memory_info().rss for one in family))

    def _supervise(self, worker: str, code: int) -> None:
        now = time.monotonic()
        if worker not in self._due:
            self.exits.append((worker, code))
            if now - self._last_start.get(worker, 0.0) > HEALTHY_SECONDS:
                self._delay[worker] = FIRST_DELAY
            self._due[worker] = now + self._delay[worker]
            self._delay[worker] = min(2 * self._delay[worker], MAX_DELAY)
        elif now >= self._due[worker]:
            del self._due[worker]
            self._last_start[worker] = now
            self._system.start(*worker.split("-"))
