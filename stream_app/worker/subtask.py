"""Subtasks of a stream task: their inputs, batches in flight, and positions in the log."""

from time import monotonic
from typing import NamedTuple

from stream_app.errors import DataLossError, FencedError, TopicsError
from stream_app.kafka.retrying_reader import RetryingReader
from stream_app.records import InputPartition, Record
from stream_app.worker.processor import Processor, WaitReason
from stream_app.worker.quarantine.claims import ClaimJournal, InputClaims

# Maximum number of records between two checks whether a commit is due.
MAX_CHUNK = 100
# Time that a chunk may take: an open transaction waits for it.
CHUNK_SECONDS = 1.0
# A chunk grows by this factor if it took less than 1/GROWTH of its time.
GROWTH = 4


class Batch(NamedTuple):
    """Consecutive records of one partition.

    Attributes:
        assignment_id: number of the `start_at` call that the batch follows.
        sequence: number of the batch since that call, from 0.
    """

    assignment_id: int
    sequence: int
    records: list[Record]


class Delivery(NamedTuple):
    """Batch in the queue of a task.

    Attributes:
        bytes: approximate size.
        arrived: monotonic seconds.
    """

    source: InputPartition
    batch: Batch
    bytes: int
    arrived: float


class WaitingRecords(NamedTuple):
    """Records of an input that are not processed yet.

    Attributes:
        since: start in monotonic seconds.
        reason: None if they only wait for their next time slice.
        batches: number of batches that the records complete.
        bytes: approximate size.
    """

    records: list[Record]
    since: float
    reason: WaitReason | None
    batches: int
    bytes: int

    def after(self, count: int, reason: WaitReason | None) -> "WaitingRecords":
        """Return the records after the first ones, which wait from now on for a reason."""
        rest = self.records[count:]
        size = self.bytes * len(rest) // len(self.records)
        return WaitingRecords(rest, monotonic(), reason, self.batches, size)

    def followed_by(self, batch: "WaitingRecords") -> "WaitingRecords":
        """Return these records and those of a batch behind them."""
        return self._replace(
            records=self.records + batch.records,
            batches=self.batches + batch.batches,
            bytes=self.bytes + batch.bytes,
        )


class InputProgress(NamedTuple):
    """Progress of one input.

    Attributes:
        next: next offset.
        age: age of the last record when it was processed, in seconds.
        batches: assignment id and number of batches processed.
    """

    next: int
    age: float
    batches: tuple[int, int]


class InputPosition:
    """Position of one input.

    Attributes:
        next: next offset.
        age: age of the record before it when it was processed, in seconds.
        arrived: monotonic seconds at which the records being processed arrived.
        chunk: number of records to process at once; adapts to the time that they take.
        claims: claims of the first records, None if none are written any more.
        metadata: metadata to commit with the next offset.
        missing_since: time in monotonic seconds since which fetched batches are missing.
        delivered: bytes put into the queue; written by the delivering thread only.
        taken: bytes processed or dropped; written by the task's thread only.
    """

    __slots__ = (
        "age",
        "arrived",
        "assignment_id",
        "chunk",
        "claims",
        "delivered",
        "metadata",
        "missing_since",
        "next",
        "sequence",
        "taken",
    )

    def __init__(self, offset: int) -> None:
        self.next = offset
        self.age = self.arrived = 0.0
        self.assignment_id = -1
        self.sequence = 0
        self.chunk = 1
        self.claims: InputClaims | None = None
        self.metadata = ""
        self.missing_since: float | None = None
        self.delivered = 0
        self.taken = 0

    @property
    def queued(self) -> int:
        """Bytes in the queue, or waiting behind it."""
        return self.delivered - self.taken

    @property
    def batches(self) -> tuple[int, int]:
        """Assignment id and number of batches processed."""
        return self.assignment_id, self.sequence

    def adapt_chunk(self, count: int, seconds: float) -> None:
        """Shrink or grow the chunk, given the time that a number of records took."""
        if seconds > CHUNK_SECONDS:
            self.chunk = max(1, min(self.chunk, int(count * CHUNK_SECONDS / seconds)))
        elif seconds < CHUNK_SECONDS / GROWTH:
            self.chunk = min(MAX_CHUNK, GROWTH * self.chunk)


