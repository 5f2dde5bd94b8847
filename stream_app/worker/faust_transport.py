"""Faust's Kafka transport, which delivers one event per fetched batch.

Faust's own delivery costs four asyncio tasks per record, reads uncommitted records, assigns
round-robin, and seeks to committed offsets. Here only the task decides on positions: a partition is
fetched after `start_at` has set its offset. Each batch carries the assignment id of that call and a
sequence number, because Faust drops fetched batches when a rebalance starts: the task sees the gap.
"""

import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from functools import partial
from time import monotonic
from typing import Any

import aiokafka
import aiokafka.client as client
import aiokafka.consumer.fetcher as fetcher
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from faust.tables import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from stream_app.clock import now_ms
from stream_app.kafka.access_errors import unauthorized
from stream_app.records import Record, fast_namedtuple
from stream_app.worker.batch_decoding import FetchedBytes, TolerantRecords
from stream_app.worker.coordinator import Coordinator
from stream_app.worker.subtask import Batch
from stream_app.worker.transaction_writer import Membership

# Also the longest time that a partition waits after `resume_fetching`.
FETCH_SECONDS = 0.2
# A resumed partition waits for the request in flight.
FETCH_MAX_WAIT_MS = 50
# Records that arrive within this time after a batch share the next one: each batch costs Faust and
# the broker about a millisecond of CPU, however small it is. A share of the commit interval.
ROUND_SHARE = 0.1
SHORTEST_ROUND_SECONDS, LONGEST_ROUND_SECONDS = 0.005, 0.02
# Interval of the check whether there is anything to fetch: with all partitions paused, which have
# few records left when one of them is resumed, and without partitions.
PAUSED_SECONDS = 0.01
UNASSIGNED_SECONDS = 0.05
# A broker answers at least each `FETCH_MAX_WAIT_MS`. After this time its answer is out of date.
CURRENT_SECONDS = 1.0
# A topic of a source that must not be read is fetched again after this time.
DENIED_SECONDS = 1.0

_record = fast_namedtuple(Record)


class PlainRecords(TolerantRecords):
    """Fetched records as tuples: aiokafka's own records cost twice the time and memory."""

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
    """Fetch progress of one partition; used by the consumer's thread only.

    Attributes:
        at_end: assignment id and number of batches once the log's stable end is reached.
        end: last stable offset when it was last fetched.
        has_open_transaction: True if records beyond the stable end were undecided then.
        fetched_at: monotonic seconds of the broker's last answer.
    """

    def __init__(self, assignment_id: int) -> None:
        self.assignment_id = assignment_id
        self.sequence = 0
        self.at_end: tuple[int, int] | None = None
        self.end: int | None = None
        self.has_open_transaction = False
        self.fetched_at = float("-inf")

    @property
    def may_have_more(self) -> bool:
        """True if records may follow the stable end. Thread-safe."""
        return self.has_open_transaction or monotonic() - self.fetched_at > CURRENT_SECONDS


class BatchThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust's consumer thread with other settings, which fetches by batch."""

    _denied: TopicAuthorizationFailedError | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Topics of sources that must not be read, with the monotonic time of the last attempt.
        self._denied_sources: dict[str, float] = {}

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
        """Check that this worker may read and is a member of the group.

        Raises:
            AccessError: a right is missing.
            FencedError: another worker has the instance id.
        """
        if self._denied is not None:
            raise unauthorized("topic", f"read {self._denied.args[0]}")
        coordinator = self._coordinator()
        if coordinator is not None:
            if error := coordinator.permanent_error():
                raise error
            self._consumer._loop.call_soon_threadsafe(coordinator.recover)

    def confirmed_at(self) -> float:
        """Return the monotonic time of the broker's last confirmation of membership."""
        coordinator = self._coordinator()
        return coordinator.confirmed_at if coordinator is not None else float("-inf")

    def _coordinator(self) -> Coordinator | None:
        coordinator = self._consumer._coordinator if self._consumer is not None else None
        return coordinator if isinstance(coordinator, Coordinator) else None

    def membership(self) -> Membership:
        """Return the present membership in the group."""
        coordinator = self._ensure_consumer()._coordinator
        instance = self.app.conf.consumer_group_instance_id
        return Membership(self.app.conf.id, coordinator.generation, coordinator.member_id, instance)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to the topics that can be read; to all of them if none can."""
        names = set(topics)
        await super().subscribe(names - self._unreadable() or names)

    def _unreadable(self) -> frozenset[str]:
        unreadable: frozenset[str] = self.transport.unreadable()
        return unreadable

    async def start_at(self, partition: TP, offset: int, cursor: Cursor) -> None:
        """Seek a partition and replace its cursor."""
        await self.call_thread(self._start_at, partition, offset, cursor)

    async def _start_at(self, partition: TP, offset: int, cursor: Cursor) -> None:
        self._ensure_consumer().seek(driver.ensure_aiokafka_TP(partition), offset)
        self.consumer.cursors[partition] = cursor

    async def fetch(self, partitions: set[TP]) -> Mapping[TP, Batch]:
        """Return the next batches of these partitions, at most one each."""
        batches: Mapping[TP, Batch] = await self.call_thread(self._fetch, partitions)
        return batches

    async def _fetch(self, partitions: set[TP]) -> Mapping[TP, Batch]:
        consumer = self._ensure_consumer()
        if self._denied is not None or not self.consumer.flow_active:
            return {}
        wanted = {
            driver.ensure_aiokafka_TP(tp)
            for tp in partitions
            if monotonic() - self._denied_sources.get(tp.topic, float("-inf")) > DENIED_SECONDS
        } & consumer.assignment()
        if not wanted:
            return {}
        try:
            with consumer._fetcher._subscriptions.fetch_context():
                fetched = await consumer._fetcher.fetched_records(
                    wanted, FETCH_SECONDS, max_records=consumer._max_poll_records
                )
        except TopicAuthorizationFailedError as error:
            if error.args[0] in self.transport.sources:
                self._denied_sources[error.args[0]] = monotonic()
            else:
                self._denied = error
            return {}
        except KafkaError:
            coordinator = self._coordinator()
            if coordinator is None or not coordinator.has_error:
                raise
            # `check` handles the error.
            return {}
        batches = {}
        for tp, records in fetched.items():
            cursor = self.consumer.cursors.get(TP(tp.topic, tp.partition))
            if cursor is not None:
                batches[TP(tp.topic, tp.partition)] = Batch(
                    cursor.assignment_id, cursor.sequence, records
                )
                cursor.sequence += 1
        self._record_ends(consumer, wanted)
        return batches

    def _record_ends(self, consumer: aiokafka.AIOKafkaConsumer, partitions: Iterable[Any]) -> None:
        """Record which partitions are fetched to their stable end."""
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
            cursor.has_open_transaction = (state.highwater or 0) > state.lso
            cursor.fetched_at = monotonic() - (now_ms() - state.timestamp) / 1000
            cursor.at_end = (
                (cursor.assignment_id, cursor.sequence) if state.position >= state.lso else None
            )


class BatchConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer, which fetches partitions that are started and not paused."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cursors: dict[TP, Cursor] = {}
        self._last_assignment_id = 0
        self._paused: set[TP] = set()
        self._topics: set[str] = set()

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to topics, which leads to a rebalance."""
        self._topics = set(topics)
        await super().subscribe(self._topics)

    async def resubscribe(self) -> None:
        """Subscribe again, because other topics can be read."""
        await super().subscribe(self._topics)

    def check(self) -> None:
        """Check that this worker may read and is a member; see `BatchThread.check`."""
        self._thread.check()

    def confirmed_at(self) -> float:
        """Return the monotonic time of the broker's last confirmation of membership."""
        confirmed_at: float = self._thread.confirmed_at()
        return confirmed_at

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, loop=self.loop, beacon=self.beacon)

    def membership(self) -> Membership:
        """Return the present membership in the group."""
        membership: Membership = self._thread.membership()
        return membership

    async def start_at(self, partition: TP, offset: int) -> int:
        """Fetch a partition from an offset; returns the assignment id of its batches."""
        self._last_assignment_id += 1
        assignment_id = self._last_assignment_id
        await self._thread.start_at(partition, offset, Cursor(assignment_id))
        self._paused.discard(partition)
        return assignment_id

    def pause_fetching(self, partition: TP) -> None:
        """Fetch nothing of a partition until it is resumed."""
        self._paused.add(partition)

    def resume_fetching(self, partition: TP) -> None:
        """Continue to fetch a partition."""
        self._paused.discard(partition)

    def close_partitions(self) -> None:
        """Stop fetching; batches in flight have an old assignment id."""
        self.cursors.clear()
        self._paused.clear()

    async def perform_seek(self) -> None:
        """Do nothing: the task decides on positions."""

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Yield one message per fetched batch."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        wanted = self.cursors.keys() & self._get_active_partitions() - self._paused
        if not wanted:
            await self.sleep(PAUSED_SECONDS if self._paused else UNASSIGNED_SECONDS)
            return
        batches = await self._thread.fetch(wanted)
        fetched_at = monotonic()
        for tp, batch in batches.items():
            if not self.flow_active or self.should_stop:
                # The task detects the missing sequence number.
                return
            # Otherwise Faust drops the message as a repetition.
            self._read_offset[tp] = None
            yield tp, self._message(tp, batch)
        rest = fetched_at + self.transport.round_seconds - monotonic()
        if batches and rest > 0 and all(map(self._is_at_end, batches)):
            await self.sleep(rest)

    def _is_at_end(self, partition: TP) -> bool:
        cursor = self.cursors.get(partition)
        return cursor is not None and cursor.at_end is not None

    def _message(self, tp: TP, batch: Batch) -> ConsumerMessage:
        last = batch.records[-1]
        return ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=last.offset,
            timestamp=last.timestamp / 1000,
            timestamp_type=0,
            headers=(),
            key=b"",
            value=batch,
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )


