"""Which record each task works on, in a file that is mapped into memory and so outlives the process."""

import mmap
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import get_native_id
from time import monotonic_ns
from typing import Any, NamedTuple

from stream_app.records import Record
from stream_app.resilience import Limits

SLOTS = 1024  # partitions beyond share them
_WORD = 8  # bytes
_LINE = 8  # words of the header, and of a slot
_SIZE = (1 + SLOTS) * _LINE * _WORD
_PID, _NANOSECONDS, _BYTES = range(3)  # words of the header
_OFFSET, _STARTED, _INPUT, _PARTITION, _THREAD, _REASON = range(
    6
)  # words of a slot; the offset is one more, 0 is none

CRASHED, HUNG, GREW = range(3)
"""Why a process ended while it worked on a record: by itself, or its watch ended it."""


class Working(NamedTuple):
    """A record that a task works on, or worked on when its process ended; `started` is nanoseconds, monotonic."""

    input: int
    partition: int
    offset: int
    started: int
    thread: int
    reason: int


class Slot:
    """The place of one partition in a journal; used by one thread."""

    __slots__ = ("_first", "_words")

    def __init__(self, words: Any, partition: int) -> None:
        self._words = words
        self._first = _first(partition)
        words[self._first + _PARTITION] = partition

    def noting(self, number: int, records: Iterable[Record]) -> Iterator[Record]:
        """The records of the input so numbered, each noted before it is worked on; nothing is noted after the last.

        When working on one raises, it stays noted.
        """
        words, first = self._words, self._first
        offset, started = first + _OFFSET, first + _STARTED
        words[first + _INPUT] = number
        words[first + _THREAD] = get_native_id()
        for record in records:
            words[started] = monotonic_ns()
            words[offset] = record.offset + 1
            yield record
        words[offset] = 0


class Journal:
    """The journal of this process; what was in the file before is gone.

    Where the file cannot be written, as on a full disk, there is none: `path` is None, and the work goes on.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path: Path | None = path
        try:
            path.unlink(
                missing_ok=True
            )  # never shrink a file that another process may still have mapped
            with path.open("xb+") as file:
                os.posix_fallocate(
                    file.fileno(), 0, _SIZE
                )  # a full disk shows here, and not as a signal later
                self._words = _mapped(file.fileno())
        except OSError:
            self.path, self._words = None, _mapped(-1)
        self._words[_NANOSECONDS] = int(limits.seconds * 1e9)
        self._words[_BYTES] = limits.memory_mb << 20
        self._words[_PID] = os.getpid()

    def slot(self, partition: int) -> Slot:
        """The partition's place."""
        return Slot(self._words, partition)

    def clear(self) -> None:
        """Nothing is being worked on: this process ends for another reason than a record."""
        for partition in range(SLOTS):
            self._words[_first(partition) + _OFFSET] = 0


class Watched:
    """The journal of another process."""

    def __init__(self, path: Path) -> None:
        with path.open("rb+") as file:
            self._words = _mapped(file.fileno())

    @property
    def pid(self) -> int:
        return int(self._words[_PID])

    @property
    def limits(self) -> tuple[int, int]:
        """Nanoseconds and bytes that one record may take."""
        return self._words[_NANOSECONDS], self._words[_BYTES]

    def working(self) -> list[Working]:
        """What every task works on."""
        words, found = self._words, []
        for first in range(_LINE, (1 + SLOTS) * _LINE, _LINE):
            if words[first]:
                offset, started, number, partition, thread, reason = words[first : first + 6]
                found.append(Working(number, partition, offset - 1, started, thread, reason))
        return found

    def blame(self, partition: int, reason: int) -> None:
        """Note why the process is going to be ended."""
        self._words[_first(partition) + _REASON] = reason


def beside(base: Path, suffix: str) -> Path:
    """A file of the worker whose files are called `base`; an instance id may have dots in it."""
    return base.with_name(f"{base.name}.{suffix}")


def last_words(path: Path, pid: int | None = None) -> list[Working]:
    """What a process that has ended, that with `pid` if given, worked on at its end; nothing if it left no journal."""
    try:
        journal = Watched(path)
    except (OSError, ValueError):
        return []
    return journal.working() if pid in (None, journal.pid) else []


def _mapped(descriptor: int) -> Any:
    return memoryview(mmap.mmap(descriptor, _SIZE)).cast("q")


def _first(partition: int) -> int:
    """The first word of the partition's slot."""
    return (1 + partition % SLOTS) * _LINE
