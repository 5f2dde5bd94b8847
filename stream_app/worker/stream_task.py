"""Stream task of a worker: one thread and one or two transactional producers for all partitions."""

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Protocol

from stream_app.clock import now_ms
from stream_app.errors import (
    FencedError,
    KafkaUnavailableError,
    StreamAppError,
    TopicsError,
)
from stream_app.kafka.retrying_reader import CommittedOffset, RetryingReader
from stream_app.kafka.topic_uses import SOURCE_ROLES
from stream_app.records import InputPartition, Output, Record
from stream_app.settings import WorkerSettings
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import (
    BATCH_SECONDS,
    RESTORE_SECONDS,
    TRANSACTION_SECONDS,
    TRANSACTIONS,
)
from stream_app.worker.outages import Blocker
from stream_app.worker.processor import HELD, WaitReason
from stream_app.worker.subtask import (
    MAX_CHUNK,
    Batch,
    Delivery,
    InputPosition,
    InputProgress,
    OffsetCheck,
    SourceOffsetCheck,
    Subtask,
    WaitingRecords,
    assignment_ended,
)
from stream_app.worker.transaction_writer import Membership, TransactionWriter

log = get_logger(__name__)

IDLE_SECONDS = 0.025
# Fetching of an input pauses at the first number of queued bytes, and resumes at the second. What
# is left must last until more is fetched: while a paused input has fetched records that nobody
# takes, aiokafka fetches nothing from the same broker for a tenth of a second.
PAUSE_BYTES = 2 * 1024 * 1024
RESUME_BYTES = 1024 * 1024
# A fetched batch that is not delivered within this time is lost.
LOST_SECONDS = 1.0
# Approximate memory of a record besides its value.
RECORD_OVERHEAD_BYTES = 200
# After this time other inputs get their time slice, even in the middle of a batch.
TIME_SLICE_SECONDS = 2.0
# An input that waits longer is reported.
WAITING_SECONDS = 1.0
# With records older than this, throughput counts more than the latency of a commit ...
BEHIND_SECONDS = 1.0
# ... and a transaction takes at least this long.
CATCH_UP_SECONDS = 0.5
# Queued records are sent this often while a transaction waits for more, so that few are left to
# send at its commit. The broker verifies each partition of a transaction at its first record.
SEND_SECONDS = 0.01
# Writers that share the partitions and commit at the same time: a broker takes the partitions of a
# producer one after the other.
WRITERS = 2
# Inputs may be at their ends if the broker has confirmed the membership since so many seconds.
CONFIRMED_SECONDS = 10.0
# Subtasks restored at the same time: most of it is waiting.
RESTORE_THREADS = 16


class FetchControl(Protocol):
    """Control of fetching by a task. Thread-safe."""

    def start_at(self, source: InputPartition, offset: int) -> int:
        """Fetch an input from an offset; returns the assignment id of the batches to come."""

    def pause_fetching(self, source: InputPartition) -> None: ...

    def resume_fetching(self, source: InputPartition) -> None: ...

    def at_end(self, source: InputPartition) -> tuple[int, int] | None:
        """Return assignment id and number of batches if the log is fetched to its stable end."""

    def stable_end(self, source: InputPartition) -> int | None:
        """Return the stable end of the log when it was last fetched, None before."""

    def may_have_more(self, source: InputPartition) -> bool:
        """Return True if records may follow the stable end: an open transaction, or no news."""

    def confirmed_at(self) -> float:
        """Return the monotonic time of the broker's last confirmation of membership."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Inputs assigned to a task, and its connections to the rest of the worker.

    Attributes:
        membership: membership in the group, which fences the commits of a previous owner.
        failed: called once with an error that ends the task.
        careful: True if a task failed before, perhaps because its records were too slow.
    """

    inputs: list[InputPartition]
    membership: Membership
    fetch: FetchControl
    failed: Callable[["StreamTask", BaseException], None]
    careful: bool = False


