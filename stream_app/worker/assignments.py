"""Assignments of a worker: a task is created on assignment and ended on revocation."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from time import monotonic
from typing import NamedTuple

from faust.types import TP

from stream_app.errors import FencedError, KafkaUnavailableError, StreamAppError, TopicsError
from stream_app.records import InputPartition
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import (
    ASSIGNED,
    LAG,
    LAG_SECONDS,
    TRANSACTIONS,
    WAITING_PARTITIONS,
    clear_partition_metrics,
)
from stream_app.worker.faust_transport import BatchConsumer
from stream_app.worker.outages import UNAVAILABLE, Blocker, OutageTracker
from stream_app.worker.processor import WaitReason
from stream_app.worker.stream_task import Assignment, StreamTask
from stream_app.worker.subtask import Batch, InputProgress, assignment_ended
from stream_app.worker.transaction_writer import CALL_TIMEOUT, Membership

log = get_logger(__name__)

# Time for a revoked task to commit and end.
STOP_SECONDS = 3.0
SEEK_SECONDS = 10.0
# A call of librdkafka that takes longer hangs, if the brokers respond.
HUNG_SECONDS = 3 * CALL_TIMEOUT
# Each hung call costs a thread and a producer, so the process ends after this number of them.
MAX_HUNG_CALLS = 5
SUPERVISE_SECONDS = 0.5
# Delay before a failed task is replaced; doubled for each failure within HEALTHY_SECONDS.
FIRST_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 8.0
HEALTHY_SECONDS = 60.0

RETRIABLE_ERRORS = (FencedError, KafkaUnavailableError, TopicsError)
"""Errors of a task that another task in its place may not have."""

MakeTask = Callable[[Assignment], StreamTask]


class ConsumerFetchControl:
    """Control of a consumer's fetching from the thread of a task.

    Attributes:
        closed: set on the event loop once the assignment has ended.
    """

    def __init__(self, consumer: BatchConsumer, loop: asyncio.AbstractEventLoop) -> None:
        self.closed = False
        self._consumer = consumer
        self._loop = loop

    def start_at(self, source: InputPartition, offset: int) -> int:
        """Fetch an input from an offset; returns the assignment id of its batches."""
        return asyncio.run_coroutine_threadsafe(
            self._start_at(TP(*source), offset), self._loop
        ).result(SEEK_SECONDS)

    async def _start_at(self, partition: TP, offset: int) -> int:
        if self.closed:
            raise assignment_ended()
        return await self._consumer.start_at(partition, offset)

    def pause_fetching(self, source: InputPartition) -> None:
        """Fetch nothing of an input until it is resumed."""
        self._consumer.pause_fetching(TP(*source))

    def resume_fetching(self, source: InputPartition) -> None:
        """Continue to fetch an input."""
        self._consumer.resume_fetching(TP(*source))

    def at_end(self, source: InputPartition) -> tuple[int, int] | None:
        """Return assignment id and number of batches if the log is fetched to its stable end."""
        cursor = self._consumer.cursors.get(TP(*source))
        return None if cursor is None else cursor.at_end

    def stable_end(self, source: InputPartition) -> int | None:
        """Return the stable end of the log when it was last fetched, None before."""
        cursor = self._consumer.cursors.get(TP(*source))
        return None if cursor is None else cursor.end

    def may_have_more(self, source: InputPartition) -> bool:
        """Return True if records may follow the stable end of the log."""
        cursor = self._consumer.cursors.get(TP(*source))
        return cursor is None or cursor.may_have_more

    def confirmed_at(self) -> float:
        """Return the monotonic time of the broker's last confirmation of membership."""
        confirmed_at: float = self._consumer.confirmed_at()
        return confirmed_at

    def lag(self, source: InputPartition, progress: InputProgress) -> int | None:
        """Return the number of records up to the fetched end, None before the first fetch."""
        cursor = self._consumer.cursors.get(TP(*source))
        if cursor is None or cursor.end is None:
            return None
        return 0 if cursor.at_end == progress.batches else max(0, cursor.end - progress.next)


class TaskFailure(NamedTuple):
    """Last failure of a task.

    Attributes:
        task: the failed task, None once it is replaced. Two tasks' states do not fit in memory.
        at: monotonic seconds.
        times: number of failures before, without a healthy time in between.
    """

    task: StreamTask | None
    at: float
    times: int
    blocker: Blocker

    @property
    def due(self) -> float:
        """Monotonic seconds at which to replace the task."""
        return self.at + min(FIRST_DELAY_SECONDS * 2.0**self.times, MAX_DELAY_SECONDS)


