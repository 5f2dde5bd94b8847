"""Subtasks that share a task and its transactions are not delayed by a slow one."""

import time
from collections.abc import Callable, Collection, Mapping
from threading import Event

import pytest

from stream_app.errors import FencedError
from stream_app.kafka.retrying_reader import CommittedOffset, RetryingReader
from stream_app.records import InputPartition, Output, Record
from stream_app.settings import WorkerSettings
from stream_app.worker.stream_task import RESTORE_THREADS, Assignment, StreamTask
from stream_app.worker.subtask import Batch, Subtask
from stream_app.worker.transaction_writer import Membership, TransactionWriter
from tests.patience import PATIENCE
from tests.worker.test_stream_task import Copier, FakeFetchControl


class FakeBroker:
    """Committed offsets and outputs, and the number of transactions lost by their timeout.

    Args:
        timeout: seconds that a transaction may be open.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.committed: dict[InputPartition, int] = {}
        self.outputs: list[bytes | None] = []
        self.commits = 0
        self.lost = 0
        self.begun = 0
        self.taken_over = 0


class FakeWriter(TransactionWriter):
    """Writer to a fake broker, which rejects a commit that comes too late."""

    def __init__(self, broker: FakeBroker, seconds: float = 0.0) -> None:
        self._broker = broker
        self._seconds = seconds
        self._outputs = []
        self._call_started = None
        self._opened = 0.0
        self.blocker = None
        self.bytes = 0
        self.last_offsets = {}

    def take_over(self) -> None:
        self._broker.begun += 1
        time.sleep(self._seconds)
        self._broker.taken_over += 1

    def close(self) -> None: ...

    def serve(self) -> None: ...

    def send(self) -> None: ...

    def write(self, outputs: list[Output]) -> None:
        self._opened = self._opened or time.monotonic()
        self._outputs += outputs

    def commit(
        self,
        positions: Mapping[InputPartition, int],
        membership: Membership | None,
        metadata: Mapping[InputPartition, str] | None = None,
    ) -> int:
        if time.monotonic() - self._opened > self._broker.timeout:
            self._broker.lost += 1
            raise FencedError("the transaction was open for too long", "Begin again")
        self._broker.committed |= positions
        self._broker.outputs += [output.value for output in self._outputs]
        self._broker.commits += 1
        self._outputs, self._opened = [], 0.0
        return 0


class FakeReader(RetryingReader):
    """Reader of a fake broker."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker

    def committed_metadata(
        self, inputs: list[InputPartition]
    ) -> dict[InputPartition, CommittedOffset]:
        offsets = self._broker.committed
        return {source: CommittedOffset(offsets.get(source, 0), "") for source in inputs}

    def ends(self, source: InputPartition) -> tuple[int, int]:
        return 0, 10_000


class SlowCopier(Copier):
    """Copier that is slow with records from `first` on, when it restores, or when it is idle."""

    def __init__(
        self, first: int = 0, seconds: float = 0.0, restoring: float = 0.0, idling: float = 0.0
    ) -> None:
        super().__init__()
        self.first = first
        self.seconds = seconds
        self.restoring = restoring
        self.idling = idling
        self.begun = False
        self.restored = False

    def restore(self, committed: Mapping[InputPartition, int]) -> Mapping[InputPartition, int]:
        self.begun = True
        time.sleep(self.restoring)
        self.restored = True
        return committed

    def process(self, source: InputPartition, records: object, now: int) -> list[Output]:
        assert isinstance(records, list)
        time.sleep(self.seconds * sum(record.offset >= self.first for record in records))
        return [Output("scored", 0, None, b"%d" % record.offset) for record in records]

    def look(self, now: int, ended: Collection[InputPartition]) -> None:
        pass

    def idle(self, now: int, at_end: bool) -> list[Output]:
        if not self.idling:
            return []
        time.sleep(self.idling)
        self.idling = 0.0
        return [Output("scored", 0, None, b"idle")]


