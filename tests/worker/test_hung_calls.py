"""A call of librdkafka that does not return ends the task, and its successor continues."""

import time
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from stream_app.broker import EmbeddedBroker
from stream_app.errors import FencedError
from stream_app.records import InputPartition
from stream_app.worker.subtask import Subtask
from stream_app.worker.transaction_writer import TransactionWriter
from tests.patience import PATIENCE
from tests.worker.test_stream_task import Copier, TaskRunner


class HangingWriter(TransactionWriter):
    """Writer whose first call of one kind does its work, and returns only once it is released."""

    def __init__(self, call: str, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._call = call
        self.done = Event()
        self.released = Event()

    def _hang(self, call: str) -> None:
        if call == self._call and not self.done.is_set():
            self.done.set()
            assert self.released.wait(60 * PATIENCE)

    def _send_offsets(self, offsets: list[TopicPartition], metadata: bytes) -> None:
        super()._send_offsets(offsets, metadata)
        self._hang("offsets")

    def _commit_transaction(self) -> None:
        super()._commit_transaction()
        self._hang("commit")


class HangingRunner(TaskRunner):
    """Runs a first task whose writer hangs, then tasks with ordinary writers."""

    def __init__(self, servers: str, records: int, call: str) -> None:
        super().__init__(servers, records)
        self.hanging: HangingWriter | None = None
        self._call = call

    def writer(self, partition: int) -> TransactionWriter:
        if self.hanging is not None:
            return super().writer(partition)
        self.hanging = HangingWriter(
            self._call,
            self.config,
            f"{self.name}-{partition}",
            lambda kind: f"{self.name}.{kind}",
            ["scored"],
        )
        return self.hanging


@pytest.mark.parametrize(("call", "committed"), [("offsets", 0), ("commit", 10)])
def test_the_next_task_continues_where_the_broker_is_and_not_where_the_hung_one_was(
    broker: EmbeddedBroker, call: str, committed: int
) -> None:
    runner = HangingRunner(broker.bootstrap_servers, 20, call)
    hung, hung_fetch = runner.task()
    writer = runner.hanging
    assert writer is not None
    runner.deliver(hung, hung_fetch, 0, 10)
    assert writer.done.wait(20 * PATIENCE)
    until(lambda: hung.call_seconds() > 0.1)
    hung.abandon()
    own, runner.copiers = runner.copiers[0], [Copier()]
    following, fetch = runner.task()
    assert fetch.started == [committed]
    runner.deliver(following, fetch, committed, 20)
    runner.until_outputs(20)
    assert runner.outputs() == list(range(20))
    # At last the call returns: too late.
    writer.released.set()
    assert runner.failed.wait(20 * PATIENCE)
    hung.join(20 * PATIENCE)
    assert isinstance(runner.error, FencedError)
    assert own.committed == 0
    assert runner.outputs() == list(range(20))
    following.stop()


def test_an_abandoned_task_frees_its_state() -> None:
    subtask = Subtask(0, [InputPartition("in", 0)], Copier())
    subtask.release()
    with pytest.raises(FencedError):
        _ = subtask.processor


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20 * PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
