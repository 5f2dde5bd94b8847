"""Ledger of `<p>.replays`: operations on dead letters, their offsets, and progress of replays."""

import json
import zlib
from base64 import b64decode, b64encode
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import accumulate, pairwise
from typing import Any, Literal

import orjson

from stream_app.dead_letters.dead_letter_reader import DeadLetterRef
from stream_app.kafka.retrying_reader import TopicReader
from stream_app.topic_kinds import DEAD_LETTER_KINDS, DeadLetterKind, topic_name


class OffsetRanges:
    """Set of offsets of one partition, stored as ascending ranges without gaps.

    Attributes:
        starts: first offset of each range, included.
        ends: end of each range, excluded.
    """

    __slots__ = ("ends", "starts")

    def __init__(self, starts: list[int], ends: list[int]) -> None:
        self.starts = starts
        self.ends = ends

    @classmethod
    def of(cls, offsets: Iterable[int]) -> "OffsetRanges":
        """Return the ranges of offsets given in any order.

        >>> ranges = OffsetRanges.of([7, 3, 4, 5])
        >>> ranges.starts, ranges.ends, len(ranges), 5 in ranges, 6 in ranges
        ([3, 7], [6, 8], 4, True, False)
        """
        ordered = sorted(set(offsets))
        if not ordered:
            return cls([], [])
        gaps = [(before, after) for before, after in pairwise(ordered) if after != before + 1]
        return cls(
            [ordered[0], *(after for _, after in gaps)],
            [*(before + 1 for before, _ in gaps), ordered[-1] + 1],
        )

    def __len__(self) -> int:
        return sum(self.ends) - sum(self.starts)

    def __contains__(self, offset: int) -> bool:
        index = bisect_right(self.starts, offset) - 1
        return index >= 0 and offset < self.ends[index]

    def before(self, offset: int) -> "OffsetRanges":
        """Return the offsets below `offset`.

        >>> OffsetRanges([3, 7], [6, 8]).before(5).ends
        [5]
        """
        count = bisect_right(self.starts, offset - 1)
        return OffsetRanges(self.starts[:count], [min(end, offset) for end in self.ends[:count]])

    def from_offset(self, offset: int) -> "OffsetRanges":
        """Return the offsets from `offset` on, included.

        >>> OffsetRanges([3, 7], [6, 8]).from_offset(5).starts
        [5, 7]
        """
        first = bisect_right(self.ends, offset)
        starts = [max(start, offset) for start in self.starts[first:]]
        return OffsetRanges(starts, self.ends[first:])

    def encode(self) -> str:
        """Return the set as text: differences between the bounds, compressed, in base64.

        >>> ranges = OffsetRanges([3, 7], [6, 8])
        >>> OffsetRanges.decode(ranges.encode()).ends
        [6, 8]
        """
        bounds = [bound for pair in zip(self.starts, self.ends, strict=True) for bound in pair]
        differences = [after - before for before, after in pairwise([0, *bounds])]
        content = json.dumps(differences, separators=(",", ":")).encode()
        return b64encode(zlib.compress(content, 9)).decode()

    @classmethod
    def decode(cls, text: str) -> "OffsetRanges":
        """Return the set that `encode` wrote."""
        bounds = list(accumulate(json.loads(zlib.decompress(b64decode(text)))))
        return cls(bounds[::2], bounds[1::2])


OperationKind = Literal["replay", "park", "drop", "restore"]
ReplayState = Literal["sending", "stopped", "done"]
DeadLetterState = Literal["open", "replayed", "parked", "dropped"]

DlqPartition = tuple[DeadLetterKind, int]
"""Kind of a dead-letter topic, and a partition of it."""

DeadLetterOffsets = Mapping[DlqPartition, OffsetRanges]
"""Set of dead letters: their offsets by partition."""

LedgerRecord = tuple[bytes, bytes]
"""Key and value of a record of the ledger."""

# State of the dead letters of an operation while it is in effect.
_STATES: dict[str, DeadLetterState] = {"replay": "replayed", "park": "parked", "drop": "dropped"}

