"""What a task is made of: parts, where their inputs stand, and batches on their way to them."""

from typing import NamedTuple

from stream_app.records import InputPartition, Record
from stream_app.worker.processor import Processor
from stream_app.worker.transport import Batch


class Delivery(NamedTuple):
    """A batch on its way to the task."""

    source: InputPartition
    batch: Batch
    bytes: int


class WaitingRecords(NamedTuple):
    """The rest of a batch that is not processed yet, since when, and what it waits for; its turn, if that is empty."""

    records: list[Record]
    since: float
    what: str


class InputProgress(NamedTuple):
    """The next offset; how old, in seconds, the last record was when it was processed; (epoch, batches) taken."""

    next: int
    age: float
    batches: tuple[int, int]


class InputPosition:
    """Where one input stands."""

    __slots__ = ("age", "delivered", "epoch", "missing_since", "next", "sequence", "slice", "taken")

    def __init__(self, offset: int) -> None:
        self.next = offset
        self.age = 0.0  # seconds: how old the record before `next` was when it was processed
        self.epoch = -1
        self.sequence = 0
        self.slice = 1  # records to take at once; little at first
        self.missing_since: float | None = None  # since when batches are known to be missing
        self.delivered = 0  # bytes put into the queue; written by the delivering thread only
        self.taken = 0  # bytes taken out of it; written by the task's thread only

    @property
    def queued(self) -> int:
        return self.delivered - self.taken


class Subtask:
    """Inputs that belong together, and what works on them: those of one partition number, or all that there are."""

    def __init__(self, number: int, inputs: list[InputPartition], processor: Processor) -> None:
        self.number = number
        self.inputs = inputs
        self.processor = processor
        self.open = False  # whether the open transaction has anything of it
