"""A partition task accepts only what continues its log, and writes all of it or nothing."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from stream_app.broker import EmbeddedBroker
from stream_app.errors import DataLossError, FencedError, KafkaUnavailableError
from stream_app.kafka.log_reader import LogReader
from stream_app.records import InputPartition, Output, Record
from stream_app.settings import WorkerSettings
from stream_app.worker.membership import Membership
from stream_app.worker.outages import Blocker
from stream_app.worker.stream_task import StreamTask
from stream_app.worker.subtask import Subtask
from stream_app.worker.transaction_writer import TransactionWriter
from stream_app.worker.transport import Batch
from tests.running_system import read_topic

NONE = Blocker("", "", 0.0)


class Copier:
    """Copies each record to the output topic; those at `missing` offsets have to wait."""

    def __init__(self) -> None:
        self.missing: set[int] = set()
        self.seconds = 0.0  # that each record takes
        self.parts: list[int] = []  # how many records were processed together
        self.idled = 0
        self.committed = 0

    def restore(self, committed: Mapping[InputPartition, int]) -> Mapping[InputPartition, int]:
        return committed

    @property
    def waiting_for(self) -> str:
        return "its number" if self.missing else ""

    def ready(self, records: Sequence[Record], now: int) -> int:
        return next(
            (n for n, record in enumerate(records) if record.offset in self.missing), len(records)
        )

    def process(self, source: InputPartition, records: Sequence[Record], now: int) -> list[Output]:
        time.sleep(self.seconds * len(records))
        self.parts.append(len(records))
        return [Output("scored", 0, record.key, record.value) for record in records]

    def idle(self, now: int, at_end: bool) -> list[Output]:
        self.idled += at_end
        return []

    def before_commit(self, positions: Mapping[InputPartition, int], now: int) -> list[Output]:
        return []

    def after_commit(self) -> None:
        self.committed += 1


class Feed:
    """Stands for the fetching side: remembers where the task wants to go on."""

    def __init__(self) -> None:
        self.epoch = 0
        self.sequence = 0
        self.epochs: dict[InputPartition, int] = {}
        self.started: list[int] = []
        self.held: set[InputPartition] = set()
        self.end: tuple[int, int] | None = None

    def start_at(self, source: InputPartition, offset: int) -> int:
        self.epoch += 1
        self.sequence = 0
        self.epochs[source] = self.epoch
        self.started.append(offset)
        self.held.discard(source)
        return self.epoch

    def hold(self, source: InputPartition) -> None:
        self.held.add(source)

    def release(self, source: InputPartition) -> None:
        self.held.discard(source)

    def at_end(self, source: InputPartition) -> tuple[int, int] | None:
        return self.end


class Scene:
    """An input and an output topic, and tasks on them."""

    def __init__(self, servers: str, records: int, partitions: int = 1) -> None:
        self.name = f"task-{uuid4().hex[:8]}"
        self.servers = servers
        self.sources = [
            InputPartition(f"{self.name}.in", partition) for partition in range(partitions)
        ]
        self.source = self.sources[0]
        admin = AdminClient({"bootstrap.servers": servers})
        topics = [NewTopic(f"{self.name}.in", partitions, 1), NewTopic(f"{self.name}.scored", 1, 1)]
        for future in admin.create_topics(topics).values():
            future.result(10)
        producer = Producer({"bootstrap.servers": servers})
        for number in range(records):
            producer.produce(self.source.topic, str(number).encode(), partition=0)
        producer.flush(10)
        self.failed = threading.Event()
        self.error: BaseException | None = None
        self.copiers = [Copier() for _ in self.sources]
        self.copier = self.copiers[0]

    def task(self, **settings: Any) -> tuple[StreamTask, Feed]:
        """A started task that is ready, or has failed."""
        task, feed = self.start(**settings)
        while not (task.ready.wait(0.05) or self.failed.is_set()):
            pass
        return task, feed

    def start(self, **settings: Any) -> tuple[StreamTask, Feed]:
        """A started task."""
        feed = Feed()
        self.failed.clear()
        sources = zip(self.sources, self.copiers, strict=True)
        task = StreamTask(
            "copy",
            [Subtask(source.partition, [source], copier) for source, copier in sources],
            self.writer(0),
            [self.writer(source.partition) for source in self.sources[1:]],
            LogReader(self.config, self.name),
            feed,
            Membership(
                self.name, -1, "", None
            ),  # a group without members takes offsets from anybody
            WorkerSettings(**settings),
            self._fail,
        )
        task.start()
        return task, feed

    @property
    def config(self) -> dict[str, Any]:
        return {"bootstrap.servers": self.servers, "log_level": 0}

    def writer(self, partition: int) -> TransactionWriter:
        """As the owner of that partition makes it."""
        return TransactionWriter(
            self.config, f"{self.name}-{partition}", lambda kind: f"{self.name}.{kind}", ["scored"]
        )

    def deliver(self, task: StreamTask, feed: Feed, start: int, end: int) -> None:
        """Hand over a batch as the next one fetched."""
        records = [
            Record(*self.source, offset, 0, None, str(offset).encode())
            for offset in range(start, end)
        ]
        task.deliver(self.source, Batch(feed.epoch, feed.sequence, list(records)))
        feed.sequence += 1

    def outputs(self) -> list[int]:
        return [
            int(message.value() or b"")
            for message in read_topic(self.servers, f"{self.name}.scored")
        ]

    def until_outputs(self, count: int) -> None:
        deadline = time.monotonic() + 20
        while len(self.outputs()) < count:
            assert time.monotonic() < deadline, (self.outputs(), self.error)
            time.sleep(0.05)

    def _fail(self, task: StreamTask, error: BaseException) -> None:
        self.error = error
        self.failed.set()


def test_a_fenced_task_takes_nothing_more_so_that_no_gap_is_committed(
    broker: EmbeddedBroker,
) -> None:
    scene = Scene(broker.bootstrap_servers, 300)
    first, first_feed = scene.task()
    scene.deliver(first, first_feed, 0, 100)
    scene.until_outputs(100)
    second, second_feed = scene.task()
    assert second_feed.started == [100]
    scene.deliver(second, second_feed, 100, 120)
    scene.until_outputs(120)
    scene.deliver(first, first_feed, 100, 200)
    scene.deliver(first, first_feed, 200, 300)
    assert scene.failed.wait(20)
    assert isinstance(scene.error, FencedError)
    third, third_feed = scene.task()
    assert third_feed.started == [120]
    scene.deliver(third, third_feed, 120, 300)
    scene.until_outputs(300)
    assert scene.outputs() == list(range(300))
    second.stop()
    third.stop()


def test_after_a_dropped_batch_the_task_goes_back(broker: EmbeddedBroker) -> None:
    scene = Scene(broker.bootstrap_servers, 30)
    task, feed = scene.task()
    scene.deliver(task, feed, 0, 10)
    feed.sequence += 1  # the transport dropped offsets 10 to 19
    scene.deliver(task, feed, 20, 30)
    scene.until_outputs(10)
    deadline = time.monotonic() + 10
    while feed.started != [0, 10] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert feed.started == [0, 10]
    scene.deliver(task, feed, 10, 30)
    scene.until_outputs(30)
    assert scene.outputs() == list(range(30))
    task.stop()


def test_a_dropped_batch_with_nothing_after_it_is_fetched_again(broker: EmbeddedBroker) -> None:
    scene = Scene(broker.bootstrap_servers, 10)
    task, feed = scene.task()
    feed.end = (1, 1)  # one batch was fetched, and dropped on the way
    deadline = time.monotonic() + 10
    while feed.started != [0, 0] and time.monotonic() < deadline:
        time.sleep(0.02)
    feed.end = None
    scene.deliver(task, feed, 0, 10)
    scene.until_outputs(10)
    assert scene.outputs() == list(range(10))
    task.stop()


def test_batches_of_an_earlier_seek_are_ignored(broker: EmbeddedBroker) -> None:
    scene = Scene(broker.bootstrap_servers, 20)
    task, feed = scene.task()
    feed.epoch -= 1
    scene.deliver(task, feed, 5, 20)
    feed.epoch, feed.sequence = 1, 0
    scene.deliver(task, feed, 0, 20)
    scene.until_outputs(20)
    assert scene.outputs() == list(range(20))
    task.stop()


def test_an_input_stands_still_while_a_record_waits_and_then_goes_on(
    broker: EmbeddedBroker,
) -> None:
    scene = Scene(broker.bootstrap_servers, 500)
    scene.copier.missing = {150, 260}
    task, feed = scene.task(commit_interval_ms=50)
    feed.end = (1, 2)
    scene.deliver(task, feed, 0, 300)
    scene.deliver(task, feed, 300, 500)
    scene.until_outputs(150)
    assert LogReader({"bootstrap.servers": scene.servers}, scene.name).committed(
        [scene.source]
    ) == {scene.source: 150}
    _until(lambda: task.waiting() == ["its number"])
    assert (scene.outputs(), feed.started, feed.held) == (list(range(150)), [0], {scene.source})
    scene.copier.missing = {260}
    scene.until_outputs(260)
    scene.copier.missing = set()
    scene.until_outputs(300)
    _until(lambda: feed.started == [0, 300])
    assert (task.waiting(), feed.held, scene.copier.idled) == ([], set(), 0)
    scene.deliver(task, feed, 300, 500)
    scene.until_outputs(500)
    assert scene.outputs() == list(range(500))
    task.stop()


def test_what_takes_long_is_done_in_small_parts_so_that_no_transaction_outlasts_its_time(
    broker: EmbeddedBroker,
) -> None:
    scene = Scene(broker.bootstrap_servers, 60)
    scene.copier.seconds = 0.05
    task, feed = scene.task()
    scene.deliver(task, feed, 0, 60)
    scene.until_outputs(60)
    task.stop()
    task.join()
    assert scene.copier.parts[0] == 1
    assert max(scene.copier.parts) < 45


def test_a_task_that_waits_stops_at_once_and_its_next_owner_goes_on_there(
    broker: EmbeddedBroker,
) -> None:
    scene = Scene(broker.bootstrap_servers, 20)
    scene.copier.missing = {7}
    task, feed = scene.task()
    scene.deliver(task, feed, 0, 20)
    scene.until_outputs(7)
    started = time.monotonic()
    task.stop()
    task.join(5)
    assert not task.is_alive()
    assert time.monotonic() - started < 1
    scene.copier.missing = set()
    following, feed = scene.task()
    assert feed.started == [7]
    scene.deliver(following, feed, 7, 20)
    scene.until_outputs(20)
    assert scene.outputs() == list(range(20))
    following.stop()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_records_deleted_before_they_were_read_stop_the_task(broker: EmbeddedBroker) -> None:
    scene = Scene(broker.bootstrap_servers, 50)
    task, feed = scene.task()
    scene.deliver(task, feed, 0, 10)
    scene.until_outputs(10)
    task.stop()
    task.join(10)
    _delete_records(scene, 30)
    scene.task()
    assert isinstance(scene.error, DataLossError)
    assert "20 records were deleted" in str(scene.error)
    accepting, feed = scene.task(accept_data_loss=True)
    assert feed.started == [30]
    accepting.stop()


def test_a_topic_made_anew_is_read_from_its_beginning_once_the_loss_is_accepted(
    broker: EmbeddedBroker,
) -> None:
    scene = Scene(broker.bootstrap_servers, 30)
    commit({"bootstrap.servers": scene.servers}, scene.name, TopicPartition(*scene.source, 40))
    scene.task()
    assert isinstance(scene.error, DataLossError)
    assert "it ends at 30, was it recreated?" in str(scene.error)
    accepting, feed = scene.task(accept_data_loss=True)
    assert feed.started == [0]
    accepting.stop()


def commit(config: dict[str, str], group: str, place: TopicPartition) -> None:
    """Commit an offset for a group."""
    consumer = Consumer({**config, "group.id": group})
    consumer.commit(offsets=[place], asynchronous=False)
    consumer.close()


def test_a_task_waits_for_a_topic_that_it_writes(broker: EmbeddedBroker) -> None:
    scene = Scene(broker.bootstrap_servers, 10)
    admin, topic = AdminClient({"bootstrap.servers": scene.servers}), f"{scene.name}.scored"
    admin.delete_topics([topic])[topic].result(10)
    _until(lambda: topic not in admin.list_topics(timeout=10).topics)
    task, feed = scene.start()
    _until(lambda: (task.trouble() or NONE).cause == "topic-missing")
    assert not task.ready.is_set()
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)
    _until(task.ready.is_set)
    assert task.trouble() is None
    scene.deliver(task, feed, 0, 10)
    scene.until_outputs(10)
    assert scene.outputs() == list(range(10))
    task.stop()


def test_a_task_that_waits_for_kafka_stops_when_asked(broker: EmbeddedBroker) -> None:
    scene = Scene(broker.bootstrap_servers, 10)
    scene.servers = "127.0.0.1:1"
    task, _ = scene.start()
    _until(lambda: (task.trouble() or NONE).cause == "kafka-unavailable")
    assert not scene.failed.is_set()
    task.stop()
    assert scene.failed.wait(10)
    assert isinstance(scene.error, KafkaUnavailableError)


def _delete_records(scene: Scene, before: int) -> None:
    admin = AdminClient({"bootstrap.servers": scene.servers})
    for future in admin.delete_records([TopicPartition(*scene.source, before)]).values():
        future.result(10)


@pytest.mark.parametrize("size", [10, 1500])
def test_stopping_commits_what_was_processed_and_leaves_the_rest(
    broker: EmbeddedBroker, size: int
) -> None:
    scene = Scene(broker.bootstrap_servers, size)
    task, feed = scene.task(commit_interval_ms=5000)
    scene.deliver(task, feed, 0, size)
    _until(lambda: bool(scene.copiers[0].parts))
    task.stop()
    task.join(10)
    done = scene.outputs()
    assert done == list(range(len(done)))
    assert LogReader(scene.config, scene.name).committed([scene.source]) == {
        scene.source: len(done)
    }
    assert len(done) == sum(scene.copiers[0].parts)


def test_parts_share_a_transaction_and_one_of_which_nothing_came_stays_out_of_it(
    broker: EmbeddedBroker,
) -> None:
    scene = Scene(broker.bootstrap_servers, 0, partitions=3)
    task, feed = scene.task(commit_interval_ms=500)
    for source in scene.sources[:2]:
        records = [Record(*source, 0, 0, None, str(source.partition).encode())]
        task.deliver(source, Batch(feed.epochs[source], 0, list(records)))
    scene.until_outputs(2)
    first, second, third = scene.sources
    committed = LogReader(scene.config, scene.name).committed(scene.sources)
    assert committed == {first: 1, second: 1, third: -1}
    _until(lambda: [copier.committed for copier in scene.copiers] == [1, 1, 0])
    task.stop()


def test_a_part_does_what_waits_for_quiet_while_another_is_busy(broker: EmbeddedBroker) -> None:
    scene = Scene(broker.bootstrap_servers, 0, partitions=2)
    scene.copier.seconds = 0.002
    task, feed = scene.task()
    feed.end = (feed.epochs[scene.sources[1]], 0)
    busy = scene.source
    for number in range(20):
        records = [
            Record(*busy, offset, 0, None, b"1") for offset in range(number * 20, number * 20 + 20)
        ]
        task.deliver(busy, Batch(feed.epochs[busy], number, list(records)))
    before = scene.copiers[1].idled
    scene.until_outputs(300)
    assert scene.copiers[1].idled >= before + 3
    assert scene.copier.idled == 0
    task.stop()


def test_a_task_settles_what_the_previous_owner_of_any_of_its_partitions_left_open(
    broker: EmbeddedBroker,
) -> None:
    scene = Scene(broker.bootstrap_servers, 10, partitions=2)
    gone = scene.writer(1)
    gone.take_over()
    gone.write([Output("scored", 0, None, b"99")])
    gone._producer.flush(10)
    task, _ = scene.task()
    assert list(LogReader(scene.config, scene.name).read_settled(f"{scene.name}.scored", 0)) == []
    with pytest.raises(FencedError):
        gone.commit({}, None)
    task.stop()


def test_a_log_is_settled_once_the_transaction_that_was_open_has_ended(
    broker: EmbeddedBroker,
) -> None:
    scene = Scene(broker.bootstrap_servers, 0)
    slow = scene.writer(0)
    slow.take_over()
    slow.write([Output("scored", 0, b"key", b"value")])
    slow._producer.flush(10)
    reader = LogReader(scene.config, scene.name)
    assert list(reader.read_all(f"{scene.name}.scored", 0)) == []
    committing = threading.Timer(0.5, slow.commit, ({}, None))
    committing.start()
    assert list(reader.read_settled(f"{scene.name}.scored", 0)) == [(b"key", b"value")]
    committing.join()


def test_offsets_in_a_transaction_that_is_not_settled_are_waited_for(
    broker: EmbeddedBroker,
) -> None:
    scene = Scene(broker.bootstrap_servers, 10)
    slow = Producer({**scene.config, "transactional.id": f"{scene.name}-slow"})
    slow.init_transactions(10)
    slow.begin_transaction()
    membership = Membership(scene.name, -1, "", None)
    slow.send_offsets_to_transaction([TopicPartition(*scene.source, 7)], membership.metadata(), 10)
    committing = threading.Timer(0.5, slow.commit_transaction)
    committing.start()
    assert LogReader(scene.config, scene.name).committed([scene.source]) == {scene.source: 7}
    committing.join()


def test_sixteen_tasks_commit_side_by_side(broker: EmbeddedBroker) -> None:
    scenes = [Scene(broker.bootstrap_servers, 20) for _ in range(16)]
    tasks = [scene.task() for scene in scenes]
    for scene, (task, feed) in zip(scenes, tasks, strict=True):
        scene.deliver(task, feed, 0, 20)
    for scene, (task, _) in zip(scenes, tasks, strict=True):
        scene.until_outputs(20)
        task.stop()
