"""Progress on standard error: a bar on a terminal, otherwise a line every few seconds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

_LINE_SECONDS = 5.0
_BAR_SECONDS = 0.1


class ProgressReporter(Protocol):
    """Shows the progress of reading an input."""

    def update(self, position: int, count: int) -> None:
        """Show the progress.

        Args:
            position: part of the input that was read, in the unit of its size.
            count: records processed.
        """

    def print(self, line: str) -> None:
        """Show a line besides the progress."""


@contextmanager
def report_progress(label: str, size: int | None) -> Iterator[ProgressReporter]:
    """Show the progress while the block runs.

    Args:
        label: description of the work.
        size: size of the input in bytes or records, None if unknown.
    """
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        yield _ProgressLines(console, label, size)
        return
    columns = (
        TextColumn(label),
        BarColumn(),
        TextColumn("{task.fields[count]:,} records"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _ProgressBar(progress, size)


class _ProgressLines:
    def __init__(self, console: Console, label: str, size: int | None) -> None:
        self._console, self._label, self._size = console, label, size
        self._next = time.monotonic() + _LINE_SECONDS

    def update(self, position: int, count: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINE_SECONDS
            share = f", {position / self._size:.0%} of the input" if self._size else ""
            self.print(f"{self._label}: {count:,} records{share}")

    def print(self, line: str) -> None:
        self._console.print(line)


class _ProgressBar:
    def __init__(self, progress: Progress, size: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=size, count=0)
        self._next = 0.0

    def update(self, position: int, count: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _BAR_SECONDS
            self._progress.update(self._task, completed=position, count=count)

    def print(self, line: str) -> None:
        self._progress.console.print(line)
