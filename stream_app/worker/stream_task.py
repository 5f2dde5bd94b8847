"""A worker's task: one thread, one transactional producer, all of its partitions; from assignment to revocation."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Protocol

from stream_app.clock import now_ms
from stream_app.errors import DataLossError, FencedError
from stream_app.kafka.log_reader import LogReader
from stream_app.records import InputPartition, Output, Record
from stream_app.settings import WorkerSettings
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import (
    BATCH_SECONDS,
    RESTORE_SECONDS,
    TRANSACTION_SECONDS,
    TRANSACTIONS,
)
from stream_app.worker.membership import Membership
from stream_app.worker.outages import Blocker
from stream_app.worker.subtask import (
    Delivery,
    InputPosition,
    InputProgress,
    Subtask,
    WaitingRecords,
)
from stream_app.worker.transaction_writer import TransactionWriter
from stream_app.worker.transport import Batch

log = get_logger(__name__)

LOOK_SECONDS = 0.025  # between two looks at what does not come in
HOLD_BYTES = 2 * 1024 * 1024  # queued, at which an input is held back
HEADROOM_BYTES = 512 * 1024  # and at which it is released again
LOST_SECONDS = 1.0  # after which a batch that was fetched is not going to come
RECORD_OVERHEAD = 200  # bytes of memory, about what a record takes besides its value
SLICE = 100  # most records between two looks at whether a commit is due
SLICE_SECONDS = 1.0  # that those should take at most; an open transaction waits for them
GROWTH = 4  # of a slice, where it took less than that part of this time
TURN_SECONDS = 2.0  # after which other inputs have their turn, although there is more of a batch
WAITING_SECONDS = 1.0  # after which an input that waits is spoken of
BEHIND_SECONDS = (
    1.0  # of age of a record, from which on throughput counts more than how soon it is committed
)
RESTORING = 16  # parts at a time: most of it is waiting
CATCH_UP_SECONDS = 0.5  # that a transaction of such records takes at least


class FetchControl(Protocol):
    """What a task asks of the fetching side; safe to call from the task's thread."""

    def start_at(self, source: InputPartition, offset: int) -> int:
        """Fetch from here; returns the epoch of the batches to come."""

    def hold(self, source: InputPartition) -> None: ...

    def release(self, source: InputPartition) -> None: ...

    def at_end(self, source: InputPartition) -> tuple[int, int] | None:
        """(epoch, batches delivered) when everything stable has been fetched, else None."""