class FakeWorker:
    """Starts tasks on a fake broker; a test replaces a failed task, as the manager does."""

    def __init__(self, *slow: SlowCopier, taking: float = 0.0, timeout: float = 0.3) -> None:
        self.broker = FakeBroker(timeout)
        self.slow = slow
        self.sources = [InputPartition("in", number) for number in range(len(slow))]
        self.taking = taking
        self.failed = Event()

    def start(self, *, ready: bool = True) -> tuple[StreamTask, FakeFetchControl]:
        fetch, broker = FakeFetchControl(), self.broker
        self.failed.clear()
        task = StreamTask(
            "copy",
            [
                Subtask(source.partition, [source], slow)
                for source, slow in zip(self.sources, self.slow, strict=True)
            ],
            [FakeWriter(broker, self.taking) for _ in self.sources],
            FakeReader(broker),
            Assignment(
                self.sources,
                Membership("copy", 1, "member", "0"),
                fetch,
                lambda task, error: self.failed.set(),
                careful=broker.lost > 0,
            ),
            WorkerSettings(),
        )
        task.start()
        assert not ready or task.ready.wait(10 * PATIENCE)
        return task, fetch

    def deliver(self, task: StreamTask, fetch: FakeFetchControl, number: int, end: int) -> None:
        """Deliver the records of an input from its committed offset on."""
        source, now = self.sources[number], int(time.time() * 1000)
        offsets = range(self.broker.committed.get(source, 0), end)
        records = [Record(*source, offset, now, None, None) for offset in offsets]
        task.deliver(source, Batch(fetch.assignment_ids[source], 0, list(records)))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20 * PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("fast", [90, 130, 200])
def test_records_that_become_slow_are_committed_after_few_lost_transactions(
    fast: int,
) -> None:
    worker = FakeWorker(SlowCopier(fast, 0.006))
    while worker.broker.committed.get(worker.sources[0], 0) < 300:
        task, fetch = worker.start()
        worker.deliver(task, fetch, 0, 300)
        until(
            lambda: worker.failed.is_set() or worker.broker.committed.get(worker.sources[0]) == 300
        )
        task.stop()
        task.join(5 * PATIENCE)
        assert worker.broker.lost < 5
    assert worker.broker.outputs == [b"%d" % offset for offset in range(300)]


def test_a_slow_input_gets_smaller_chunks_than_a_fast_one() -> None:
    worker = FakeWorker(SlowCopier(), SlowCopier(0, 0.05), timeout=2.0)
    task, fetch = worker.start()
    worker.deliver(task, fetch, 0, 1000)
    worker.deliver(task, fetch, 1, 30)
    until(lambda: worker.broker.committed == {worker.sources[0]: 1000, worker.sources[1]: 30})
    assert worker.broker.lost == 0
    task.stop()


def test_other_inputs_do_not_wait_for_a_slow_batch() -> None:
    worker = FakeWorker(SlowCopier(0, 0.1), SlowCopier(), timeout=2.0)
    task, fetch = worker.start()
    worker.deliver(task, fetch, 0, 100)
    worker.deliver(task, fetch, 1, 50)
    until(lambda: worker.broker.committed.get(worker.sources[1]) == 50)
    assert 0 < worker.broker.committed[worker.sources[0]] < 60
    # The slow input only waits for its time slices.
    assert task.waiting() == []
    task.stop()


def test_stopping_ends_a_slow_batch_and_commits_its_processed_records() -> None:
    worker = FakeWorker(SlowCopier(0, 0.1))
    task, fetch = worker.start()
    worker.deliver(task, fetch, 0, 100)
    until(lambda: worker.broker.commits > 0)
    task.stop()
    task.join(1 * PATIENCE)
    assert not task.is_alive()
    assert not worker.failed.is_set()
    assert 0 < worker.broker.committed[worker.sources[0]] == len(worker.broker.outputs) < 15


def test_no_transaction_stays_open_during_slow_idle_work_of_several_subtasks() -> None:
    worker = FakeWorker(*[SlowCopier(idling=0.1) for _ in range(5)])
    task, _ = worker.start()
    until(lambda: len(worker.broker.outputs) == 5 or worker.failed.is_set())
    assert (worker.broker.lost, worker.broker.commits) == (0, 5)
    task.stop()


def test_fast_idle_work_of_several_subtasks_shares_a_transaction() -> None:
    worker = FakeWorker(*[SlowCopier(idling=0.0005) for _ in range(5)])
    task, _ = worker.start()
    until(lambda: len(worker.broker.outputs) == 5)
    assert worker.broker.commits < 5
    task.stop()


def test_a_task_stopped_at_its_start_fences_and_restores_no_more() -> None:
    count = RESTORE_THREADS + 4
    # Long enough that all threads are at work before the first is done, also on a slow machine.
    restoring = FakeWorker(*[SlowCopier(restoring=1.0) for _ in range(count)])
    taking = FakeWorker(*[SlowCopier() for _ in range(count)], taking=1.0)
    tasks = [worker.start(ready=False)[0] for worker in (restoring, taking)]
    until(lambda: sum(slow.begun for slow in restoring.slow) == RESTORE_THREADS)
    until(lambda: taking.broker.begun == RESTORE_THREADS)
    for task in tasks:
        task.stop()
    for task in tasks:
        task.join(5 * PATIENCE)
    assert sum(slow.restored for slow in restoring.slow) == RESTORE_THREADS
    assert taking.broker.taken_over == RESTORE_THREADS
    assert not any(slow.restored for slow in taking.slow)
