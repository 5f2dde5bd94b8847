"""What people decide about dead letters: replay, park, drop, restore; and how far a replay has come."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import orjson

from stream_app.dead_letters.dead_letter_record import Kind
from stream_app.dead_letters.offset_ranges import OffsetRanges

ActKind = Literal["replay", "park", "drop", "restore"]
ReplayState = Literal["sending", "stopped", "done"]
Spot = tuple[Kind, int]
"""A topic of dead letters and its partition."""

Letters = Mapping[Spot, OffsetRanges]
"""Dead letters by where they are."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A decision; `at` is epoch milliseconds, `who` is user@host, `what` says in words which letters were meant.

    `request` is the same for the same selection with the same options. `undoes` is the act that a restore takes back.
    """

    id: str
    kind: ActKind
    at: int
    who: str
    what: str
    why: str
    letters: int
    request: str = ""
    undoes: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def decode(cls, value: bytes) -> "Operation":
        return cls(**orjson.loads(value))


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """How far a replay has come; written in the transactions that send its letters.

    `next` is the next offset by "kind/partition" of dead letters, `process` the sender's process id on the machine in
    `who`, `at` epoch milliseconds. `events` and `labels` are how many have been sent; `result` is what had become of
    them at the end.
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
        """Events and labels."""
        return self.events + self.labels

    def next_of(self, spot: Spot) -> int:
        """The next offset to be sent of a partition of dead letters."""
        return self.next.get(place_text(*spot), 0)

    def encode(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def decode(cls, value: bytes) -> "ReplayProgress":
        return cls(**orjson.loads(value))


def place_text(topic: str, partition: int) -> str:
    """A partition as JSON can have it as a key."""
    return f"{topic}/{partition}"


def count(letters: Letters) -> int:
    """How many dead letters these are."""
    return sum(len(runs) for runs in letters.values())