class NoProducer(driver.Producer):  # type: ignore[misc]
    """Faust's producer, which it always starts, without a connection: tasks write the records."""

    async def on_start(self) -> None:
        """Do nothing."""

    async def on_stop(self) -> None:
        """Do nothing."""


class NoTables(TableManager):  # type: ignore[misc]
    """Faust's table manager without its initial wait of a second: there are no tables here."""

    async def on_start(self) -> None:
        """Start without waiting."""
        await self._update_channels()
        await self.recovery.start()


class BatchTransport(driver.Transport):  # type: ignore[misc]
    """Replacement of Faust's Kafka transport.

    Args:
        security: keyword arguments of aiokafka's consumer.
        sources: topics of other programs; a missing right on one of them ends no worker.
        unreadable: returns those that cannot be read.
        commit_seconds: interval of commits.
    """

    Consumer = BatchConsumer
    Producer = NoProducer

    def __init__(
        self,
        *args: Any,
        security: Mapping[str, Any],
        sources: Collection[str] = (),
        unreadable: Callable[[], frozenset[str]] = frozenset,
        commit_seconds: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.round_seconds = min(
            max(commit_seconds * ROUND_SHARE, SHORTEST_ROUND_SECONDS), LONGEST_ROUND_SECONDS
        )
        self.security = security
        self.sources = sources
        self.unreadable = unreadable


logging.getLogger("aiokafka.consumer.fetcher").addFilter(
    lambda record: "Not authorized" not in record.getMessage()
)
# aiokafka has no settings for these. A broker must not create a topic because a worker reads it.
client.MetadataRequest = partial(client.MetadataRequest, allow_auto_topic_creation=False)
fetcher.MemoryRecords = FetchedBytes
fetcher.PartitionRecords = PlainRecords
# mode names loggers after the module; Faust's name is more useful here.
for service in (BatchThread, BatchConsumer, NoProducer, NoTables):
    service.logger = driver.logger
