"""A pipeline whose features really crash, hang or exhaust memory, and workers that somebody starts again."""

import os
import threading
import time
from types import TracebackType

from tests.running_system import System, headers
from tests.small_pipeline import HOUR

DECLARED = """
import ctypes, os, re, time
from stream_app import Limits
from tests.small_pipeline import small_pipeline

def features(fields):
    amount = fields["amount"]
    if amount < 0:
        POISON[int(-amount)]()
    return {"amount": amount}

def segfault(): ctypes.string_at(0)
def abort(): os.abort()
def leave(): os._exit(4)
def spin():
    while True:
        pass
def hold(): ctypes.PyDLL(None).sleep(1000)
def match(): re.match("(a+)+$", "a" * 60 + "b")
def sleep(): time.sleep(1000)
def hoard():
    kept = []
    while True:
        kept.append(b"x" * (1 << 20))
def swell(): return b"x" * (3 << 30)
def stop(): raise SystemExit(0)

POISON = [None, segfault, abort, leave, spin, hold, match, sleep, hoard, swell, stop]
pipeline = small_pipeline("NAME", features=features, limits=Limits(seconds=1.5, memory_mb=300))
"""
SEGFAULT, ABORT, LEAVE, SPIN, HOLD, MATCH, SLEEP, HOARD, SWELL, STOP = range(1, 11)
CODES = {
    SEGFAULT: "record-crashes",
    ABORT: "record-crashes",
    LEAVE: "record-crashes",
    SPIN: "record-hangs",
    HOLD: "record-hangs",
    MATCH: "record-hangs",
    SLEEP: "record-hangs",
    HOARD: "record-exhausts-memory",
    SWELL: "record-exhausts-memory",
    STOP: "record-crashes",
}


class Restarting:
    """Starts a worker again whenever it ends, as a service manager does, and counts."""

    def __init__(self, system: System, worker: str = "score-0") -> None:
        self.deaths: list[int] = []
        self._system = system
        self._worker = worker
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Restarting":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(0.05):
            code = self._system.workers[self._worker].poll()
            if code is not None:
                self.deaths.append(code)
                assert len(self.deaths) < 20, "it dies all the time"
                self._system.start(*self._worker.split("-"))


class Batches:
    """Batches of good events with bad ones among them; numbers never repeat."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._number = 0
        self._at = int(time.time() * 1000) - HOUR

    def send(self, poison: list[int], good: int = 1000) -> float:
        """Send, with the bad ones in the middle; returns the seconds until every good one is scored."""
        before = self._system.books().scored
        self.start(poison, good)
        patience = 90 * load()
        return self._system.until(
            lambda: self._system.books().scored == before + good,
            patience,
            "the good are not scored",
        )

    def start(self, poison: list[int], good: int) -> None:
        """Send."""
        for position in range(good):
            if position == good // 2:
                for kind in poison:
                    self._send(amount=-kind)
            self._send()
        self._system.producer.flush(30)

    def _send(self, **changes: float) -> None:
        self._system.send_event(self._number, self._at + self._number, **changes)
        self._number += 1


def load() -> float:
    """How many times slower than by itself a test may be, for what else runs on this machine."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def messages(system: System) -> list[tuple[str, str]]:
    """Code and message of each dead letter."""
    found = [headers(message) for message in system.read("raw.dlq")]
    return [(one["error-code"], one["error-message"]) for one in found]