class Subtask:
    """Inputs that share a state: those of one partition number, one of them, or all.

    Args:
        number: number in logs, metrics and transactional ids; of a partition of a source,
            `<topic>.<partition>`.
        claims: claims of the worker, None for a role without quarantine.

    Attributes:
        open: True if the open transaction contains outputs of this subtask.
    """

    def __init__(
        self,
        number: int | str,
        inputs: list[InputPartition],
        processor: Processor,
        claims: ClaimJournal | None = None,
    ) -> None:
        self.number = number
        self.inputs = inputs
        self.claims = claims
        self.open = False
        self._processor: Processor | None = processor

    @property
    def processor(self) -> Processor:
        """Processor with the state; raises `FencedError` once it is released."""
        if self._processor is None:
            raise assignment_ended()
        return self._processor

    def release(self) -> None:
        """Drop the state; the task uses it no more. Thread-safe."""
        self._processor = None


def assignment_ended() -> FencedError:
    """Return the error of work for an assignment that was revoked."""
    return FencedError(
        "the assignment has ended", "No action needed: the new owner of the partition continues"
    )


class OffsetCheck:
    """Check of offsets against records that were deleted before they were processed.

    Args:
        accept_data_loss: True to continue at the first offset that is left.
    """

    def __init__(self, reader: RetryingReader, accept_data_loss: bool) -> None:
        self._reader = reader
        self._accept_data_loss = accept_data_loss

    def start_offset(self, source: InputPartition, offset: int) -> int:
        """Return the offset to start at.

        Raises:
            DataLossError: records were deleted before they were read, and that is not accepted.
        """
        low, high = self._reader.ends(source)
        if offset < 0:
            return low
        if low <= offset <= high:
            return offset
        if self._accept_data_loss:
            # Also for a recreated topic, which ends before the offset: none of it has been read.
            return low
        gone = (
            f"{low - offset} records were deleted"
            if offset < low
            else f"the topic ends at {high} and was probably recreated"
        )
        raise DataLossError(
            f"{source.topic}[{source.partition}] continues at offset {offset}, but {gone}",
            "Restore the topic, or accept the loss with STREAM_APP_WORKER__ACCEPT_DATA_LOSS=true",
        )

    def check_contiguity(self, source: InputPartition, expected: int, first: int) -> None:
        """Check that a batch continues the log.

        A gap consists of transaction markers or aborted records, unless the log was truncated.

        Raises:
            DataLossError: the log was truncated or recreated.
        """
        if first > expected:
            self.start_offset(source, expected)
        elif first < expected:
            raise DataLossError(
                f"{source.topic}[{source.partition}] went back from offset {expected} to {first}",
                "It was recreated while in use; stop the pipeline, then keep or reset its state",
            )


class SourceOffsetCheck:
    """Check of offsets in topics of other programs, whose processors decide on lost records."""

    def __init__(self, reader: RetryingReader) -> None:
        self._reader = reader

    def start_offset(self, source: InputPartition, offset: int) -> int:
        """Return the offset to start at: that of the processor."""
        return offset

    def check_contiguity(self, source: InputPartition, expected: int, first: int) -> None:
        """Check that a batch continues the log.

        Raises:
            TopicsError: it does not; the processor decides when it is restored again.
        """
        if first == expected:
            return
        low, high = self._reader.ends(source)
        if first < expected or not low <= expected <= high:
            raise TopicsError(
                f"{source.topic}[{source.partition}] does not continue at offset {expected}",
                "No action needed: its task starts again and decides what to do",
            )
