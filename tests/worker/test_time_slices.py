"""Parts that share a task and its transactions do not harm each other when one of them is slow."""

import time
from collections.abc import Callable, Mapping
from threading import Event

import pytest

from stream_app.errors import FencedError
from stream_app.kafka.log_reader import LogReader
from stream_app.records import InputPartition, Output, Record
from stream_app.settings import WorkerSettings
from stream_app.worker.membership import Membership
from stream_app.worker.stream_task import RESTORING, StreamTask
from stream_app.worker.subtask import Subtask
from stream_app.worker.transaction_writer import TransactionWriter
from stream_app.worker.transport import Batch
from tests.worker.test_stream_task import Copier, Feed


class Ledger:
    """What is committed, and how often a transaction has outlasted its time-out and was lost."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout  # seconds that a transaction may be open
        self.committed: dict[InputPartition, int] = {}
        self.outputs: list[bytes | None] = []
        self.commits = 0
        self.lost = 0
        self.taken = 0


class LedgerWriter(TransactionWriter):
    """Writes into a ledger, and like a broker refuses what comes too late."""

    def __init__(self, ledger: Ledger, seconds: float = 0.0) -> None:
        self._ledger = ledger
        self._seconds = seconds
        self._outputs = []
        self._calling = None
        self._opened = 0.0
        self.trouble = None
        self.bytes = 0

    def take_over(self) -> None:
        time.sleep(self._seconds)
        self._ledger.taken += 1

    def close(self) -> None: ...

    def serve(self) -> None: ...

    def write(self, outputs: list[Output]) -> None:
        self._opened = self._opened or time.monotonic()
        self._outputs += outputs

    def commit(self, positions: Mapping[InputPartition, int], membership: Membership | None) -> int:
        if time.monotonic() - self._opened > self._ledger.timeout:
            self._ledger.lost += 1
            raise FencedError("the transaction was open for too long", "Begin again")
        self._ledger.committed |= positions
        self._ledger.outputs += [output.value for output in self._outputs]
        self._ledger.commits += 1
        self._outputs, self._opened = [], 0.0
        return 0


class LedgerReader(LogReader):
    """Reads a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def committed(self, inputs: list[InputPartition]) -> dict[InputPartition, int]:
        return {source: self._ledger.committed.get(source, 0) for source in inputs}

    def ends(self, source: InputPartition) -> tuple[int, int]:
        return 0, 10_000


class Slow(Copier):
    """Records from `first` on take long, and so may restoring and what is done in quiet, which is done once."""

    def __init__(
        self, first: int = 0, seconds: float = 0.0, restoring: float = 0.0, idling: float = 0.0
    ) -> None:
        super().__init__()
        self.first = first
        self.seconds = seconds
        self.restoring = restoring
        self.idling = idling
        self.restored = False

    def restore(self, committed: Mapping[InputPartition, int]) -> Mapping[InputPartition, int]:
        time.sleep(self.restoring)
        self.restored = True
        return committed

    def process(self, source: InputPartition, records: object, now: int) -> list[Output]:
        assert isinstance(records, list)
        time.sleep(self.seconds * sum(record.offset >= self.first for record in records))
        return [Output("scored", 0, None, b"%d" % record.offset) for record in records]

    def idle(self, now: int, at_end: bool) -> list[Output]:
        if not self.idling:
            return []
        time.sleep(self.idling)
        self.idling = 0.0
        return [Output("scored", 0, None, b"idle")]


class Stage:
    """A ledger and the parts that work on it; a task that fails is made anew, as its owner does."""

    def __init__(self, *slow: Slow, taking: float = 0.0, timeout: float = 0.3) -> None:
        self.ledger = Ledger(timeout)
        self.slow = slow
        self.sources = [InputPartition("in", number) for number in range(len(slow))]
        self.taking = taking
        self.failed = Event()

    def start(self, *, ready: bool = True) -> tuple[StreamTask, Feed]:
        feed, ledger = Feed(), self.ledger
        self.failed.clear()
        task = StreamTask(
            "copy",
            [
                Subtask(source.partition, [source], slow)
                for source, slow in zip(self.sources, self.slow, strict=True)
            ],
            LedgerWriter(ledger, self.taking),
            [LedgerWriter(ledger, self.taking) for _ in self.sources[1:]],
            LedgerReader(ledger),
            feed,
            Membership("copy", 1, "member", "0"),
            WorkerSettings(),
            lambda task, error: self.failed.set(),
            careful=ledger.lost > 0,
        )
        task.start()
        assert not ready or task.ready.wait(10)
        return task, feed

    def deliver(self, task: StreamTask, feed: Feed, number: int, end: int) -> None:
        """What there is of an input from where it stands."""
        source, now = self.sources[number], int(time.time() * 1000)
        offsets = range(self.ledger.committed.get(source, 0), end)
        records = [Record(*source, offset, now, None, None) for offset in offsets]
        task.deliver(source, Batch(feed.epochs[source], 0, list(records)))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("fast", [90, 130, 200])