class StreamTask(Thread):
    """Turns batches into transactions, exactly once, for the inputs of one assignment.

    The parts share one thread, for threads that compute only wait for each other, and one transaction, so that many
    partitions cost no more than few. `fences` are writers that nobody uses, but a previous owner of some of these
    inputs may have used: they are taken over, too, which settles what was open.

    A batch is processed only if it is the next of its epoch; after a gap the input starts again at `next`. While
    records wait for their schemas, their input stands still: what was fetched behind them is left, and is fetched again
    once they have been processed. Other inputs go on, and no transaction stays open meanwhile. An error ends the task:
    `failed` is called once, and the next task, here or elsewhere, settles what was open.

    What made the task before fail may be that records took so long that a transaction outlasted its time-out. So one
    that is `careful` gives each input transactions of its own, between which it may take long, until whole slices of it
    have proved to take little.
    """

    def __init__(
        self,
        role: str,
        parts: list[Subtask],
        writer: TransactionWriter,
        fences: list[TransactionWriter],
        reader: LogReader,
        flow: FetchControl,
        membership: Membership,
        settings: WorkerSettings,
        failed: Callable[["StreamTask", BaseException], None],
        careful: bool = False,
    ) -> None:
        super().__init__(name="task", daemon=True)
        self.role = role
        self.parts = parts
        self.inputs = [source for part in parts for source in part.inputs]
        self.ready = Event()
        self._part_of = {source: part for part in parts for source in part.inputs}
        self._writer = writer
        self._writers = [writer, *fences]  # until all have been taken over
        self._reader = reader
        self._flow = flow
        self._membership = membership
        self._settings = settings
        self._failed = failed
        self._careful = careful
        self._queue: SimpleQueue[Delivery | None] = SimpleQueue()
        self._positions: dict[InputPartition, InputPosition] = {}
        self._waiting: dict[InputPartition, WaitingRecords] = {}
        self._stopping = Event()
        self._deadline: float | None = None  # when the open transaction is to be committed
        self._next_look = 0.0

    def deliver(self, source: InputPartition, batch: Batch) -> None:
        """Queue a batch (any thread)."""
        position = self._positions.get(source)
        if position is not None and not self._stopping.is_set():
            size = sum([len(value or b"") for _, _, _, _, _, value, _ in batch.records])
            size += RECORD_OVERHEAD * len(batch.records)
            position.delivered += size
            if position.queued > HOLD_BYTES:
                self._flow.hold(source)
            self._queue.put(Delivery(source, batch, size))

    def stop(self) -> None:
        """Commit what has been processed, if that can be done soon, and end (any thread)."""
        self._stopping.set()
        for writer in self._writers:
            writer.stop()
        self._queue.put(None)

    def calling_for(self) -> float:
        """Seconds for which the present call of librdkafka has been under way; 0 when there is none (any thread)."""
        return max(writer.calling_for() for writer in self._writers)

    def trouble(self) -> Blocker | None:
        """What keeps it from committing now (any thread)."""
        return next(
            (writer.trouble for writer in self._writers if writer.trouble is not None), None
        )

    def progress(self) -> dict[InputPartition, InputProgress]:
        """How far each input is (any thread)."""
        return {
            source: InputProgress(position.next, position.age, (position.epoch, position.sequence))
            for source, position in self._positions.items()
        }

    def waiting(self) -> list[str]:
        """What each input waits for that has been standing still for a while, but for its turn (any thread)."""
        now, inputs = monotonic(), list(self._waiting.values())
        return [
            waiting.what
            for waiting in inputs
            if waiting.what and now - waiting.since > WAITING_SECONDS
        ]

    def run(self) -> None:
        try:
            self._take_over()
            while not self._stopping.is_set():
                self._step()
            if self._deadline is not None:
                self._commit()
        except BaseException as error:  # the one place where a task's failure is caught
            self._stopping.set()
            self._failed(self, error)
        finally:
            self._close_fences()
            self._writer.close()

    def _take_over(self) -> None:
        """Settle the previous owners, restore, check the logs, and only then let batches come."""
        if self._stopping.is_set():
            return
        with ThreadPoolExecutor(RESTORING, "restore") as threads:
            list(threads.map(self._settle, self._writers))
            self._close_fences()
            committed, positions = (
                self._reader.committed(self.inputs),
                dict[InputPartition, InputPosition](),
            )
            for found in threads.map(partial(self._restore, committed), self.parts):
                positions |= found
        self._positions = positions
        for source in self.inputs:
            self._seek(source)
        self.ready.set()

    def _settle(self, writer: TransactionWriter) -> None:
        """Take over, unless the assignment has ended meanwhile: whoever comes next must not be fenced."""
        if not self._stopping.is_set():
            writer.take_over()

    def _close_fences(self) -> None:
        fences, self._writers = self._writers[1:], self._writers[:1]
        for writer in fences:
            writer.close()

    def _restore(
        self, committed: Mapping[InputPartition, int], part: Subtask
    ) -> dict[InputPartition, InputPosition]:
        """Where a part's inputs go on, once its state is there."""
        if self._stopping.is_set():
            raise FencedError(
                "the assignment is over", "Nothing to do: the partition's new owner goes on"
            )
        started = monotonic()
        offsets = part.processor.restore({source: committed[source] for source in part.inputs})
        seconds = monotonic() - started
        RESTORE_SECONDS.labels(str(part.number)).set(seconds)
        log.info("ready", partition=part.number, restore_seconds=round(seconds, 3))
        return {
            source: InputPosition(self._start(source, offsets[source])) for source in part.inputs
        }

    def _start(self, source: InputPartition, offset: int) -> int:
        """The offset to start at; records that are gone before anyone read them are a matter for a person."""
        low, high = self._reader.ends(source)
        if offset < 0:
            return low
        if low <= offset <= high:
            return offset
        if self._settings.accept_data_loss:
            return low  # also where it ends before that: it was made anew, and nobody has read what is there
        gone = (
            f"{low - offset} records were deleted"
            if offset < low
            else f"it ends at {high}, was it recreated?"
        )
        raise DataLossError(
            f"{source.topic}[{source.partition}] should go on at offset {offset}, but {gone}",
            "Restore the topic, or accept the loss with STREAM_APP_WORKER__ACCEPT_DATA_LOSS=true",
        )

    def _seek(self, source: InputPartition) -> None:
        position = self._positions[source]
        position.epoch = self._flow.start_at(source, position.next)
        position.sequence = 0
        position.missing_since = None

    def _step(self) -> None:
        waiting = list(self._waiting)
        delivery = self._next_delivery()
        if delivery is not None:
            self._release(delivery)
            self._process(delivery.source, delivery.batch)
        any(
            self._resume(source) for source in waiting
        )  # one that can go on, then it is the turn of others
        if monotonic() >= self._next_look:
            self._look()
        if self._deadline is not None and self._commit_is_due():
            self._commit()

    def _next_delivery(self) -> Delivery | None:
        until = self._next_look if self._deadline is None else min(self._next_look, self._deadline)
        with suppress(Empty):
            return self._queue.get(timeout=max(0.0, until - monotonic()))
        return None

    def _look(self) -> None:
        """See to what does not come in, and let the parts of which nothing came do what waits for quiet.

        When that takes long for some, no transaction stays open for the others.
        """
        self._next_look = monotonic() + LOOK_SECONDS
        self._writer.serve()
        for source, position in self._positions.items():
            if source not in self._waiting and position.queued <= HEADROOM_BYTES:
                self._flow.release(source)
                self._find_lost(source, position)
        for part in self.parts:
            if not part.open:
                self._write(
                    part,
                    part.processor.idle(
                        _now(), all(self._at_end(source) for source in part.inputs)
                    ),
                )
            if self._deadline is not None and monotonic() >= self._next_look:
                self._commit()

    def _write(self, part: Subtask, outputs: list[Output]) -> None:
        """What quiet has brought forth is committed at once."""
        if outputs:
            self._writer.write(outputs)
            self._deadline, part.open = monotonic(), True

    def _at_end(self, source: InputPartition) -> bool:
        position = self._positions[source]
        return self._flow.at_end(source) == (position.epoch, position.sequence)

    def _find_lost(self, source: InputPartition, position: InputPosition) -> None:
        """Start again at `next` when batches were fetched and never came, and nothing came after them to show it."""
        seen = self._flow.at_end(source)
        if position.queued or seen is None or seen <= (position.epoch, position.sequence):
            position.missing_since = None
        elif position.missing_since is None:
            position.missing_since = monotonic()
        elif monotonic() - position.missing_since > LOST_SECONDS:
            self._seek(source)

    def _release(self, delivery: Delivery) -> None:
        position = self._positions[delivery.source]
        position.taken += delivery.bytes
        if position.queued <= HEADROOM_BYTES and delivery.source not in self._waiting:
            self._flow.release(delivery.source)

    def _process(self, source: InputPartition, batch: Batch) -> None:
        position = self._positions[source]
        if batch.epoch != position.epoch or source in self._waiting:
            return
        if batch.sequence != position.sequence:
            self._seek(source)
            return
        self._check_contiguity(source, position.next, batch.records[0].offset)
        if self._process_records(source, position, batch.records):
            position.sequence += 1

    def _process_records(
        self, source: InputPartition, position: InputPosition, records: list[Record]
    ) -> bool:
        """Work through consecutive records; False if some have to wait, for what they need or their next turn."""
        with BATCH_SECONDS.labels(self.role).time():
            start, processor, until = 0, self._part_of[source].processor, monotonic() + TURN_SECONDS
            while start < len(records):
                some = records[start : start + position.slice]
                ready = processor.ready(some, _now())
                if ready:
                    self._process_slice(source, position, some[:ready])
                start += ready
                over = monotonic() > until or self._stopping.is_set()
                if ready < len(some) or (over and start < len(records)):
                    self._flow.hold(source)
                    self._waiting[source] = WaitingRecords(
                        records[start:], monotonic(), processor.holding
                    )
                    return False
        return True

    def _resume(self, source: InputPartition) -> bool:
        """Go on with what waits, if it can; then fetch what came behind it and was left."""
        waiting, position, processor = (
            self._waiting[source],
            self._positions[source],
            self._part_of[source].processor,
        )
        if not processor.ready(waiting.records[: position.slice], _now()):
            self._waiting[source] = waiting._replace(what=processor.holding)
            return False
        del self._waiting[source]
        if self._process_records(source, position, waiting.records):
            self._seek(source)
        return True

    def _process_slice(
        self, source: InputPartition, position: InputPosition, records: list[Record]
    ) -> None:
        """Work on a few records; a slow model must not outlast the transaction's time-out."""
        alone = self._careful and position.slice < SLICE
        if alone and self._deadline is not None:
            self._commit()
        now, started, part = _now(), monotonic(), self._part_of[source]
        outputs = part.processor.process(source, records, now)
        self._adapt(position, len(records), monotonic() - started)
        position.next = records[-1].offset + 1
        position.age = max(0.0, (now - records[-1].timestamp) / 1000)
        self._writer.write(outputs)
        part.open = True
        due = started if alone else started + self._interval(position.age)
        self._deadline = due if self._deadline is None else min(due, self._deadline)
        if self._commit_is_due():
            self._commit()

    def _interval(self, age: float) -> float:
        """Seconds until the next commit, when the records to process are so old."""
        interval = self._settings.commit_interval_ms / 1000
        return interval if age < BEHIND_SECONDS else max(interval, CATCH_UP_SECONDS)

    def _adapt(self, position: InputPosition, count: int, seconds: float) -> None:
        """Take fewer records at once where they take long, and more where they do not."""
        if seconds > SLICE_SECONDS:
            position.slice = max(1, min(position.slice, int(count * SLICE_SECONDS / seconds)))
        elif seconds < SLICE_SECONDS / GROWTH:
            position.slice = min(SLICE, GROWTH * position.slice)

    def _check_contiguity(self, source: InputPartition, expected: int, first: int) -> None:
        """A gap between batches is transaction markers or aborted records, unless the log itself now starts later."""
        if first > expected:
            self._start(source, expected)
        elif first < expected:
            raise DataLossError(
                f"{source.topic}[{source.partition}] went back from offset {expected} to {first}",
                "It was recreated while in use; stop the pipeline and decide what to do with its state",
            )

    def _commit_is_due(self) -> bool:
        limits = self._settings
        return (
            monotonic() >= (self._deadline or 0)
            or self._writer.pending >= limits.commit_records
            or self._writer.bytes >= limits.commit_bytes
        )

    def _commit(self) -> None:
        """Commit what there is, of the parts that have a share in it."""
        parts = [part for part in self.parts if part.open]
        with TRANSACTION_SECONDS.labels(self.role).time():
            positions: dict[InputPartition, int] = {}
            for part in parts:
                of_part = {source: self._positions[source].next for source in part.inputs}
                self._writer.write(part.processor.before_commit(of_part, _now()))
                positions |= of_part
            aborts = self._writer.commit(positions, self._membership)
        self._deadline = None
        for part in parts:
            part.open = False
            part.processor.after_commit()
        TRANSACTIONS.labels(self.role, "committed").inc()
        TRANSACTIONS.labels(self.role, "aborted").inc(aborts)


def _now() -> int:
    return now_ms()