class StreamTask(Thread):
    """Turns batches into transactions, exactly once, for the inputs of one assignment.

    Subtasks share one thread, because threads that compute would only wait for each other, and two
    transactions, so that many partitions cost no more than few.

    A batch is processed only if it is the next one of its assignment id; after a gap the input
    restarts at its next offset. If records of an input wait, for instance for their schemas, the
    batches behind them wait, too, and fetching pauses once they have `PAUSE_BYTES`. Other inputs
    continue, and no transaction stays open in the meantime.

    An error ends the task. The next task, here or in another worker, ends the open transactions.

    The previous task may have failed because its records took longer than the transaction timeout.
    So a careful task gives each input transactions of its own until full chunks of it are fast.

    Args:
        writers: writers of the subtasks, which fence the previous owners; the first ones remain.
        sources: topics of other programs among the inputs of a role that has others, too.

    Attributes:
        ready: set once the state of all subtasks is restored.
    """

    def __init__(
        self,
        role: str,
        subtasks: list[Subtask],
        writers: list[TransactionWriter],
        reader: RetryingReader,
        assignment: Assignment,
        settings: WorkerSettings,
        sources: Collection[str] = (),
    ) -> None:
        super().__init__(name="task", daemon=True)
        self.role = role
        self.subtasks = subtasks
        self.inputs = [source for subtask in subtasks for source in subtask.inputs]
        self.ready = Event()
        self._subtask_of = {source: subtask for subtask in subtasks for source in subtask.inputs}
        # All writers until the previous owners are fenced, then those in use.
        self._writers = writers
        self._writer_of = {
            subtask: writers[number % WRITERS] for number, subtask in enumerate(subtasks)
        }
        self._committing = ThreadPoolExecutor(WRITERS, "commit")
        self._reader = reader
        # Processors decide on lost records of topics of other programs.
        own_check = OffsetCheck(reader, settings.accept_data_loss)
        source_check = SourceOffsetCheck(reader)
        self._offset_checks = {
            source: source_check if role in SOURCE_ROLES or source.topic in sources else own_check
            for source in self.inputs
        }
        self._fetch = assignment.fetch
        self._assignment = assignment
        self._settings = settings
        self._queue: SimpleQueue[Delivery | None] = SimpleQueue()
        self._positions: dict[InputPartition, InputPosition] = {}
        self._waiting: dict[InputPartition, WaitingRecords] = {}
        # Inputs that are not read.
        self._held: set[InputPartition] = set()
        self._stopping = Event()
        # Monotonic seconds at which the open transactions are due, and at which they were begun.
        self._deadline: float | None = None
        self._opened = 0.0
        # Duration of the last commit.
        self._commit_seconds = 0.0
        self._next_send = 0.0
        self._next_idle = 0.0
        # True if an input that waited continued in the last step.
        self._resumed = False
        # Input and offset of a claim that is committed, and whose records are not.
        self._begun: tuple[InputPartition, int] | None = None

    def deliver(self, source: InputPartition, batch: Batch) -> None:
        """Queue a batch. Thread-safe."""
        position = self._positions.get(source)
        if position is not None and not self._stopping.is_set():
            size = sum([len(value or b"") for _, _, _, _, _, value, _ in batch.records])
            size += RECORD_OVERHEAD_BYTES * len(batch.records)
            position.delivered += size
            if position.queued > PAUSE_BYTES:
                self._fetch.pause_fetching(source)
            self._queue.put(Delivery(source, batch, size, monotonic()))

    def stop(self) -> None:
        """Commit processed records if that is possible soon, and end. Thread-safe."""
        self._stopping.set()
        for writer in self._writers:
            writer.stop()
        self._queue.put(None)

    def abandon(self) -> None:
        """End without commit once the present call of librdkafka returns, if ever. Thread-safe.

        Only this thread may use or free the producer. The state is dropped at once: that of two
        tasks does not fit in memory.
        """
        self._stopping.set()
        for writer in self._writers:
            writer.abandon()
        self._queue = SimpleQueue()
        for subtask in self.subtasks:
            subtask.release()

    def call_seconds(self) -> float:
        """Return the seconds of the current call of librdkafka, 0 without one. Thread-safe."""
        return max(writer.call_seconds() for writer in self._writers)

    def blocker(self) -> Blocker | None:
        """Return the reason why the task cannot commit now, or None. Thread-safe."""
        return next(
            (writer.blocker for writer in self._writers if writer.blocker is not None), None
        )

    def progress(self) -> dict[InputPartition, InputProgress]:
        """Return the progress of each input. Thread-safe."""
        return {
            source: InputProgress(position.next, position.age, position.batches)
            for source, position in self._positions.items()
        }

    def waiting(self) -> list[WaitReason]:
        """Return the reason of each input that has been waiting for a while. Thread-safe.

        Inputs that only wait for their time slice are left out.
        """
        now, inputs = monotonic(), list(self._waiting.values())
        return [
            waiting.reason
            for waiting in inputs
            if waiting.reason is not None and now - waiting.since > WAITING_SECONDS
        ] + [WaitReason.SOURCE] * len(self._held)

    def run(self) -> None:
        try:
            self._take_over()
            while not self._stopping.is_set():
                self._step()
            if self._deadline is not None:
                self._commit()
        # The only place that catches a failure of the task.
        except BaseException as error:
            self._stopping.set()
            self._withdraw_claim(error)
            self._assignment.failed(self, error)
        finally:
            self._committing.shutdown(wait=False)
            self._close_writers(0)

    # --- Start ------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        """Fence the previous owners, restore, check the logs, and only then start fetching."""
        if self._stopping.is_set():
            return
        with ThreadPoolExecutor(RESTORE_THREADS, "restore") as threads:
            list(threads.map(self._fence, self._writers))
            self._close_writers(WRITERS)
            committed = self._reader.committed_metadata(self.inputs)
            positions: dict[InputPartition, InputPosition] = {}
            for found in threads.map(partial(self._restore, committed), self.subtasks):
                positions |= found
        self._positions = positions
        for source in self.inputs:
            if source not in self._held:
                self._seek(source)
        self.ready.set()

    def _fence(self, writer: TransactionWriter) -> None:
        """Fence the previous owner, unless the assignment has ended: the next owner stays."""
        if not self._stopping.is_set():
            writer.take_over()

    def _close_writers(self, kept: int) -> None:
        """Close all writers but the first ones."""
        closed, self._writers = self._writers[kept:], self._writers[:kept] or self._writers
        for writer in closed:
            writer.close()

    def _restore(
        self, committed: Mapping[InputPartition, CommittedOffset], subtask: Subtask
    ) -> dict[InputPartition, InputPosition]:
        """Restore the state of a subtask; returns the start positions of its inputs."""
        if self._stopping.is_set():
            raise assignment_ended()
        started = monotonic()
        offsets = subtask.processor.restore(
            {source: committed[source].offset for source in subtask.inputs}
        )
        seconds = monotonic() - started
        RESTORE_SECONDS.labels(str(subtask.number)).set(seconds)
        log.info("ready", partition=subtask.number, restore_seconds=round(seconds, 3))
        return {
            source: self._start_position(subtask, source, offsets[source], committed[source])
            for source in subtask.inputs
        }

    def _start_position(
        self, subtask: Subtask, source: InputPartition, offset: int, committed: CommittedOffset
    ) -> InputPosition:
        if offset == HELD:
            self._held.add(source)
            return InputPosition(committed.offset)
        position = InputPosition(self._offset_checks[source].start_offset(source, offset))
        if subtask.claims is not None:
            if committed.offset == position.next:
                position.metadata = committed.metadata
            position.claims = subtask.claims.resume(source, position.metadata, source.partition)
        return position

    def _seek(self, source: InputPartition) -> None:
        position = self._positions[source]
        position.assignment_id = self._fetch.start_at(source, position.next)
        position.sequence = 0
        position.missing_since = None

    # --- Steps ------------------------------------------------------------------------------------

    def _step(self) -> None:
        waiting = list(self._waiting)
        delivery = self._next_delivery()
        if delivery is not None:
            self._process(delivery)
        # At most one waiting input gets a time slice, then the others.
        self._resumed = any(self._resume(source) for source in waiting)
        if monotonic() >= self._next_idle:
            self._idle()
        if self._deadline is not None and self._commit_is_due():
            self._commit()

    def _next_delivery(self) -> Delivery | None:
        until = self._next_idle
        if self._deadline is not None:
            is_busy = self._resumed or not self._queue.empty()
            if not is_busy and monotonic() >= self._next_send:
                for writer in self._writers:
                    writer.send()
                self._next_send = monotonic() + SEND_SECONDS
            until = min(until, self._deadline, self._next_send)
        if self._resumed:
            # Another one that waited may continue, too.
            until = 0.0
        with suppress(Empty):
            return self._queue.get(timeout=max(0.0, until - monotonic()))
        return None

    def _idle(self) -> None:
        """Find lost batches, and let subtasks without records do their idle work.

        If that takes long for some of them, no transaction stays open for the others.
        """
        self._next_idle = monotonic() + IDLE_SECONDS
        for writer in self._writers:
            writer.serve()
        for source, position in self._positions.items():
            self._release(source, position, 0)
            if source not in self._waiting:
                self._find_lost(source, position)
        # In an outage nothing is fetched, so an input only seems to be at its end.
        is_confirmed = monotonic() - self._fetch.confirmed_at() < CONFIRMED_SECONDS
        for subtask in self.subtasks:
            ended = {
                source: end
                for source in subtask.inputs
                if (end := self._end_reached(source)) is not None
            }
            subtask.processor.look(now_ms(), ended if is_confirmed else {})
            if not subtask.open:
                at_end = len(ended) == len(subtask.inputs)
                self._write_idle(subtask, subtask.processor.idle(now_ms(), at_end))
            if self._deadline is not None and monotonic() >= self._next_idle:
                self._commit()

    def _write_idle(self, subtask: Subtask, outputs: list[Output]) -> None:
        """Write output produced while idle, which is committed immediately."""
        if outputs:
            self._writer_of[subtask].write(outputs)
            self._deadline, subtask.open = monotonic(), True

    def _end_reached(self, source: InputPartition) -> int | None:
        """Return where an input ends if every record was processed, undecided ones included.

        Records of one transaction become readable in one partition after the other. If the first
        of them counted alone, its times would close what the others still belong to.
        """
        # In this order: what is read now is not beyond what was read when it ended there.
        end = self._fetch.stable_end(source)
        is_read = self._fetch.at_end(source) == self._positions[source].batches
        return end if is_read and not self._fetch.may_have_more(source) else None

    def _find_lost(self, source: InputPartition, position: InputPosition) -> None:
        """Restart an input whose last fetched batches never arrived."""
        fetched = self._fetch.at_end(source)
        if position.queued or fetched is None or fetched <= position.batches:
            position.missing_since = None
        elif position.missing_since is None:
            position.missing_since = monotonic()
        elif monotonic() - position.missing_since > LOST_SECONDS:
            self._seek(source)

    def _release(self, source: InputPartition, position: InputPosition, size: int) -> None:
        """Subtract bytes from the queued ones, and continue to fetch if few are left."""
        position.taken += size
        if position.queued <= RESUME_BYTES:
            self._fetch.resume_fetching(source)

    # --- Records ----------------------------------------------------------------------------------

    def _process(self, delivery: Delivery) -> None:
        source, batch = delivery.source, delivery.batch
        position, waiting = self._positions[source], self._waiting.get(source)
        arrived = WaitingRecords(batch.records, monotonic(), None, 1, delivery.bytes)
        sequence = position.sequence + (0 if waiting is None else waiting.batches)
        if (batch.assignment_id, batch.sequence) != (position.assignment_id, sequence):
            self._release(source, position, delivery.bytes)
            # After a gap, a batch is fetched again once nothing waits before it.
            if waiting is None and batch.assignment_id == position.assignment_id:
                self._seek(source)
            return
        expected = position.next if waiting is None else waiting.records[-1].offset + 1
        self._offset_checks[source].check_contiguity(source, expected, batch.records[0].offset)
        if waiting is not None:
            self._waiting[source] = waiting.followed_by(arrived)
            return
        position.arrived = delivery.arrived
        self._process_records(source, position, arrived)

    def _process_records(
        self, source: InputPartition, position: InputPosition, waiting: WaitingRecords
    ) -> None:
        """Process consecutive records. Some may wait for what they need, or for a time slice."""
        records = waiting.records
        with BATCH_SECONDS.labels(self.role).time():
            start, processor = 0, self._subtask_of[source].processor
            until = monotonic() + TIME_SLICE_SECONDS
            while start < len(records):
                size, claims = position.chunk, position.claims
                if claims is not None:
                    size = claims.limit(records[start].offset, size)
                chunk = records[start : start + size]
                ready = processor.ready(chunk, now_ms())
                if ready:
                    self._process_chunk(source, position, chunk[:ready])
                start += ready
                over = monotonic() > until or self._stopping.is_set()
                if ready < len(chunk) or (over and start < len(records)):
                    rest = waiting.after(start, processor.waiting_for)
                    self._waiting[source] = rest
                    self._release(source, position, waiting.bytes - rest.bytes)
                    return
        position.sequence += waiting.batches
        self._release(source, position, waiting.bytes)

    def _resume(self, source: InputPartition) -> bool:
        """Process records that waited, if possible."""
        waiting, position = self._waiting[source], self._positions[source]
        processor = self._subtask_of[source].processor
        if not processor.ready(waiting.records[: position.chunk], now_ms()):
            self._waiting[source] = waiting._replace(reason=processor.waiting_for)
            return False
        del self._waiting[source]
        position.arrived = monotonic()
        self._process_records(source, position, waiting)
        return True

    def _process_chunk(
        self, source: InputPartition, position: InputPosition, records: list[Record]
    ) -> None:
        """Process few records: a slow model must not exceed the transaction timeout."""
        alone = self._assignment.careful and position.chunk < MAX_CHUNK
        if position.claims is not None:
            alone = self._begin_claim(source, position, records) or alone
        if alone and self._deadline is not None:
            self._commit()
        now, started, subtask = now_ms(), monotonic(), self._subtask_of[source]
        outputs = subtask.processor.process(source, records, now)
        position.adapt_chunk(len(records), monotonic() - started)
        position.next = records[-1].offset + 1
        position.metadata = ""
        position.age = max(0.0, (now - records[-1].timestamp) / 1000)
        self._writer_of[subtask].write(outputs)
        subtask.open = True
        due = started if alone else self._due(position, started)
        if self._deadline is None:
            self._deadline, self._opened, self._next_send = due, started, started + SEND_SECONDS
        self._deadline = min(due, self._deadline)
        if alone or self._commit_is_due():
            self._commit()

    # --- Claims -----------------------------------------------------------------------------------

    def _begin_claim(
        self, source: InputPartition, position: InputPosition, records: list[Record]
    ) -> bool:
        """Commit a claim to process records; returns True if they are committed alone."""
        claims = position.claims
        assert claims is not None
        position.metadata = claims.begin(records)
        self._subtask_of[source].open = True
        self._commit()
        self._begun = source, position.next
        if claims.is_over(records[-1].offset + 1):
            position.claims = None
        return claims.isolates

    def _withdraw_claim(self, error: BaseException) -> None:
        """Remove a claim if an expected error ends the process, for which no record is to blame.

        A task that failed because of Kafka has a successor in the same process.
        """
        if self._begun is None or not isinstance(error, StreamAppError):
            return
        if not isinstance(error, FencedError | KafkaUnavailableError | TopicsError):
            source, offset = self._begun
            with suppress(StreamAppError):
                for writer in self._writers:
                    writer.abort()
                writer = self._writer_of[self._subtask_of[source]]
                writer.write([])
                writer.commit({source: offset}, self._assignment.membership)

    # --- Commit -----------------------------------------------------------------------------------

    def _due(self, position: InputPosition, started: float) -> float:
        """Return the monotonic seconds at which to commit records processed since `started`.

        The time that they waited in the queue, for the commit before, counts. But a transaction
        takes as long as that commit, up to the interval: slow brokers must not get more of them.
        """
        interval = self._settings.commit_interval_ms / 1000
        if position.age >= BEHIND_SECONDS:
            return started + max(interval, CATCH_UP_SECONDS)
        return max(position.arrived + interval, started + min(interval, self._commit_seconds))

    def _commit_is_due(self) -> bool:
        """Return True if the open transactions are full, or due and without records in the queue.

        Records that waited as long belong into them, but they must not grow for ever.
        """
        limits, now = self._settings, monotonic()
        return (
            (
                now >= (self._deadline or 0)
                and (self._queue.empty() or now >= self._opened + limits.commit_interval_ms / 1000)
            )
            or sum([writer.pending for writer in self._writers]) >= limits.commit_records
            or sum([writer.bytes for writer in self._writers]) >= limits.commit_bytes
        )

    def _commit(self) -> None:
        """Commit the open transactions with the offsets of the subtasks that take part in them."""
        subtasks = [subtask for subtask in self.subtasks if subtask.open]
        started = monotonic()
        with TRANSACTION_SECONDS.labels(self.role).time():
            by_writer: dict[TransactionWriter, list[Subtask]] = {}
            for subtask in subtasks:
                by_writer.setdefault(self._writer_of[subtask], []).append(subtask)
            commits = [self._complete(writer, group) for writer, group in by_writer.items()]
            aborts = self._commit_together(commits)
        self._deadline = self._begun = None
        self._commit_seconds = monotonic() - started
        for subtask in subtasks:
            subtask.open = False
            subtask.processor.after_commit(self._writer_of[subtask].last_offsets)
        TRANSACTIONS.labels(self.role, "committed").inc(len(commits))
        TRANSACTIONS.labels(self.role, "aborted").inc(aborts)

    def _complete(self, writer: TransactionWriter, subtasks: list[Subtask]) -> Callable[[], int]:
        """Write what completes a transaction; returns its commit, which returns the aborts."""
        positions: dict[InputPartition, int] = {}
        for subtask in subtasks:
            own = {
                source: self._positions[source].next
                for source in subtask.inputs
                if source not in self._held
            }
            writer.write(subtask.processor.before_commit(own, now_ms()))
            positions |= own
        metadata = {source: self._positions[source].metadata for source in positions}
        return partial(writer.commit, positions, self._assignment.membership, metadata)

    def _commit_together(self, commits: list[Callable[[], int]]) -> int:
        """Commit transactions at the same time, each as a whole; returns the number of aborts.

        Raises the first error once all have ended. What the others committed stays committed, as
        if another task did it: a subtask has a part in one of them only.
        """
        if len(commits) == 1:
            return commits[0]()
        running = [self._committing.submit(commit) for commit in commits]
        wait(running)
        return sum([one.result() for one in running])
