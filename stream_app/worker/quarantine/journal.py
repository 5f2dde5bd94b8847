"""Journal of the records being processed, in a memory-mapped file that survives a crash."""

import json
import mmap
import os
import re
import sysconfig
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from time import time
from traceback import extract_tb
from typing import Any, NamedTuple

from stream_app.files import write_atomically
from stream_app.resilience import Limits
from stream_app.worker.quarantine.journal_slot import OFFSET_WORD, REASON_WORD, JournalSlot

# Partitions beyond this number share slots.
SLOTS = 1024
_WORD_BYTES = 8
# Words of the header, and of a slot.
_SLOT_WORDS = 8
_FILE_BYTES = (1 + SLOTS) * _SLOT_WORDS * _WORD_BYTES
# Words of the header.
_PID, _NANOSECONDS, _BYTES = range(3)

CRASHED, HUNG, GREW = range(3)
"""Reasons why a process ended while it processed a record; HUNG and GREW are the watchdog's."""

CODES = {CRASHED: "record-crashes", HUNG: "record-hangs", GREW: "record-exhausts-memory"}
"""Error codes of dead letters by reason."""
# A candidate is forgotten after this time, because its partition may have moved to another worker.
RETENTION_SECONDS = 3600.0


class Working(NamedTuple):
    """Record that a thread processes, or processed when its process ended.

    Attributes:
        input: number of the input topic among those of the role.
        started: monotonic nanoseconds.
        thread: native id of the thread.
        reason: CRASHED, HUNG or GREW.
    """

    input: int
    partition: int
    offset: int
    started: int
    thread: int
    reason: int


class Journal:
    """Journal of this process; replaces an earlier file.

    Attributes:
        path: the file, or None if it cannot be written, as on a full disk. Processing continues.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path: Path | None = path
        try:
            # Replaced instead of truncated: another process may still have it mapped.
            path.unlink(missing_ok=True)
            with path.open("xb+") as file:
                # Reports a full disk here instead of as SIGBUS later.
                os.posix_fallocate(file.fileno(), 0, _FILE_BYTES)
                self._words = _mapped(file.fileno())
        except OSError:
            self.path, self._words = None, _mapped(-1)
        self._words[_NANOSECONDS] = int(limits.seconds * 1e9)
        self._words[_BYTES] = limits.memory_mb << 20
        self._words[_PID] = os.getpid()

    def slot(self, partition: int) -> JournalSlot:
        """Return the slot of a partition."""
        return JournalSlot(self._words, _first_word(partition), partition)

    def clear(self) -> None:
        """Clear all slots, before the process ends for a reason other than a record."""
        for partition in range(SLOTS):
            self._words[_first_word(partition) + OFFSET_WORD] = 0


class JournalReader:
    """Journal of another process.

    Raises:
        OSError, ValueError: the file is missing or too short.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb+") as file:
            self._words = _mapped(file.fileno())

    @property
    def pid(self) -> int:
        """Process that writes the journal."""
        return int(self._words[_PID])

    @property
    def limits(self) -> tuple[int, int]:
        """Nanoseconds and bytes that one record may take."""
        return self._words[_NANOSECONDS], self._words[_BYTES]

    def working(self) -> list[Working]:
        """Return the record that each thread processes."""
        words, found = self._words, []
        for first in range(_SLOT_WORDS, (1 + SLOTS) * _SLOT_WORDS, _SLOT_WORDS):
            if words[first]:
                offset, started, number, partition, thread, reason = words[first : first + 6]
                found.append(Working(number, partition, offset - 1, started, thread, reason))
        return found

    def set_reason(self, partition: int, reason: int) -> None:
        """Store the reason for which the process is about to be killed."""
        self._words[_first_word(partition) + REASON_WORD] = reason


def worker_file(base: Path, suffix: str) -> Path:
    """Return a file of the worker whose files share the name `base`.

    `Path.with_suffix` does not do: an instance id may contain dots.
    """
    return base.with_name(f"{base.name}.{suffix}")


def unfinished_records(path: Path, pid: int | None = None) -> list[Working]:
    """Return the records that a process was processing when it ended.

    Args:
        path: journal of the process; none are returned if it is missing.
        pid: process that must have written it, or None for any.
    """
    try:
        journal = JournalReader(path)
    except (OSError, ValueError):
        return []
    return journal.working() if pid in (None, journal.pid) else []


def _mapped(descriptor: int) -> Any:
    return memoryview(mmap.mmap(descriptor, _FILE_BYTES)).cast("q")


def _first_word(partition: int) -> int:
    return (1 + partition % SLOTS) * _SLOT_WORDS


# --- Code location of a crash ---------------------------------------------------------------------

Frame = tuple[str, int, str]
"""File, line and function."""

