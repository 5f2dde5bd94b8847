"""Quarantine candidates in a file: it may take several crashes of a worker to be sure of one."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from time import time

from stream_app.files import write_atomically
from stream_app.worker.quarantine.journal import CRASHED, Working

# A candidate is forgotten after this time, because its partition may have moved to another worker.
RETENTION_SECONDS = 3600.0


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
