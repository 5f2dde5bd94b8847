"""Which records are suspected to have ended a worker, in a file, for it may take several workers to be sure."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from time import time

from stream_app.worker.quarantine.journal import CRASHED, Working, beside

KEPT_SECONDS = 3600.0  # that a suspect is remembered whose partition went elsewhere


@dataclass(slots=True)
class Candidate:
    """A record that was being worked on when a worker ended: how often, why, and when the last time (epoch seconds)."""

    input: int
    partition: int
    offset: int
    deaths: int = 0
    reason: int = CRASHED
    last: float = 0.0

    @property
    def place(self) -> tuple[int, int, int]:
        return self.input, self.partition, self.offset


class CandidateFile:
    """The suspects of one instance of a role, and whether every record is one: for `seconds` after a conviction."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._suspects: dict[tuple[int, int, int], Candidate] = {}
        self._until = 0.0
        with suppress(
            OSError, ValueError, KeyError, TypeError
        ):  # nothing is lost with it but another restart
            self._load()

    def take(self, last_words: list[Working]) -> list[Candidate]:
        """Candidate what the process before this one worked on at its end; returns these suspects."""
        found = []
        for working in last_words:
            known = Candidate(working.input, working.partition, working.offset)
            suspect = self._suspects.setdefault(known.place, known)
            suspect.deaths, suspect.reason, suspect.last = (
                suspect.deaths + 1,
                working.reason,
                time(),
            )
            found.append(suspect)
        self._save()
        return found

    def of(self, number: int, partition: int, offset: int) -> Candidate | None:
        """What is held against a record of the input so numbered."""
        return self._suspects.get((number, partition, offset))

    def settle(
        self, number: int, partition: int, end: int, waits: Callable[[int], bool] = lambda _: False
    ) -> None:
        """Every record of the partition before the offset `end` has its outcome, but those of which `waits` is true."""
        settled = [
            place
            for place in list(self._suspects)  # which threads that restore may change, too
            if place[:2] == (number, partition) and place[2] < end and not waits(place[2])
        ]
        for place in settled:
            self._suspects.pop(place, None)
        if settled:
            self._save()

    def rise(self) -> None:
        """A record was convicted: more of its kind may come, of any partition."""
        self._until = time() + self._seconds
        self._save()

    @property
    def general(self) -> bool:
        """Whether every record is suspected."""
        return time() < self._until

    def __bool__(self) -> bool:
        return bool(self._suspects) or self.general

    def _load(self) -> None:
        noted = json.loads(self._path.read_text())
        suspects = [Candidate(*values) for values in noted["suspects"]]
        fresh = time() - KEPT_SECONDS
        self._suspects = {suspect.place: suspect for suspect in suspects if suspect.last > fresh}
        self._until = min(float(noted["until"]), time() + self._seconds)

    def _save(self) -> None:
        noted = {
            "until": self._until,
            "suspects": [astuple(suspect) for suspect in list(self._suspects.values())],
        }
        temporary = beside(self._path, "tmp")
        with suppress(OSError):
            temporary.write_text(json.dumps(noted))
            temporary.replace(self._path)