class AssignmentManager:
    """Manager of the task of the present assignment.

    A task that failed because of Kafka is replaced as long as the assignment lasts, once the broker
    has confirmed that it does. The new task ends the open transactions and continues at the
    committed offsets, like one in another process.

    Args:
        fatal: called with an error after which the process cannot continue.
        session_seconds: session timeout of the group.
        tolerates: returns True for further errors that another task may not have; may block.
    """

    def __init__(
        self,
        role: str,
        make_task: MakeTask,
        fatal: Callable[[BaseException], None],
        outages: OutageTracker,
        session_seconds: float,
        tolerates: Callable[[BaseException], bool] = lambda _: False,
    ) -> None:
        self._role = role
        self._tolerates = tolerates
        self._make_task = make_task
        self._fatal = fatal
        self._task: StreamTask | None = None
        self._fetch: ConsumerFetchControl | None = None
        self._membership: Membership | None = None
        self._failure: TaskFailure | None = None
        self._outages = outages
        self._session_seconds = session_seconds
        self._hung_calls = 0
        # Monotonic seconds at which the broker last seemed to be unavailable.
        self._unavailable_at = float("-inf")
        # Exported from 0 on, because the first value of a counter is not an increase.
        for result in ("committed", "aborted", "fenced"):
            TRANSACTIONS.labels(role, result)

    def blockers(self) -> list[str]:
        """Return the reasons why the worker is not ready, empty if it is."""
        task = self._task
        restoring = 0 if task is None or task.ready.is_set() else len(task.subtasks)
        # An open circuit breaker, a back-fill or a stopped scorer does not make the worker unready.
        waiting = self._waiting()
        for reason in (WaitReason.CIRCUIT_BREAKER, WaitReason.ALIGNMENT, WaitReason.WATERMARK):
            del waiting[reason]
        return [
            *self._outages.blockers(),
            *([f"{restoring} partitions are restoring their state"] if restoring else []),
            *[f"{n} partitions wait for {reason.description}" for reason, n in waiting.items()],
        ]

    def _waiting(self) -> Counter[WaitReason]:
        """Return the number of waiting inputs by reason."""
        return Counter(self._task.waiting() if self._task is not None else ())

    def assign(self, consumer: BatchConsumer, partitions: Iterable[TP]) -> None:
        """Create a task for newly assigned partitions."""
        membership = self._membership = consumer.membership()
        self._fetch = ConsumerFetchControl(consumer, asyncio.get_running_loop())
        self._failure = None
        inputs = [InputPartition(tp.topic, tp.partition) for tp in sorted(partitions)]
        if inputs:
            self._start(inputs)
        subtasks = self._task.subtasks if self._task is not None else []
        ASSIGNED.labels(self._role).set(len(subtasks))
        numbers = [subtask.number for subtask in subtasks]
        log.info("assigned", partitions=numbers, generation=membership.generation)

    def _start(self, inputs: list[InputPartition]) -> None:
        if self._fetch is not None and self._membership is not None:
            careful = self._failure is not None
            self._task = self._make_task(
                Assignment(inputs, self._membership, self._fetch, self._failure_handler(), careful)
            )
            self._task.start()

    def deliver(self, tp: TP, batch: Batch) -> None:
        """Pass a batch to the task; without a task the batch is dropped."""
        if self._task is not None:
            self._task.deliver(InputPartition(tp.topic, tp.partition), batch)

    async def supervise(self) -> None:
        """Export metrics, replace a failed or hung task, and track outages, until cancelled."""
        while True:
            await asyncio.sleep(SUPERVISE_SECONDS)
            self._replace_failed()
            self._outages.update(self._blocker(), self._is_stable())
            self._export_lag()
            waiting = self._waiting()
            for reason in WaitReason:
                WAITING_PARTITIONS.labels(reason).set(waiting[reason])
            if self._hangs():
                self._abandon_task()

    async def revoke(self, consumer: BatchConsumer) -> None:
        """Commit processed records, then end the task."""
        if self._fetch is not None:
            self._fetch.closed = True
        consumer.close_partitions()
        task, self._task = self._task, None
        if task is not None:
            task.stop()
            await asyncio.get_running_loop().run_in_executor(None, task.join, STOP_SECONDS)
            if task.is_alive():
                task.abandon()
        ASSIGNED.labels(self._role).set(0)
        clear_partition_metrics()

    def _export_lag(self) -> None:
        for source, progress in self._task.progress().items() if self._task is not None else ():
            lag = self._fetch.lag(source, progress) if self._fetch else None
            if lag is not None:
                labels = source.topic, str(source.partition)
                LAG.labels(*labels).set(lag)
                LAG_SECONDS.labels(*labels).set(progress.age if lag else 0)

    def _replace_failed(self) -> None:
        """Replace a failed task unless its partitions may have another owner by now.

        Forgets a failure once the new task is healthy.
        """
        now, failure = monotonic(), self._failure
        confirmed_at = (
            self._fetch.confirmed_at()
            if self._fetch is not None and not self._fetch.closed
            else float("-inf")
        )
        if failure is None:
            return
        if failure.task is None:
            if now > failure.at + HEALTHY_SECONDS:
                self._failure = None
        elif now > failure.due and confirmed_at > failure.at:
            self._start(failure.task.inputs)
            self._failure = failure._replace(task=None)

    def _blocker(self) -> Blocker | None:
        """Return the longest lasting reason why the task cannot continue, or None."""
        task, failure = self._task, self._failure
        found = [task.blocker() if task is not None else None, self._silence()]
        if failure is not None and failure.task is task is not None:
            found.insert(0, failure.blocker)
        present = [blocker for blocker in found if blocker is not None]
        return min(present, key=lambda blocker: blocker.since, default=None)

    def _silence(self) -> Blocker | None:
        """Return a blocker if no broker confirmed the membership for longer than a rebalance."""
        confirmed_at = self._fetch.confirmed_at() if self._fetch is not None else float("inf")
        if monotonic() - confirmed_at <= 2 * self._session_seconds:
            return None
        return Blocker(UNAVAILABLE, "Kafka does not answer the group's heartbeats", confirmed_at)

    def _abandon_task(self) -> None:
        """Abandon a task in a call that does not return; the next one takes its place.

        The call may be a commit that the broker has done. So nothing in memory counts: the next
        task fences this one and reads offsets and state again.
        """
        error = KafkaUnavailableError(
            f"librdkafka did not respond for {HUNG_SECONDS:.0f} s",
            "Check that the brokers are up and reachable",
        )
        self._hung_calls += 1
        if self._task is None or self._hung_calls > MAX_HUNG_CALLS:
            self._fatal(error)
        else:
            self._task.abandon()
            self._record_failure(self._task, error)

    def _hangs(self) -> bool:
        """Return True if a call of librdkafka will not return, and its task is not abandoned yet.

        Time without a broker does not count: then its timeouts often do not apply.
        """
        now = monotonic()
        if self._fetch is not None and now - self._fetch.confirmed_at() > self._session_seconds / 2:
            self._unavailable_at = now
        return (
            self._task is not None
            and not self._has_failed(self._task)
            and min(self._task.call_seconds(), now - self._unavailable_at) > HUNG_SECONDS
        )

    def _has_failed(self, task: StreamTask) -> bool:
        return self._failure is not None and self._failure.task is task

    def _is_stable(self) -> bool:
        """Return True if the worker has its partitions and processes them."""
        ready = self._task is None or self._task.ready.is_set()
        return self._fetch is not None and not self._fetch.closed and ready

    def _failure_handler(self) -> Callable[[StreamTask, BaseException], None]:
        loop = asyncio.get_running_loop()

        def failed(task: StreamTask, error: BaseException) -> None:
            is_temporary = isinstance(error, RETRIABLE_ERRORS) or self._tolerates(error)
            loop.call_soon_threadsafe(self._failed, task, error, is_temporary)

        return failed

    def _failed(self, task: StreamTask, error: BaseException, is_temporary: bool) -> None:
        """Handle the error of a task; the next owner repeats what it did not commit."""
        if task is not self._task or self._has_failed(task):
            log.info("a task that was replaced ended", why=str(error))
        elif is_temporary and isinstance(error, StreamAppError):
            self._record_failure(task, error)
        else:
            self._fatal(error)

    def _record_failure(self, task: StreamTask, error: StreamAppError) -> None:
        if isinstance(error, FencedError):
            TRANSACTIONS.labels(self._role, "fenced").inc()
        blocker = task.blocker()
        now, times = monotonic(), self._failure.times + 1 if self._failure is not None else 0
        since = blocker.since if blocker is not None else now
        self._failure = TaskFailure(task, now, times, Blocker.of(error, since))
        for source in task.inputs:
            if self._fetch is not None:
                self._fetch.pause_fetching(source)
        log.warning("task failed, it will be replaced", why=str(error))
