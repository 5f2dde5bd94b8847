"""What a role does inside a partition task: the seam between the transactions and the core."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from stream_app.records import InputPartition, Output, Record

REGISTRY = "the schema registry"
TRIAL = "the trial of records that may harm the worker"
BREAKER = "events that do not fail"
DECISION = "the version that a decision has chosen, or the examples that it has learned again"
"""What records may wait for."""


class Processor(Protocol):
    """The work of one part of a task: made on assignment, dropped on revocation, used by one thread at a time.

    Everything that `process`, `idle` and `before_commit` return goes into one transaction with the input offsets.
    What was returned is never asked for again: a transaction that has to be retried is retried with the same values.
    """

    def restore(self, committed: Mapping[InputPartition, int]) -> Mapping[InputPartition, int]:
        """Load the state; return the next offset of every input (`committed` has -1 where the group has none).

        Runs after the previous owner's transactions have been settled. May block for as long as it takes.
        """

    @property
    def holding(self) -> str:
        """What the records wait for that `ready` held back last; empty if it held none back (any thread)."""

    def ready(self, records: Sequence[Record], now: int) -> int:
        """How many of these records, from the first, can be processed now; asked before each `process`, never waits.

        The task keeps the others and asks again. `now` is epoch milliseconds.
        """

    def process(self, source: InputPartition, records: Sequence[Record], now: int) -> list[Output]:
        """Work on consecutive records of one input; `now` is epoch milliseconds."""

    def idle(self, now: int, at_end: bool) -> list[Output]:
        """Called again and again while nothing of this part comes in; what it returns is committed at once.

        `at_end` says whether every input has been read to its end, and no record is held back.
        """

    def before_commit(self, positions: Mapping[InputPartition, int], now: int) -> list[Output]:
        """State that completes the transaction; `positions` are the next offsets that it commits."""

    def after_commit(self) -> None:
        """The transaction is on the broker's disk."""
