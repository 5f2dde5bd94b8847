"""Pipelines whose features or filters crash, hang or exhaust memory, and a worker restarter."""

import os
import threading
import time
from types import TracebackType
from typing import Self

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
        kept.append(b"x" * (1 << 26))
def swell(): return b"x" * (3 << 30)
def stop(): raise SystemExit(0)

POISON = [None, segfault, abort, leave, spin, hold, match, sleep, hoard, swell, stop]
pipeline = small_pipeline("NAME", features=features, limits=Limits(seconds=1.5, memory_mb=100))
"""
SOURCES = """
import ctypes, os
from stream_app import Epoch, Limits, Source
from tests.small_pipeline import small_pipeline

def passes(record):
    kind = record["poison"]
    if kind:
        POISON[kind]()
    return True

def segfault(): ctypes.string_at(0)
def leave(): os._exit(4)
def spin():
    while True:
        pass
def hoard():
    kept = []
    while True:
        kept.append(b"x" * (1 << 26))

POISON = {1: segfault, 3: leave, 4: spin, 8: hoard}
pipeline = small_pipeline(
    "NAME",
    limits=Limits(seconds=1.5, memory_mb=100),
    sources=(
        Source(
            topic="NAME.shop",
            name="shop",
            start="earliest",
            fields={"at": Epoch("ts", "s")},
            where=passes,
        ),
    ),
)
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
    """Restarts a worker whenever it ends, as a service manager does, and records its exit codes."""

    def __init__(self, system: System, worker: str = "score-0") -> None:
        self.exit_codes: list[int] = []
        self._system = system
        self._worker = worker
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
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
                self.exit_codes.append(code)
                assert len(self.exit_codes) < 20, "the worker ends again and again"
                self.restart(*self._worker.split("-"))

    def restart(self, role: str, instance: str) -> None:
        """Start the worker again."""
        self._system.start(role, instance)


class EventBatches:
    """Sends batches of good events with poison events in the middle; event numbers never repeat."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._number = 0
        self._at = int(time.time() * 1000) - HOUR

    def send(self, poison: list[int], good: int = 1000) -> float:
        """Send a batch; returns the seconds until every good event is scored."""
        before = self._system.record_counts().scored
        self.start(poison, good)
        return self._system.until(
            lambda: self._system.record_counts().scored == before + good,
            90 * machine_load(),
            "the good events are not scored",
        )

    def start(self, poison: list[int], good: int) -> None:
        """Send a batch."""
        for position in range(good):
            if position == good // 2:
                for kind in poison:
                    self._send(amount=-kind)
            self._send()
        self._system.producer.flush(30)

    def _send(self, **changes: float) -> None:
        self._system.send_event(self._number, self._at + self._number, **changes)
        self._number += 1


def machine_load() -> float:
    """Return the factor by which other processes on this machine may slow a test, at least 1."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def messages(system: System) -> list[tuple[str, str]]:
    """Return code and message of each dead letter."""
    found = [headers(message) for message in system.read("raw.dlq")]
    return [(one["stream-app-error-code"], one["stream-app-error-message"]) for one in found]
