"""What looks after workers during a fault: starts dead ones again as the supervisor does, and watches their memory."""

import time
from collections import Counter, defaultdict
from contextlib import suppress
from threading import Event, Thread

import psutil

from stream_app.worker.supervisor import FIRST_DELAY, HEALTHY_SECONDS, MAX_DELAY
from tests.running_system import System

MEMORY = 450 * 2**20  # bytes of a worker at most; it begins with about 170 MB
LOOK_SECONDS = 0.2


class Keeper(Thread):
    """Looks after the workers of a system until stopped; `resting` are those that are meant to be down."""

    def __init__(self, system: System) -> None:
        super().__init__(name="keeper", daemon=True)
        self.endings: list[tuple[str, int]] = []
        self.resting: set[str] = set()
        self.peak: Counter[str] = Counter()
        self._system = system
        self._stopping = Event()
        self._delay: defaultdict[str, float] = defaultdict(lambda: FIRST_DELAY)
        self._last_start: dict[str, float] = {}
        self._due: dict[str, float] = {}

    def __enter__(self) -> "Keeper":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the workers to themselves."""
        self._stopping.set()
        self.join()

    @property
    def restarts(self) -> Counter[str]:
        """How often each worker had to be started again."""
        return Counter(worker for worker, _ in self.endings)

    def run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            for worker, process in list(self._system.workers.items()):
                if process.poll() is None:
                    self._measure(worker, process.pid)
                elif worker not in self.resting:
                    self._tend(worker, process.returncode)

    def report(self) -> str:
        """Who ended how, and how much memory each worker had at most."""
        memory = ", ".join(
            f"{worker} {size / 2**20:.0f} MB" for worker, size in sorted(self.peak.items())
        )
        return f"endings {self.endings or 'none'}; at most {memory}"

    def _measure(self, worker: str, pid: int) -> None:
        with suppress(psutil.Error):
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            self.peak[worker] = max(self.peak[worker], sum(one.memory_info().rss for one in family))

    def _tend(self, worker: str, code: int) -> None:
        now = time.monotonic()
        if worker not in self._due:
            self.endings.append((worker, code))
            if now - self._last_start.get(worker, 0.0) > HEALTHY_SECONDS:
                self._delay[worker] = FIRST_DELAY
            self._due[worker] = now + self._delay[worker]
            self._delay[worker] = min(2 * self._delay[worker], MAX_DELAY)
        elif now >= self._due[worker]:
            del self._due[worker]
            self._last_start[worker] = now
            self._system.start(*worker.split("-"))
