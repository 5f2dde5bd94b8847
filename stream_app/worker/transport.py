"""Faust's Kafka transport, delivering one event per fetched batch, from positions that only the task decides.

Faust's own delivery costs four asyncio tasks a record, reads uncommitted, assigns round-robin, and seeks to committed
offsets behind one's back. Here a partition is fetched only after `start_at` has put it at an offset; each batch carries
the epoch of that call and a sequence number, so that a batch that was dropped on the way (Faust drops what it fetched
while a rebalance begins) shows as a gap.
"""

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, NamedTuple

import aiokafka
import aiokafka.consumer.fetcher as fetcher
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from faust.tables import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from stream_app.kafka.access_errors import right_missing
from stream_app.records import Record, quick
from stream_app.worker.coordinator import Coordinator
from stream_app.worker.membership import Membership

FETCH_WAIT = 0.2  # seconds; also how long a partition that is released again may wait
FETCH_MAX_WAIT_MS = 50  # a partition that becomes free waits for the request that is under way


_record = quick(Record)


class Batch(NamedTuple):
    """Consecutive records of one partition; the `sequence`-th batch since the `epoch`-th call of `start_at`."""

    epoch: int
    sequence: int
    records: list[Record]


class PlainRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """What was fetched of one partition, as tuples: aiokafka's own records cost twice the time and memory."""

    def _consumer_record(self, tp: Any, record: Any) -> Record:
        return _record(
            (
                tp.topic,
                tp.partition,
                record.offset,
                record.timestamp,
                record.key,
                record.value,
                tuple(record.headers),
            )
        )


class Cursor:
    """How far one partition has been fetched since its last `start_at`; touched by the consumer's thread only."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.sequence = 0
        self.at_end: tuple[int, int] | None = (
            None  # (epoch, batches delivered) when the log's stable end was reached
        )
        self.end: int | None = None  # the log's stable end when it was last fetched


class BatchThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust's consumer thread with the settings that it hard-wires, and fetching by batch."""

    _denied: TopicAuthorizationFailedError | None = None

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[RangePartitionAssignor],
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            metadata_max_age_ms=30_000,
            **transport.security,
        )

    def check(self) -> None:
        """Raise what makes it impossible to go on: a missing right, or another owner of our instance id."""
        if self._denied is not None:
            raise right_missing("topic", f"read {self._denied.args[0]}")
        coordinator = self._coordinator()
        if coordinator is not None:
            if problem := coordinator.problem():
                raise problem
            self._consumer._loop.call_soon_threadsafe(coordinator.heal)

    def confirmed(self) -> float:
        """When the broker has last confirmed that we are a member of the group (monotonic)."""
        coordinator = self._coordinator()
        return coordinator.confirmed if coordinator is not None else float("-inf")

    def _coordinator(self) -> Coordinator | None:
        coordinator = self._consumer._coordinator if self._consumer is not None else None
        return coordinator if isinstance(coordinator, Coordinator) else None

    def membership(self) -> Membership:
        """Who we are in the group, as of now."""
        coordinator = self._ensure_consumer()._coordinator
        instance = self.app.conf.consumer_group_instance_id
        return Membership(self.app.conf.id, coordinator.generation, coordinator.member_id, instance)

    async def start_at(self, partition: TP, offset: int, cursor: Cursor) -> None:
        """Seek, and count batches anew."""
        await self.call_thread(self._start_at, partition, offset, cursor)

    async def _start_at(self, partition: TP, offset: int, cursor: Cursor) -> None:
        self._ensure_consumer().seek(driver.ensure_aiokafka_TP(partition), offset)
        self.consumer.cursors[partition] = cursor

    async def fetch(self, partitions: set[TP]) -> Mapping[TP, Batch]:
        """The next batches of these partitions, at most one each."""
        batches: Mapping[TP, Batch] = await self.call_thread(self._fetch, partitions)
        return batches

    async def _fetch(self, partitions: set[TP]) -> Mapping[TP, Batch]:
        consumer = self._ensure_consumer()
        if self._denied is not None or not self.consumer.flow_active:
            return {}
        wanted = {driver.ensure_aiokafka_TP(tp) for tp in partitions} & consumer.assignment()
        if not wanted:
            return {}
        try:
            with consumer._fetcher._subscriptions.fetch_context():
                fetched = await consumer._fetcher.fetched_records(
                    wanted, FETCH_WAIT, max_records=consumer._max_poll_records
                )
        except TopicAuthorizationFailedError as error:
            self._denied = error
            return {}
        except KafkaError:
            coordinator = self._coordinator()
            if coordinator is None or not coordinator.troubled:
                raise
            return {}  # which `check` sees to
        batches = {}
        for tp, records in fetched.items():
            cursor = self.consumer.cursors.get(TP(tp.topic, tp.partition))
            if cursor is not None:
                batches[TP(tp.topic, tp.partition)] = Batch(cursor.epoch, cursor.sequence, records)
                cursor.sequence += 1
        self._observe(consumer, wanted)
        return batches

    def _observe(self, consumer: aiokafka.AIOKafkaConsumer, partitions: Iterable[Any]) -> None:
        """Note which partitions are read to their stable end."""
        subscription = consumer._subscription.subscription
        for tp in partitions:
            cursor = self.consumer.cursors.get(TP(tp.topic, tp.partition))
            state = (
                subscription.assignment.state_value(tp)
                if subscription and subscription.assignment
                else None
            )
            if cursor is None or state is None or not state.has_valid_position or state.lso is None:
                continue
            cursor.end = state.lso
            cursor.at_end = (cursor.epoch, cursor.sequence) if state.position >= state.lso else None


class BatchConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer, fetching only what `start_at` has opened and `hold` does not hold back."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cursors: dict[TP, Cursor] = {}
        self._epochs = 0
        self._held: set[TP] = set()

    def check(self) -> None:
        """Raise `AccessError` if we may not read or join, `FencedError` if somebody is in our place."""
        self._thread.check()

    def confirmed(self) -> float:
        """When the broker has last confirmed that we are a member of the group (monotonic)."""
        confirmed: float = self._thread.confirmed()
        return confirmed

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, loop=self.loop, beacon=self.beacon)

    def membership(self) -> Membership:
        """Who we are in the group, as of now."""
        membership: Membership = self._thread.membership()
        return membership

    async def start_at(self, partition: TP, offset: int) -> int:
        """Fetch this partition from here; returns the epoch that its batches will carry."""
        self._epochs += 1
        epoch = self._epochs
        await self._thread.start_at(partition, offset, Cursor(epoch))
        self._held.discard(partition)
        return epoch

    def hold(self, partition: TP) -> None:
        """Fetch nothing of this partition until it is released."""
        self._held.add(partition)

    def release(self, partition: TP) -> None:
        """Fetch this partition again."""
        self._held.discard(partition)

    def close_partitions(self) -> None:
        """Fetch nothing any more; what is still under way is of an old epoch."""
        self.cursors.clear()
        self._held.clear()

    async def perform_seek(self) -> None:
        """Do nothing: positions are the task's decision."""

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Yield one message per fetched batch."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        wanted = self.cursors.keys() & self._get_active_partitions() - self._held
        if not wanted:
            await self.sleep(0.05)
            return
        batches = await self._thread.fetch(wanted)
        for tp, batch in batches.items():
            if not self.flow_active or self.should_stop:
                return  # the missing sequence number tells
            self._read_offset[tp] = None  # or Faust drops silently what it takes for a repetition
            yield tp, self._message(tp, batch)

    def _message(self, tp: TP, batch: Batch) -> ConsumerMessage:
        last = batch.records[-1]
        return ConsumerMessage(
            tp.topic, tp.partition, last.offset, last.timestamp / 1000, 0, (), b"", batch, None, 0, 0, tp,
            generation_id=self.app.consumer_generation_id,
        )  # fmt: skip


class NoProducer(driver.Producer):  # type: ignore[misc]
    """Faust's producer, which it starts in any case, without a connection: records are sent by the tasks."""

    async def on_start(self) -> None:
        """Do nothing."""

    async def on_stop(self) -> None:
        """Do nothing."""


class NoTables(TableManager):  # type: ignore[misc]
    """Faust's manager of tables, which waits a second at its start for tables that there are none of here."""

    async def on_start(self) -> None:
        """Start without that wait."""
        await self._update_channels()
        await self.recovery.start()


class BatchTransport(driver.Transport):  # type: ignore[misc]
    """Drop-in for Faust's Kafka transport; `security` are keyword arguments of aiokafka's consumer."""

    Consumer = BatchConsumer
    Producer = NoProducer

    def __init__(self, *args: Any, security: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.security = security


logging.getLogger("aiokafka.consumer.fetcher").addFilter(
    lambda record: "Not authorized" not in record.getMessage()
)
fetcher.PartitionRecords = PlainRecords  # which has no setting for it
for service in (BatchThread, BatchConsumer, NoProducer, NoTables):
    service.logger = driver.logger  # mode names loggers after the module, and ours say more
