"""The task of this worker: made on assignment, ended on revocation, never carried from one to the other."""

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
    REGISTRY_WAITING,
    TRANSACTIONS,
    forget_partitions,
)
from stream_app.worker.membership import Membership
from stream_app.worker.outages import UNAVAILABLE, Blocker, OutageTracker
from stream_app.worker.processor import BREAKER, REGISTRY
from stream_app.worker.stream_task import StreamTask
from stream_app.worker.subtask import InputProgress
from stream_app.worker.transaction_writer import CALL_TIMEOUT
from stream_app.worker.transport import Batch, BatchConsumer

log = get_logger(__name__)

STOP_SECONDS = 3.0  # that the task has to commit and end
SEEK_SECONDS = 10.0
HUNG_SECONDS = (
    3 * CALL_TIMEOUT
)  # after which a call of librdkafka with a time-out does not return, if brokers answer
WATCH_SECONDS = 0.5
FIRST_DELAY = 0.5  # seconds before a task is made anew; doubled each time it fails again soon
LONGEST_DELAY = 8.0
HEALTHY_SECONDS = 60.0  # after which a task counts as well again

PASSING = (FencedError, KafkaUnavailableError, TopicsError)
"""Errors of a task that another one in its place may not have."""

MakeTask = Callable[
    [
        list[InputPartition],
        Membership,
        "ConsumerFlow",
        Callable[[StreamTask, BaseException], None],
        bool,
    ],
    StreamTask,
]


class ConsumerFlow:
    """The fetching side as the task sees it, callable from its thread."""

    def __init__(self, consumer: BatchConsumer, loop: asyncio.AbstractEventLoop) -> None:
        self.closed = False  # set on the loop when the assignment is over
        self._consumer = consumer
        self._loop = loop

    def start_at(self, source: InputPartition, offset: int) -> int:
        """Seek and open the partition for fetching; returns the epoch."""
        return asyncio.run_coroutine_threadsafe(
            self._start_at(TP(*source), offset), self._loop
        ).result(SEEK_SECONDS)

    async def _start_at(self, partition: TP, offset: int) -> int:
        if self.closed:
            raise FencedError(
                "the assignment is over", "Nothing to do: the partition's new owner goes on"
            )
        return await self._consumer.start_at(partition, offset)

    def hold(self, source: InputPartition) -> None:
        self._consumer.hold(TP(*source))

    def release(self, source: InputPartition) -> None:
        self._consumer.release(TP(*source))

    def at_end(self, source: InputPartition) -> tuple[int, int] | None:
        cursor = self._consumer.cursors.get(TP(*source))
        return None if cursor is None else cursor.at_end

    def confirmed(self) -> float:
        """When the broker has last confirmed that this worker is a member of the group (monotonic)."""
        confirmed: float = self._consumer.confirmed()
        return confirmed

    def lag(self, source: InputPartition, progress: InputProgress) -> int | None:
        """Records from there to the partition's end as it was last fetched; None before that."""
        cursor = self._consumer.cursors.get(TP(*source))
        if cursor is None or cursor.end is None:
            return None
        return 0 if cursor.at_end == progress.batches else max(0, cursor.end - progress.next)


class TaskFailure(NamedTuple):
    """A task that has failed and is to be made anew, None once it has been: when, how often in a row, and why."""

    task: StreamTask | None  # with all its state, which must not stay beside the next one's
    at: float
    times: int
    trouble: Blocker

    @property
    def due(self) -> float:
        """When to make it anew (monotonic)."""
        return self.at + min(FIRST_DELAY * 2.0**self.times, LONGEST_DELAY)


