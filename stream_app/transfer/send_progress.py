"""How far sending is: a bar on a terminal, otherwise a line every few seconds; always on standard error."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

_LINE_SECONDS = 5.0
_BAR_SECONDS = 0.1


class SendProgress(Protocol):
    """What is told how far it is: `position` in bytes of the input, `count` in records; `say` shows a line."""

    def update(self, position: int, count: int) -> None: ...

    def say(self, line: str) -> None: ...


@contextmanager
def reporter(label: str, size: int | None) -> Iterator[SendProgress]:
    """A reporter; `size` is that of the input in bytes, None if it is not known."""
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        yield _SendProgressLines(console, label, size)
        return
    columns = (
        TextColumn(label),
        BarColumn(),
        TextColumn("{task.fields[count]:,} records"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(progress, size)


class _SendProgressLines:
    def __init__(self, console: Console, label: str, size: int | None) -> None:
        self._console, self._label, self._size = console, label, size
        self._next = time.monotonic() + _LINE_SECONDS

    def update(self, position: int, count: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINE_SECONDS
            share = f", {position / self._size:.0%} of the input" if self._size else ""
            self.say(f"{self._label}: {count:,} records{share}")

    def say(self, line: str) -> None:
        self._console.print(line)


class _Bar:
    def __init__(self, progress: Progress, size: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=size, count=0)
        self._next = 0.0

    def update(self, position: int, count: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _BAR_SECONDS
            self._progress.update(self._task, completed=position, count=count)

    def say(self, line: str) -> None:
        self._progress.console.print(line)
