"""The ledger: what `<pipeline>.replays` says about every dead letter, from one reading of it."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Literal

import orjson

from stream_app.dead_letters.dead_letter_record import KINDS, DeadLetterRef
from stream_app.dead_letters.offset_ranges import OffsetRanges
from stream_app.dead_letters.operations import Letters, Operation, ReplayProgress, Spot
from stream_app.kafka.reader import TopicReader
from stream_app.kafka.topics import topic_name

LetterState = Literal["open", "replayed", "parked", "dropped"]

_STATES: dict[str, LetterState] = {"replay": "replayed", "park": "parked", "drop": "dropped"}
_ACT, _LETTERS, _PROGRESS = "act", "letters", "progress"

Change = tuple[bytes, bytes]
"""Key and value of a record of the ledger."""


class Ledger:
    """Every act with its letters, oldest first, and the progress of replays, as of when it was read.

    A letter that nobody has dealt with, or whose act was taken back, is open. Of a replay that was stopped, those that
    it has not sent are open again; one that was only interrupted keeps them, for it can go on.
    """

    def __init__(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        self.acts: dict[str, Operation] = {}
        self.progress: dict[str, ReplayProgress] = {}
        self._letters: dict[str, dict[Spot, OffsetRanges]] = {}
        for key, value in records:
            if key is not None and value is not None:
                self._take(key.decode(), value)
        self.undone = {act.undoes for act in self.acts.values() if act.undoes}
        self._tables = {spot: _Table() for letters in self._letters.values() for spot in letters}
        for act in self.acts.values():
            for spot, runs in self.held(act).items():
                self._tables[spot].add(runs, _STATES[act.kind], act.id)
        for table in self._tables.values():
            table.sort()

    @classmethod
    def read(cls, reader: TopicReader, pipeline: str) -> "Ledger":
        """As it is now."""
        return cls(reader.read_all(topic_name(pipeline, "replays"), 0))

    def letters(self, act: Operation) -> Letters:
        """What an act was decided for."""
        return self._letters.get(act.id, {})

    def held(self, act: Operation) -> Letters:
        """Those of an act's letters that are not open because of it."""
        if act.kind not in _STATES:
            return {}
        letters, progress = self.letters(act), self.progress.get(act.id)
        if act.kind == "replay" and (
            act.id in self.undone or (progress and progress.state == "stopped")
        ):
            return {
                spot: runs.before(progress.next_of(spot) if progress else 0)
                for spot, runs in letters.items()
            }
        return {} if act.id in self.undone else letters

    def state(self, ref: DeadLetterRef) -> LetterState:
        """What has become of a dead letter."""
        return self.holder(ref)[0]

    def holder(self, ref: DeadLetterRef) -> tuple[LetterState, str]:
        """The same, and the id of the act that says so, empty for one that is open."""
        table = self._tables.get((ref.kind, ref.partition))
        return table.find(ref.offset) if table is not None else ("open", "")

    def states(self, refs: Iterable[DeadLetterRef]) -> dict[str, LetterState]:
        """By error id, those of the letters that are not open."""
        if not self._tables:
            return {}
        found = ((ref.error_id, self.state(ref)) for ref in refs)
        return {error_id: state for error_id, state in found if state != "open"}

    def closed(self) -> Iterator[tuple[Spot, int, int, LetterState]]:
        """The runs of letters that are not open, from their first to behind their last, and what has become of them."""
        for spot, table in self._tables.items():
            for start, end, state, _ in table.rows:
                yield spot, start, end, state

    def unfinished(self, act: Operation) -> bool:
        """Whether it is a replay that has more to send."""
        progress = self.progress.get(act.id)
        return (
            act.kind == "replay"
            and act.id not in self.undone
            and (progress is None or progress.state == "sending")
        )

    def _take(self, key: str, value: bytes) -> None:
        kind, _, rest = key.partition("/")
        if kind == _ACT:
            self.acts[rest] = Operation.decode(value)
        elif kind == _PROGRESS:
            self.progress[rest] = ReplayProgress.decode(value)
        elif kind == _LETTERS:
            act_id, topic, partition = rest.split("/")
            spot: Spot = (next(one for one in KINDS if one == topic), int(partition))
            self._letters.setdefault(act_id, {})[spot] = OffsetRanges.decode(
                orjson.loads(value)["runs"]
            )


class _Table:
    """The runs of one partition by offset; no two acts hold the same letter."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, LetterState, str]] = []
        self._starts: list[int] = []

    def add(self, runs: OffsetRanges, state: LetterState, act_id: str) -> None:
        self.rows += (
            (start, end, state, act_id) for start, end in zip(runs.starts, runs.ends, strict=True)
        )

    def sort(self) -> None:
        self.rows.sort()
        self._starts = [row[0] for row in self.rows]

    def find(self, offset: int) -> tuple[LetterState, str]:
        found = bisect_right(self._starts, offset) - 1
        if found < 0 or offset >= self.rows[found][1]:
            return "open", ""
        return self.rows[found][2:]


def act_records(act: Operation, letters: Letters) -> list[Change]:
    """What makes an act known; it belongs into one transaction."""
    runs = [
        (f"{_LETTERS}/{act.id}/{topic}/{partition}".encode(), orjson.dumps({"runs": runs.encode()}))
        for (topic, partition), runs in letters.items()
    ]
    return [*runs, (f"{_ACT}/{act.id}".encode(), act.encode())]


def progress_record(act_id: str, progress: ReplayProgress) -> Change:
    """How far a replay is."""
    return f"{_PROGRESS}/{act_id}".encode(), progress.encode()
