"""Interface between a stream task, which owns transactions, and the role that processes records."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from stream_app.records import InputPartition, Output, Record
from stream_app.topic_kinds import TopicKind


class WaitReason(StrEnum):
    """Reason why records that were fetched cannot be processed yet; the value is a metric label."""

    SCHEMA_REGISTRY = "schema-registry"
    TRIAL_RUN = "trial-run"
    CIRCUIT_BREAKER = "circuit-breaker"
    DECISION = "decision"
    SOURCE = "source"
    ALIGNMENT = "alignment"
    WATERMARK = "watermark"

    @property
    def description(self) -> str:
        """Text that completes "partitions wait for ..."."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    WaitReason.SCHEMA_REGISTRY: "the schema registry",
    WaitReason.TRIAL_RUN: "the trial run of records that may crash the worker",
    WaitReason.CIRCUIT_BREAKER: "the circuit breaker to close",
    WaitReason.DECISION: "the model version that a decision selects, or the examples to relearn",
    WaitReason.SOURCE: "the acceptance of records deleted unread, or of a recreated topic",
    WaitReason.ALIGNMENT: "partitions of sources that are behind",
    WaitReason.WATERMARK: "the watermarks of scorers",
}

HELD = -2
"""Offset of an input that must not be read; see `Processor.restore`."""


WrittenOffsets = Mapping[tuple[TopicKind, int], int]
"""Offset of the last record that was written, by kind and partition of the topic."""


def waiting_reason(count: int, known: int, ready: int) -> WaitReason | None:
    """Return why records wait, None if all are ready.

    Args:
        count: number of records.
        known: number of those whose schemas are known, counted from the first.
        ready: number of those that need no trial run either.
    """
    if ready < known:
        return WaitReason.TRIAL_RUN
    return WaitReason.SCHEMA_REGISTRY if known < count else None


class Processor(Protocol):
    """Processing of one subtask: created on assignment, dropped on revocation, never concurrent.

    The outputs of `process`, `idle` and `before_commit` go into one transaction with the input
    offsets. Outputs are computed once: a transaction that is retried writes the same values.
    """

    def restore(self, committed: Mapping[InputPartition, int]) -> Mapping[InputPartition, int]:
        """Load the state and return the next offset of every input.

        Runs after the transactions of the previous owner have ended. May block without limit.
        `HELD` stands for an input that stays where it is and is not read.

        Args:
            committed: committed offset of every input, -1 where the group has none.
        """

    @property
    def waiting_for(self) -> WaitReason | None:
        """Reason why `ready` held records back, None if it held none back. Thread-safe."""

    def ready(self, records: Sequence[Record], now: int) -> int:
        """Return the number of records, counted from the first, that can be processed now.

        Called before each `process`; never blocks. The task keeps the other records and asks again.

        Args:
            records: consecutive records of one input.
            now: wall-clock time in Unix milliseconds.
        """

    def process(self, source: InputPartition, records: Sequence[Record], now: int) -> list[Output]:
        """Process consecutive records of one input; `now` is in Unix milliseconds."""

    def look(self, now: int, ended: Mapping[InputPartition, int]) -> None:
        """Note which inputs were read to their end; called several times a second.

        Args:
            now: wall-clock time in Unix milliseconds.
            ended: inputs of which nothing is left to read, and the offsets at which they end.
        """

    def idle(self, now: int, at_end: bool) -> list[Output]:
        """Return outputs that are due while no records arrive; they are committed immediately.

        Args:
            now: wall-clock time in Unix milliseconds.
            at_end: True if every input was read to its end and no record is held back.
        """

    def before_commit(self, positions: Mapping[InputPartition, int], now: int) -> list[Output]:
        """Return the state that completes the transaction.

        Args:
            positions: next offsets, which the transaction commits.
            now: wall-clock time in Unix milliseconds.
        """

    def after_commit(self, written: WrittenOffsets) -> None:
        """Called once the transaction is committed.

        Args:
            written: offsets of the last scored record and example that the task's producer has
                written, for this subtask or another one, as far as it has written any.
        """
