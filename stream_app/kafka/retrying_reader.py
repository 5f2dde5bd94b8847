"""Reader of whole topics and offsets for workers, which waits out an outage of the cluster."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from time import monotonic
from typing import Any, NamedTuple, Protocol, TypeVar

from confluent_kafka import OFFSET_END, Consumer, KafkaException, Message, TopicPartition

from stream_app.errors import KafkaUnavailableError
from stream_app.kafka.access_errors import kafka_error
from stream_app.kafka.clients import ClientOwner, leaders_reloaded_on_error, make_consumer
from stream_app.kafka.offsets import VISIBLE_SECONDS, wait_until_stable
from stream_app.kafka.partition_reader import PartitionReader, any_permanent, headers_of
from stream_app.kafka.transient_errors import raised_transient
from stream_app.records import InputPartition, Record
from stream_app.retrying import retry_until

CALL_TIMEOUT = 10.0  # seconds
# A transient error may last so long.
DEADLINE_SECONDS = 30.0
# Brokers end the transaction of a dead worker earlier than that.
STABLE_SECONDS = 45.0
_RETRY_SECONDS = 0.1

T = TypeVar("T")


class CommittedOffset(NamedTuple):
    """Offset that a group has committed, -1 for none, and its metadata."""

    offset: int
    metadata: str


class TopicReader(Protocol):
    """Reader of committed records of one partition; `topic` is the full Kafka name."""

    def read_all(self, topic: str, partition: int) -> Iterable[tuple[bytes | None, bytes | None]]:
        """Return key and value of every record below the last stable offset."""

    def read_stable(
        self, topic: str, partition: int
    ) -> Iterable[tuple[bytes | None, bytes | None]]:
        """Return the records of `read_all` once all transactions that were open have ended."""

    def read_range(self, topic: str, partition: int, start: int, end: int) -> Iterable[Record]:
        """Return the records with start <= offset < end."""

    def ends(self, source: InputPartition) -> tuple[int, int]:
        """Return the beginning offset and the last stable offset."""

    def written_end(self, source: InputPartition) -> int:
        """Return the offset behind the last record, which may be in an open transaction."""


class RetryingReader:
    """Reads partitions for workers; every read has a consumer of its own. Thread-safe.

    Args:
        config: options of librdkafka, see `client_config`.
        group: consumer group whose offsets `committed` returns.
    """

    def __init__(self, config: Mapping[str, Any], group: str) -> None:
        self._config = config
        self._group = group
        self._offsets = ClientOwner[Consumer](make_consumer(config, group))
        self._clients = [self._offsets]

    def serve(self) -> None:
        """Let librdkafka fetch a token and report errors of the connection. Thread-safe."""
        for one in self._clients:
            one.client.poll(0)

    def committed(self, inputs: list[InputPartition]) -> dict[InputPartition, int]:
        """Return the group's offsets, -1 where it has none."""
        return {source: one.offset for source, one in self.committed_metadata(inputs).items()}

    def committed_metadata(
        self, inputs: list[InputPartition]
    ) -> dict[InputPartition, CommittedOffset]:
        """Return the group's offsets with their metadata."""
        wanted = [TopicPartition(topic, partition) for topic, partition in inputs]
        call = self._offsets.client.committed
        found = self._request(
            lambda: call(wanted, timeout=CALL_TIMEOUT), "read the group's offsets"
        )
        return {
            InputPartition(one.topic, one.partition): CommittedOffset(
                max(one.offset, -1), one.metadata or ""
            )
            for one in found
        }

    def ends(self, source: InputPartition) -> tuple[int, int]:
        """Return the beginning offset and the last stable offset of a partition."""
        return self._bounds(self._offsets, source)

    def written_end(self, source: InputPartition) -> int:
        """Return the offset behind the last record, which may be in an open transaction."""
        return self._bounds(self._uncommitted, source)[1]

    def partition_count(self, topic: str) -> int:
        """Return the number of partitions of a topic, 0 if there is none."""
        client = self._offsets.client
        found = self._request(
            lambda: client.list_topics(topic, timeout=CALL_TIMEOUT),
            f"read the partitions of {topic}",
        )
        return len(found.topics[topic].partitions)

    def offset_since(self, source: InputPartition, since: int) -> int:
        """Return the first offset with a timestamp of at least `since`, in Unix milliseconds.

        It is the end of the partition if there is none.
        """
        client, wanted = self._offsets.client, TopicPartition(*source, max(since, 0))
        found = self._request(
            lambda: client.offsets_for_times([wanted], timeout=CALL_TIMEOUT),
            f"read the times of {source.topic}",
        )
        offset = int(found[0].offset)
        return self.ends(source)[1] if offset == OFFSET_END else offset

    def read_all(self, topic: str, partition: int) -> Iterator[tuple[bytes | None, bytes | None]]:
        """Yield key and value of every record below the last stable offset."""
        # Not as records of the core: a changelog may have millions of them.
        for message in self._messages(
            topic, partition, *self.ends(InputPartition(topic, partition))
        ):
            yield message.key(), message.value()

    def read_stable(
        self, topic: str, partition: int
    ) -> Iterator[tuple[bytes | None, bytes | None]]:
        """Return the records of `read_all` once all transactions that were open have ended.

        An open transaction hides records that may have been committed already.

        Raises:
            KafkaUnavailableError: a transaction stays open.
        """
        if not self.wait_until_stable(InputPartition(topic, partition), STABLE_SECONDS):
            raise KafkaUnavailableError(
                f"a transaction on {topic}[{partition}] has been open for {STABLE_SECONDS:.0f} s",
                "Check that the brokers are up; they end it after its time-out",
            )
        return self.read_all(topic, partition)

    def wait_until_stable(self, source: InputPartition, timeout: float) -> bool:
        """Wait until no record written before this call is in an open transaction.

        Args:
            timeout: seconds.

        Returns:
            False if a transaction is still open at the end of the time.
        """
        written = self.written_end(source)
        return wait_until_stable(lambda: self.ends(source)[1], written, timeout)

    def visible_end(self, source: InputPartition) -> int:
        """Return the last stable offset, once what was committed before this call is below it.

        A commit returns before its markers are in every partition. A transaction that stays open
        is waited for `VISIBLE_SECONDS`.
        """
        self.wait_until_stable(source, VISIBLE_SECONDS)
        return self.ends(source)[1]

    def read_range(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """Return the committed records with start <= offset < end; waits out an outage."""
        return map(as_record, self._messages(topic, partition, start, end))

    def _messages(self, topic: str, partition: int, start: int, end: int) -> Iterator[Message]:
        reader = PartitionReader(self._config, self._group, policy=any_permanent, reads_empty=True)
        try:
            yield from reader.records({(topic, partition): (start, end)})
        finally:
            # Perhaps in another thread: that of a garbage collection.
            reader.hand_over()
            reader.close_in_background()

    @cached_property
    def _uncommitted(self) -> ClientOwner[Consumer]:
        client = make_consumer(self._config, self._group, isolation_level="read_uncommitted")
        owner = ClientOwner[Consumer](client)
        self._clients.append(owner)
        return owner

    def _bounds(self, owner: ClientOwner[Consumer], source: InputPartition) -> tuple[int, int]:
        client, partition = owner.client, TopicPartition(*source)

        def call() -> tuple[int, int]:
            with leaders_reloaded_on_error(client, [source.topic]):
                low, high = client.get_watermark_offsets(
                    partition, timeout=CALL_TIMEOUT, cached=False
                )
                return low, high

        return self._request(call, f"read the ends of {source.topic}")

    def _request(self, call: Callable[[], T], action: str) -> T:
        """Return the answer; repeats the request while its error is transient."""

        def served() -> T:
            self.serve()
            return call()

        try:
            return retry_until(
                monotonic() + DEADLINE_SECONDS,
                served,
                KafkaException,
                raised_transient,
                _RETRY_SECONDS,
            )
        except KafkaException as error:
            raise kafka_error(error.args[0], action) from None


def as_record(message: Message) -> Record:
    """Return a message of librdkafka as a record of the core."""
    _, timestamp = message.timestamp()
    return Record(
        message.topic() or "", message.partition() or 0, message.offset() or 0, timestamp,
        message.key(), message.value(), tuple(headers_of(message)),
    )  # fmt: skip