def test_records_that_become_slow_are_passed_although_transactions_are_lost_by_them(
    fast: int,
) -> None:
    stage = Stage(Slow(fast, 0.006))
    while stage.ledger.committed.get(stage.sources[0], 0) < 300:
        task, feed = stage.start()
        stage.deliver(task, feed, 0, 300)
        until(lambda: stage.failed.is_set() or stage.ledger.committed.get(stage.sources[0]) == 300)
        task.stop()
        task.join(5)
        assert stage.ledger.lost < 5
    assert stage.ledger.outputs == [b"%d" % offset for offset in range(300)]


def test_a_slow_input_is_not_taken_by_as_many_records_as_a_fast_one() -> None:
    stage = Stage(Slow(), Slow(0, 0.05), timeout=2.0)
    task, feed = stage.start()
    stage.deliver(task, feed, 0, 1000)
    stage.deliver(task, feed, 1, 30)
    until(lambda: stage.ledger.committed == {stage.sources[0]: 1000, stage.sources[1]: 30})
    assert stage.ledger.lost == 0
    task.stop()


def test_a_slow_batch_does_not_keep_the_other_inputs_waiting() -> None:
    stage = Stage(Slow(0, 0.1), Slow(), timeout=2.0)
    task, feed = stage.start()
    stage.deliver(task, feed, 0, 100)
    stage.deliver(task, feed, 1, 50)
    until(lambda: stage.ledger.committed.get(stage.sources[1]) == 50)
    assert 0 < stage.ledger.committed[stage.sources[0]] < 60
    assert task.waiting() == []  # it has a turn again and again, and waits for nothing
    task.stop()


def test_stopping_ends_a_slow_batch_and_commits_what_was_done_of_it() -> None:
    stage = Stage(Slow(0, 0.1))
    task, feed = stage.start()
    stage.deliver(task, feed, 0, 100)
    until(lambda: stage.ledger.commits > 0)
    task.stop()
    task.join(1)
    assert not task.is_alive()
    assert not stage.failed.is_set()
    assert 0 < stage.ledger.committed[stage.sources[0]] == len(stage.ledger.outputs) < 15


def test_no_transaction_stays_open_while_one_part_after_the_other_takes_long_in_quiet() -> None:
    stage = Stage(*[Slow(idling=0.1) for _ in range(5)])
    task, _ = stage.start()
    until(lambda: len(stage.ledger.outputs) == 5 or stage.failed.is_set())
    assert (stage.ledger.lost, stage.ledger.commits) == (0, 5)
    task.stop()


def test_what_little_parts_do_in_quiet_is_one_transaction() -> None:
    stage = Stage(*[Slow(idling=0.0005) for _ in range(5)])
    task, _ = stage.start()
    until(lambda: len(stage.ledger.outputs) == 5)
    assert stage.ledger.commits < 5
    task.stop()


def test_a_task_that_is_stopped_while_it_begins_takes_and_restores_no_more() -> None:
    count = RESTORING + 4
    restoring = Stage(*[Slow(restoring=0.3) for _ in range(count)])
    taking = Stage(*[Slow() for _ in range(count)], taking=0.3)
    tasks = [stage.start(ready=False)[0] for stage in (restoring, taking)]
    time.sleep(0.1)
    for task in tasks:
        task.stop()
    for task in tasks:
        task.join(5)
    assert sum(slow.restored for slow in restoring.slow) == RESTORING
    assert taking.ledger.taken == RESTORING
    assert not any(slow.restored for slow in taking.slow)
