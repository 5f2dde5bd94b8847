"""A worker replaces tasks in hung calls up to a limit, and then ends."""

import asyncio
from collections.abc import Mapping
from threading import Event
from time import monotonic
from typing import cast

import pytest
from faust.types import TP

from stream_app.errors import KafkaUnavailableError
from stream_app.records import InputPartition
from stream_app.worker import assignments as module
from stream_app.worker.assignments import HUNG_SECONDS, MAX_HUNG_CALLS, AssignmentManager
from stream_app.worker.faust_transport import BatchConsumer
from stream_app.worker.outages import OutageTracker
from stream_app.worker.stream_task import Assignment, StreamTask
from stream_app.worker.transaction_writer import Membership


class RespondingBroker:
    """Consumer whose membership the broker always confirms; each confirmation takes 0.5 s."""

    cursors: Mapping[TP, object] = {}

    def __init__(self) -> None:
        self.now = monotonic()

    def clock(self) -> float:
        return self.now

    def confirmed_at(self) -> float:
        self.now += 0.5
        return self.now

    def membership(self) -> Membership:
        return Membership("group", 1, "member", None)

    def pause_fetching(self, partition: TP) -> None: ...


class HungTask:
    """Task in a call of librdkafka that does not return."""

    subtasks: tuple[object, ...] = ()

    def __init__(self, assignment: Assignment, seconds: float) -> None:
        self.inputs = assignment.inputs
        self.is_abandoned = False
        self.ready = Event()
        self._seconds = seconds

    def start(self) -> None: ...

    def abandon(self) -> None:
        self.is_abandoned = True

    def call_seconds(self) -> float:
        return self._seconds

    def blocker(self) -> None: ...

    def waiting(self) -> list[object]:
        return []

    def progress(self) -> dict[InputPartition, object]:
        return {}


async def supervise(broker: RespondingBroker, seconds: float) -> tuple[list[HungTask], list[str]]:
    """Returns the tasks of the first 200 simulated seconds, and the fatal errors."""
    tasks: list[HungTask] = []
    errors: list[str] = []

    def make_task(assignment: Assignment) -> StreamTask:
        tasks.append(HungTask(assignment, seconds))
        return cast(StreamTask, tasks[-1])

    def fatal(error: BaseException) -> None:
        assert isinstance(error, KafkaUnavailableError)
        errors.append(str(error))

    manager = AssignmentManager("score", make_task, fatal, OutageTracker(), session_seconds=6)
    manager.assign(cast(BatchConsumer, broker), [TP("topic", 0)])
    supervision = asyncio.create_task(manager.supervise())
    end = broker.now + 200
    while broker.now < end and not errors:
        await asyncio.sleep(0)
    supervision.cancel()
    return tasks, errors


@pytest.fixture
def responding(monkeypatch: pytest.MonkeyPatch) -> RespondingBroker:
    broker = RespondingBroker()
    monkeypatch.setattr(module, "monotonic", broker.clock)
    monkeypatch.setattr(module, "SUPERVISE_SECONDS", 0)
    return broker


def test_five_tasks_in_hung_calls_are_replaced_and_the_sixth_ends_the_worker(
    responding: RespondingBroker,
) -> None:
    tasks, errors = asyncio.run(supervise(responding, HUNG_SECONDS + 1))
    assert [task.is_abandoned for task in tasks] == [True] * MAX_HUNG_CALLS + [False]
    assert errors == [
        "librdkafka did not respond for 15 s. Check that the brokers are up and reachable"
    ]
    assert MAX_HUNG_CALLS == 5


def test_a_long_call_that_may_return_replaces_no_task(responding: RespondingBroker) -> None:
    tasks, errors = asyncio.run(supervise(responding, HUNG_SECONDS - 1))
    assert [task.is_abandoned for task in tasks] == [False]
    assert errors == []