_FRAME = re.compile(r'^  File "(.+)", line (\d+) in (.+)$')
_LIBRARIES = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_STREAM_APP = str(Path(__file__).parents[2])


def crash_location(trace: Path) -> str:
    """Return the crash location in a trace of `faulthandler`, empty if there is none.

    The text is `at <file>:<line> in <function>` and contains no value of a record.
    """
    try:
        lines = trace.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    current = next(
        (number for number, line in enumerate(lines) if line.startswith("Current thread")),
        len(lines),
    )
    frames: list[Frame] = []
    for line in lines[current + 1 :]:
        found = _FRAME.match(line)
        if found is None:
            break
        frames.append((found[1], int(found[2]), found[3]))
    return _location(frames)


def error_location(error: BaseException) -> str:
    """Return the location where an exception was raised, as `crash_location` does."""
    return _location(
        [
            (frame.filename, frame.lineno or 0, frame.name)
            for frame in reversed(extract_tb(error.__traceback__))
        ]
    )


def _location(frames: Iterable[Frame]) -> str:
    """Return the innermost frame of the user's code, else the innermost frame."""
    frames = list(frames)
    users = (frame for frame in frames if not frame[0].startswith((*_LIBRARIES, _STREAM_APP, "<")))
    file, line, function = next(users, frames[0] if frames else ("", 0, ""))
    return f"at {Path(file).name}:{line} in {function}" if file else ""


@dataclass(slots=True)
class Candidate:
    """Record that was being processed when a worker ended.

    Attributes:
        input: number of the input topic among those of the role.
        crashes: number of workers that ended while they processed it.
        reason: CRASHED, HUNG or GREW.
        last: time of the last crash in Unix seconds.
    """

    input: int
    partition: int
    offset: int
    crashes: int = 0
    reason: int = CRASHED
    last: float = 0.0

    @property
    def key(self) -> tuple[int, int, int]:
        """Input, partition and offset."""
        return self.input, self.partition, self.offset


class CandidateFile:
    """Candidates of one instance of a role; true if there is anything to run a trial for.

    Args:
        path: file that survives the worker.
        seconds: time after a poison record during which every record is a candidate.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._candidates: dict[tuple[int, int, int], Candidate] = {}
        self._until = 0.0
        # Without the file, a poison record costs one more restart.
        with suppress(OSError, ValueError, KeyError, TypeError):
            self._load()

    def add(self, unfinished: list[Working]) -> list[Candidate]:
        """Add the records that the previous process had not finished; returns their candidates."""
        found = []
        for working in unfinished:
            new = Candidate(working.input, working.partition, working.offset)
            candidate = self._candidates.setdefault(new.key, new)
            candidate.crashes += 1
            candidate.reason, candidate.last = working.reason, time()
            found.append(candidate)
        self._save()
        return found

    def add_crashed(self, key: tuple[int, int, int], crashes: int) -> None:
        """Add a record on which workers without this file ended; zero crashes only suspect it."""
        candidate = self._candidates.setdefault(key, Candidate(*key))
        candidate.crashes, candidate.last = max(candidate.crashes, crashes), time()
        self._save()

    def get(self, number: int, partition: int, offset: int) -> Candidate | None:
        """Return the candidate at an offset of the input with this number, or None."""
        return self._candidates.get((number, partition, offset))

    def remove_before(
        self, number: int, partition: int, end: int, waits: Callable[[int], bool] = lambda _: False
    ) -> None:
        """Remove the candidates of a partition whose outcome is committed.

        Args:
            end: offset after the last record with an outcome.
            waits: returns True for offsets before `end` that still wait for a retry.
        """
        # Copied, because threads that restore other partitions change the dictionary too.
        removed = [
            key
            for key in list(self._candidates)
            if key[:2] == (number, partition) and key[2] < end and not waits(key[2])
        ]
        for key in removed:
            self._candidates.pop(key, None)
        if removed:
            self._save()

    def include_all(self) -> None:
        """Make every record a candidate for a while: more poison records may follow."""
        self._until = time() + self._seconds
        self._save()

    @property
    def includes_all(self) -> bool:
        """True while every record is a candidate."""
        return time() < self._until

    def __bool__(self) -> bool:
        return bool(self._candidates) or self.includes_all

    def _load(self) -> None:
        stored = json.loads(self._path.read_text())
        candidates = [Candidate(*values) for values in stored["candidates"]]
        oldest = time() - RETENTION_SECONDS
        self._candidates = {found.key: found for found in candidates if found.last > oldest}
        self._until = min(float(stored["until"]), time() + self._seconds)

    def _save(self) -> None:
        stored = {
            "until": self._until,
            "candidates": [astuple(candidate) for candidate in list(self._candidates.values())],
        }
        with suppress(OSError):
            write_atomically(self._path, json.dumps(stored))