# First part of a record's key.
_OPERATION, _OFFSETS, _PROGRESS = "operation", "offsets", "progress"


@dataclass(frozen=True, slots=True)
class Operation:
    """Operation of a person on dead letters.

    Attributes:
        id: name that later commands use.
        kind: what was done.
        at: time in Unix milliseconds.
        who: operator, as user@host.
        what: selection in words.
        why: reason that the operator gave.
        dead_letters: number of dead letters.
        request: digest of selection and options, equal for equal requests; replays only.
        reverts: id of the operation that a restore takes back.
        options: options of a replay; with the topics through which its records go, and the ends
            of the topics of outcomes at its beginning.
    """

    id: str
    kind: OperationKind
    at: int
    who: str
    what: str
    why: str
    dead_letters: int
    request: str = ""
    reverts: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def shown_options(self) -> dict[str, Any]:
        """Options that the operator gave."""
        internal = ("since", "topics")
        return {name: value for name, value in self.options.items() if name not in internal}

    def encode(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def decode(cls, value: bytes) -> "Operation":
        return cls(**orjson.loads(value))


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """Progress of a replay, written in the same transactions as the records that it sends.

    Attributes:
        state: stage of the replay.
        who: operator whose process sends, as user@host.
        process: id of that process on that host.
        at: time in Unix milliseconds.
        events: number of events sent.
        labels: number of labels sent.
        next: offset of the next dead letter to send, by "kind/partition".
        result: fields of the `ReplayResult` at the end, empty before.
    """

    state: ReplayState
    who: str
    process: int
    at: int
    events: int = 0
    labels: int = 0
    next: dict[str, int] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def sent(self) -> int:
        """Number of events and labels sent."""
        return self.events + self.labels

    def next_offset(self, partition: DlqPartition) -> int:
        """Return the offset of the next dead letter to send from a partition."""
        return self.next.get(partition_key(*partition), 0)

    def encode(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def decode(cls, value: bytes) -> "ReplayProgress":
        return cls(**orjson.loads(value))


class Ledger:
    """State of all dead letters, derived from the records of the ledger at the time of reading.

    A dead letter is open if no operation applies to it, or if that operation was reverted. When a
    replay is stopped or reverted, the dead letters that it has not sent are open again. An
    interrupted replay keeps its dead letters, because it can be resumed.

    Attributes:
        operations: operations by id, oldest first.
        progress: progress of replays by id.
        reverted: ids of operations that a restore took back.
    """

    def __init__(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        self.operations: dict[str, Operation] = {}
        self.progress: dict[str, ReplayProgress] = {}
        self._offsets: dict[str, dict[DlqPartition, OffsetRanges]] = {}
        for key, value in records:
            if key is not None and value is not None:
                self._add(key.decode("utf-8", "replace"), value)
        self.reverted = {one.reverts for one in self.operations.values() if one.reverts}
        self._closed: dict[DlqPartition, _ClosedRanges] = {}
        for operation in self.operations.values():
            for partition, ranges in self.closed_by(operation).items():
                closed = self._closed.setdefault(partition, _ClosedRanges())
                closed.add(ranges, _STATES[operation.kind], operation.id)
        for closed in self._closed.values():
            closed.sort()

    @classmethod
    def read(cls, reader: TopicReader, pipeline: str) -> "Ledger":
        """Return the present ledger of a pipeline."""
        return cls(reader.read_all(topic_name(pipeline, "replays"), 0))

    def offsets(self, operation: Operation) -> DeadLetterOffsets:
        """Return the dead letters that an operation was decided for."""
        return self._offsets.get(operation.id, {})

    def closed_by(self, operation: Operation) -> DeadLetterOffsets:
        """Return the dead letters that are not open because of an operation."""
        if operation.kind not in _STATES:
            return {}
        offsets, progress = self.offsets(operation), self.progress.get(operation.id)
        is_reverted = operation.id in self.reverted
        if operation.kind != "replay":
            return {} if is_reverted else offsets
        if not is_reverted and (progress is None or progress.state != "stopped"):
            return offsets
        return {
            partition: ranges.before(progress.next_offset(partition) if progress else 0)
            for partition, ranges in offsets.items()
        }

    def state(self, ref: DeadLetterRef) -> DeadLetterState:
        """Return the state of a dead letter."""
        return self.state_and_operation(ref)[0]

    def state_and_operation(self, ref: DeadLetterRef) -> tuple[DeadLetterState, str]:
        """Return the state of a dead letter and the id of its operation, "" if it is open."""
        closed = self._closed.get((ref.kind, ref.partition))
        return closed.find(ref.offset) if closed is not None else ("open", "")

    def is_open(self, kind: DeadLetterKind, partition: int, offset: int) -> bool:
        """Return True if no operation applies to the dead letter at a position."""
        closed = self._closed.get((kind, partition))
        return closed is None or closed.find(offset)[0] == "open"

    def states(self, refs: Iterable[DeadLetterRef]) -> dict[str, DeadLetterState]:
        """Return the states of the dead letters that are not open, by error id."""
        if not self._closed:
            return {}
        found = ((ref.error_id, self.state(ref)) for ref in refs)
        return {error_id: state for error_id, state in found if state != "open"}

    def closed_ranges(self) -> Iterator[tuple[DlqPartition, int, int, DeadLetterState]]:
        """Yield ranges of dead letters that are not open: partition, start, end, state."""
        for partition, closed in self._closed.items():
            for start, end, state, _ in closed.rows:
                yield partition, start, end, state

    def is_unfinished(self, operation: Operation) -> bool:
        """Return True if the operation is a replay that has more to send."""
        progress = self.progress.get(operation.id)
        return (
            operation.kind == "replay"
            and operation.id not in self.reverted
            and (progress is None or progress.state == "sending")
        )

    def _add(self, key: str, value: bytes) -> None:
        kind, _, rest = key.partition("/")
        if kind == _OPERATION:
            self.operations[rest] = Operation.decode(value)
        elif kind == _PROGRESS:
            self.progress[rest] = ReplayProgress.decode(value)
        elif kind == _OFFSETS:
            operation_id, topic, partition = rest.split("/")
            topic_kind = next(one for one in DEAD_LETTER_KINDS if one == topic)
            ranges = OffsetRanges.decode(orjson.loads(value)["ranges"])
            self._offsets.setdefault(operation_id, {})[topic_kind, int(partition)] = ranges


class _ClosedRanges:
    """Ranges of one partition by offset; no two operations share a dead letter."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, DeadLetterState, str]] = []
        self._starts: list[int] = []

    def add(self, ranges: OffsetRanges, state: DeadLetterState, operation_id: str) -> None:
        bounds = zip(ranges.starts, ranges.ends, strict=True)
        self.rows += ((start, end, state, operation_id) for start, end in bounds)

    def sort(self) -> None:
        self.rows.sort()
        self._starts = [row[0] for row in self.rows]

    def find(self, offset: int) -> tuple[DeadLetterState, str]:
        index = bisect_right(self._starts, offset) - 1
        if index < 0 or offset >= self.rows[index][1]:
            return "open", ""
        return self.rows[index][2:]


def operation_records(operation: Operation, offsets: DeadLetterOffsets) -> list[LedgerRecord]:
    """Return the records of an operation, which must be written in one transaction."""
    records = [
        (
            f"{_OFFSETS}/{operation.id}/{topic}/{partition}".encode(),
            orjson.dumps({"ranges": ranges.encode()}),
        )
        for (topic, partition), ranges in offsets.items()
    ]
    return [*records, (f"{_OPERATION}/{operation.id}".encode(), operation.encode())]


def progress_record(replay_id: str, progress: ReplayProgress) -> LedgerRecord:
    """Return the record of a replay's progress."""
    return f"{_PROGRESS}/{replay_id}".encode(), progress.encode()


def partition_key(topic: str, partition: int) -> str:
    """Return the key of a partition in JSON objects.

    >>> partition_key("raw.dlq", 3)
    'raw.dlq/3'
    """
    return f"{topic}/{partition}"


def count_offsets(offsets: DeadLetterOffsets) -> int:
    """Return the number of dead letters in a set."""
    return sum(map(len, offsets.values()))