class AssignmentManager:
    """The task of the present assignment.

    A task that Kafka let down is made anew as long as the assignment lasts, once the broker has confirmed that: it
    settles what was open and goes on at what was committed, like one in another process.
    `fatal` is called with the error when the process cannot go on; `session` is the time-out of the group, in seconds.
    """

    def __init__(
        self,
        role: str,
        make_task: MakeTask,
        fatal: Callable[[BaseException], None],
        pauses: OutageTracker,
        session: float,
    ) -> None:
        self._role = role
        self._make_task = make_task
        self._fatal = fatal
        self._task: StreamTask | None = None
        self._flow: ConsumerFlow | None = None
        self._membership: Membership | None = None
        self._failure: TaskFailure | None = None  # the last, if it was not long ago
        self._pauses = pauses
        self._session = session
        self._away = float("-inf")  # when the broker last seemed to be away
        for result in ("committed", "aborted", "fenced"):
            TRANSACTIONS.labels(role, result)  # from 0 on, or the first would be no increase

    def unready(self) -> list[str]:
        """What this worker still waits for."""
        task = self._task
        restoring = 0 if task is None or task.ready.is_set() else len(task.parts)
        waiting = self._waiting()
        del waiting[BREAKER]  # which is no trouble of this worker
        return [
            *self._pauses.unready(),
            *([f"{restoring} partitions are restoring their state"] if restoring else []),
            *[f"{count} partitions wait for {what}" for what, count in waiting.items()],
        ]

    def _waiting(self) -> Counter[str]:
        """How many inputs stand still, by what they wait for."""
        return Counter(self._task.waiting() if self._task is not None else ())

    def assign(self, consumer: BatchConsumer, partitions: Iterable[TP]) -> None:
        """Make a task for these partitions."""
        membership = self._membership = consumer.membership()
        self._flow = ConsumerFlow(consumer, asyncio.get_running_loop())
        self._failure = None
        inputs = [InputPartition(tp.topic, tp.partition) for tp in sorted(partitions)]
        if inputs:
            self._start(inputs)
        numbers = [part.number for part in self._task.parts] if self._task is not None else []
        ASSIGNED.labels(self._role).set(len(numbers))
        log.info("assigned", partitions=numbers, generation=membership.generation)

    def _start(self, inputs: list[InputPartition]) -> None:
        if self._flow is not None and self._membership is not None:
            careful = self._failure is not None
            self._task = self._make_task(
                inputs, self._membership, self._flow, self._failed_soon(), careful
            )
            self._task.start()

    def deliver(self, tp: TP, batch: Batch) -> None:
        """Hand a batch to the task; one that comes when there is none any more is dropped."""
        if self._task is not None:
            self._task.deliver(InputPartition(tp.topic, tp.partition), batch)

    async def watch(self) -> None:
        """Show the lag, make a failed task anew, and note when it cannot go on.

        Ends the process when a call of librdkafka does not return although the brokers answer.
        """
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self._renew()
            self._pauses.observe(self._trouble(), self._settled())
            self._show_lag()
            REGISTRY_WAITING.set(self._waiting()[REGISTRY])
            if self._hangs():
                reason = f"librdkafka has not answered for {HUNG_SECONDS:.0f} s"
                self._fatal(
                    KafkaUnavailableError(reason, "Check that the brokers are up and reachable")
                )

    async def revoke(self, consumer: BatchConsumer) -> None:
        """Commit what has been processed, then own nothing."""
        if self._flow is not None:
            self._flow.closed = True
        consumer.close_partitions()
        task, self._task = self._task, None
        if task is not None:
            task.stop()
            await asyncio.get_running_loop().run_in_executor(None, task.join, STOP_SECONDS)
        ASSIGNED.labels(self._role).set(0)
        forget_partitions()

    def _show_lag(self) -> None:
        for source, progress in self._task.progress().items() if self._task is not None else ():
            lag = self._flow.lag(source, progress) if self._flow else None
            if lag is not None:
                labels = source.topic, str(source.partition)
                LAG.labels(*labels).set(lag)
                LAG_SECONDS.labels(*labels).set(progress.age if lag else 0)

    def _renew(self) -> None:
        """Make a failed task anew, unless others may own its partitions by now; forget a failure of long ago."""
        now, failure = monotonic(), self._failure
        confirmed = (
            self._flow.confirmed()
            if self._flow is not None and not self._flow.closed
            else float("-inf")
        )
        if failure is None:
            return
        if failure.task is None:
            if now > failure.at + HEALTHY_SECONDS:
                self._failure = None
        elif now > failure.due and confirmed > failure.at:
            self._start(failure.task.inputs)
            self._failure = failure._replace(task=None)

    def _trouble(self) -> Blocker | None:
        """What keeps the task from going on, for the longest time first."""
        task, failure = self._task, self._failure
        failed = (
            [failure.trouble] if failure is not None and failure.task is task is not None else []
        )
        met = task.trouble() if task is not None else None
        found = [*failed, *([met] if met is not None else []), *self._silence()]
        return min(found, key=lambda trouble: trouble.since, default=None)

    def _silence(self) -> list[Blocker]:
        """A broker that has not confirmed us for longer than one rebalance takes."""
        confirmed = self._flow.confirmed() if self._flow is not None else float("inf")
        silent = monotonic() - confirmed > 2 * self._session
        return (
            [Blocker(UNAVAILABLE, "Kafka does not answer the group's heartbeats", confirmed)]
            if silent
            else []
        )

    def _hangs(self) -> bool:
        """Whether a call of librdkafka is not going to return; in an outage, its time-outs often do not hold."""
        now = monotonic()
        if self._flow is not None and now - self._flow.confirmed() > self._session / 2:
            self._away = now
        return (
            self._task is not None
            and min(self._task.calling_for(), now - self._away) > HUNG_SECONDS
        )

    def _settled(self) -> bool:
        """Whether this worker has its partitions, and works on them."""
        ready = self._task is None or self._task.ready.is_set()
        return self._flow is not None and not self._flow.closed and ready

    def _failed_soon(self) -> Callable[[StreamTask, BaseException], None]:
        loop = asyncio.get_running_loop()

        def failed(task: StreamTask, error: BaseException) -> None:
            loop.call_soon_threadsafe(self._failed, task, error)

        return failed

    def _failed(self, task: StreamTask, error: BaseException) -> None:
        """A task ended by an error; what it did not commit is redone by the next owner."""
        if task is not self._task:
            log.info("a task of an earlier assignment ended", why=str(error))
        elif isinstance(error, PASSING):
            self._note_failure(task, error)
        else:
            self._fatal(error)

    def _note_failure(self, task: StreamTask, error: StreamAppError) -> None:
        if isinstance(error, FencedError):
            TRANSACTIONS.labels(self._role, "fenced").inc()
        trouble = task.trouble()
        now, times = monotonic(), self._failure.times + 1 if self._failure is not None else 0
        since = trouble.since if trouble is not None else now
        self._failure = TaskFailure(task, now, times, Blocker.of(error, since))
        for source in task.inputs:
            if self._flow is not None:
                self._flow.hold(source)
        log.warning("the task failed, and is made anew", why=str(error))


def exit_code(error: BaseException) -> int:
    """What the process ends with."""
    return error.exit_code if isinstance(error, StreamAppError) else 70
