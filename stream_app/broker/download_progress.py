"""How far a download is: a bar on a terminal, otherwise a line every few seconds; always on standard error."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

_EVERY = 5.0  # seconds between plain lines
_MB = 1_000_000


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function, safe to call from threads, that is told how many of `total` bytes were added."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn(label),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(label, total=total)
            yield lambda count: bar.advance(task, count)
    else:
        lines = _DownloadProgressLines(console, label, total)
        lines.show()
        yield lines.advance


class _DownloadProgressLines:
    def __init__(self, console: Console, label: str, total: int) -> None:
        self._console, self._label, self._total = console, label, total
        self._done, self._next = 0, time.monotonic() + _EVERY
        self._lock = Lock()

    def advance(self, count: int) -> None:
        with self._lock:
            self._done += count
            if time.monotonic() >= self._next:
                self._next += _EVERY
                self.show()

    def show(self) -> None:
        done = f"{self._done / _MB:.0f} of {self._total / _MB:.0f} MB"
        self._console.print(f"{self._label}: {done}", highlight=False, soft_wrap=True)
