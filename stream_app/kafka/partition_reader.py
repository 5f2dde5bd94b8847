"""Reader of committed records between offsets, or from offsets on."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from gc import get_referents
from operator import methodcaller
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from stream_app.errors import StreamAppError, TopicsError
from stream_app.kafka.access_errors import kafka_error
from stream_app.kafka.clients import (
    ClientOwner,
    ConnectionErrors,
    check_visible,
    client_config,
    make_consumer,
)
from stream_app.kafka.corrupt_batches import EXACT_OFFSETS, batch_end, is_undecodable
from stream_app.kafka.offsets import (
    OffsetBounds,
    PartitionId,
    cluster_id,
    find_partitions,
    offset_bounds,
    offsets_since,
    topic_names,
)
from stream_app.kafka.transient_errors import LEADER_MOVES, raised_transient
from stream_app.records import Headers
from stream_app.retrying import retry_until
from stream_app.settings import Settings

# Unlike `message.headers()` in a hot loop, it always notices an exception beside the result.
_headers_method: Callable[[Message], Any] = methodcaller("headers")

MAX_BATCH = 500
# Ctrl-C is noticed between two polls.
POLL_SECONDS = 0.1
# Silence after which a reported connection error is verified, or the cluster counts as lost.
SILENCE_SECONDS = 10.0
# Time between two looks for partitions that do not advance.
_PROGRESS_SECONDS = 3.0
_REQUEST_SECONDS = 1.5
_COMMITTED_SECONDS = 10.0
# `newest` reads backwards in windows of so many offsets, each larger by the factor.
_FIRST_WINDOW = 64
_WINDOW_FACTOR = 16

ErrorPolicy = Callable[[str, KafkaError], StreamAppError | None]
"""Returns the error to raise for a topic, or None if librdkafka recovers by itself."""


def unreadable(topic: str, error: KafkaError) -> StreamAppError | None:
    """Return the error of a topic that is deleted or may not be read."""
    if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
        return TopicsError(f"Topic {topic} was deleted", "Run `stream-app topics create PIPELINE`")
    return kafka_error(error, f"read {topic}") if error.fatal() else unauthorized_read(topic, error)


def unauthorized_read(topic: str, error: KafkaError) -> StreamAppError | None:
    """Return the error of a topic that may not be read; a deleted one may be created again."""
    denied = error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    return kafka_error(error, f"read {topic}") if denied else None


def any_permanent(topic: str, error: KafkaError) -> StreamAppError | None:
    """Return the error unless librdkafka recovers from it; a missing topic is an error."""
    recovers = error.retriable() or error.code() in LEADER_MOVES
    return None if recovers else kafka_error(error, f"read {topic}")


class PartitionReader:
    """Reads committed records of chosen partitions, without joining a consumer group.

    A partition is read to its end when the reader's position reaches it, not with the last record:
    transaction markers have offsets and are no records. A batch that cannot be decoded is left out
    with a line on standard error, unless the policy makes it an error. For one thread.

    Args:
        config: result of `client_config`.
        group: group whose committed offsets can be asked for.
        errors: collector of connection errors. With it, a lost or rejecting cluster is an error;
            without it, reading waits until the cluster is back.
        silence: seconds without any answer after which the cluster counts as lost, even if no
            error was reported. None: only reported errors count.
        policy: errors of partitions to raise.
        reads_empty: True to fetch also where no record is within the bounds, so that a missing ACL
            is an error there, too.
        options: further options of the consumer, with underscores for dots.

    Attributes:
        positions: next offset of each partition that was read since `assign`.
        at_end: True if the last poll ended with the end of a partition.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        group: str = "stream-app-reader",
        *,
        errors: ConnectionErrors | None = None,
        silence: float | None = None,
        policy: ErrorPolicy = unreadable,
        reads_empty: bool = False,
        **options: str | int,
    ) -> None:
        if errors is not None:
            config = {**config, "error_cb": errors}
        self._config = config
        self._owner = ClientOwner[Consumer](make_consumer(config, group, **options))
        self._group = group
        self._reported = errors
        self._silence = silence
        self._policy = policy
        self._reads_empty = reads_empty
        self._ends: Mapping[PartitionId, int] = {}
        self._unread: set[PartitionId] = set()
        self._is_endless = False
        self._last_answer = time.monotonic()
        self._starts: Mapping[PartitionId, int] = {}
        self._looked_at: Mapping[PartitionId, int] = {}
        self._looked = self._last_answer
        self.positions: dict[PartitionId, int] = {}
        self.at_end = False

    @classmethod
    def open(
        cls, settings: Settings, group: str = "stream-app-reader", **options: Any
    ) -> "PartitionReader":
        """Return a reader of the configured cluster that reports its connection errors."""
        config = client_config(settings)
        errors = ConnectionErrors(config["bootstrap.servers"], settings.kafka)
        return cls(config, group, errors=errors, **options)

    def __enter__(self) -> "PartitionReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the consumer; raises as `ClientOwner.close`."""
        self._owner.close()

    def close_in_background(self) -> None:
        """Close the consumer without waiting for librdkafka; raises as `ClientOwner.close`."""
        self._owner.close_in_background()

    def hand_over(self) -> None:
        """Let another thread use or close the reader; this one is in no call of it."""
        self._owner.hand_over()

    def find_partitions(self, topics: Iterable[str]) -> list[PartitionId]:
        """Return all partitions of the topics; raises as `offsets.find_partitions`."""
        return find_partitions(self._consumer, self._errors, topics)

    def topics(self) -> list[str]:
        """Return the names of all topics that this user sees; raises as `find_partitions`."""
        return topic_names(self._consumer, self._errors)

    def check_visible(self, topic: str) -> None:
        """Raise `AccessError` if a topic is hidden; makes it known to the consumer."""
        check_visible(self._consumer, (topic,))

    def cluster_id(self) -> str:
        """Return the id of the cluster."""
        return cluster_id(self._consumer, self._errors)

    def bounds(self, partitions: Iterable[PartitionId]) -> OffsetBounds:
        """Return the beginning and end offsets of partitions."""
        return offset_bounds(self._consumer, self._errors, partitions)

    def topic_bounds(self, topics: Iterable[str]) -> OffsetBounds:
        """Return the beginning and end offsets of all partitions of the topics."""
        return self.bounds(self.find_partitions(topics))

    def offsets_since(
        self, ends: Mapping[PartitionId, int], since: int
    ) -> Mapping[PartitionId, int]:
        """Return the first offset since a time in Unix milliseconds, or the end."""
        return offsets_since(self._consumer, self._errors, ends, since)

    def committed(self, partitions: Iterable[PartitionId]) -> dict[PartitionId, int]:
        """Return the offsets that the group has committed, without partitions that have none."""
        wanted = [TopicPartition(*one) for one in partitions]
        if not wanted:
            return {}
        deadline = time.monotonic() + _COMMITTED_SECONDS

        def call() -> list[TopicPartition]:
            # Lets the client fetch a token and report errors of the connection.
            self._consumer.poll(0)
            remaining = max(0.1, deadline - time.monotonic())
            found: list[TopicPartition] = self._consumer.committed(wanted, timeout=remaining)
            return found

        try:
            answers = retry_until(deadline, call, KafkaException, raised_transient, 0.1)
        except KafkaException as error:
            action = f"read the offsets of the group {self._group}"
            raise kafka_error(error.args[0], action) from None
        return {(one.topic, one.partition): one.offset for one in answers if one.offset >= 0}

    def assign(
        self, starts: Mapping[PartitionId, int], ends: Mapping[PartitionId, int] | None = None
    ) -> None:
        """Begin to read from offsets, in place of what was read before.

        Args:
            starts: offset of the first record of each partition.
            ends: offset after the last record to read; without it, `poll` follows the partitions.
        """
        self._ends, self._is_endless = ends or {}, ends is None
        self._unread = {
            one for one, end in self._ends.items() if starts[one] < end or self._reads_empty
        }
        self._last_answer = time.monotonic()
        self.positions, self.at_end = {}, False
        chosen = starts if self._is_endless else self._unread
        self._starts = {one: starts[one] for one in chosen}
        self._looked_at, self._looked = {}, time.monotonic()
        self._consumer.assign([TopicPartition(*one, starts[one]) for one in chosen])

    @property
    def is_finished(self) -> bool:
        """True once all partitions have been read to the ends given to `assign`."""
        return not self._is_endless and not self._unread

    def poll(self, timeout: float = POLL_SECONDS, limit: int = MAX_BATCH) -> list[Message]:
        """Return the records that have arrived, in order within each partition.

        Args:
            timeout: seconds to wait for the first record.
            limit: largest number of records.

        Raises:
            TopicsError: a topic was deleted.
            AccessError: a topic may not be read, or the cluster rejects this client.
            KafkaUnavailableError: the cluster does not answer.
        """
        # One call would wait out the time-out unless it gets as many records as the limit.
        messages = self._consumer.consume(1, timeout)
        if messages and limit > 1:
            messages += self._consumer.consume(limit - 1, 0)
        self._check_connection(any(_is_answer(message) for message in messages))
        self.at_end = False
        skipped: set[PartitionId] = set()
        wanted = [message for message in messages if self._is_wanted(message, skipped)]
        if time.monotonic() - self._looked > _PROGRESS_SECONDS:
            self._look_for_garbage(is_idle=not messages)
        return wanted

    def batches(self, bounds: OffsetBounds) -> Iterator[list[Message]]:
        """Return batches of the records within bounds, in order within each partition.

        An empty batch comes at least every 0.1 s. Raises as `poll`.
        """
        ends = {one: end for one, (_, end) in bounds.items()}
        self.assign({one: start for one, (start, _) in bounds.items()}, ends)
        return self.rest()

    def rest(self) -> Iterator[list[Message]]:
        """Yield batches until `is_finished`, an empty one at least every 0.1 s."""
        while not self.is_finished:
            yield self.poll()

    def records(self, bounds: OffsetBounds) -> Iterator[Message]:
        """Return the records of `batches` one by one."""
        return (message for batch in self.batches(bounds) for message in batch)

    def newest(
        self, bounds: OffsetBounds, wanted: Callable[[Message], bool]
    ) -> dict[PartitionId, Message]:
        """Return the newest wanted record of each partition that has one; reads backwards."""
        found: dict[PartitionId, Message] = {}
        missing, window = dict(bounds), _FIRST_WINDOW
        while missing:
            starts = {one: max(low, end - window) for one, (low, end) in missing.items()}
            windows = {one: (starts[one], end) for one, (_, end) in missing.items()}
            for message in self.records(windows):
                if wanted(message):
                    found[partition_of(message)] = message
            missing = {
                one: (low, starts[one])
                for one, (low, _) in missing.items()
                if one not in found and low < starts[one]
            }
            window *= _WINDOW_FACTOR
        return found

    def first(self, bounds: OffsetBounds) -> dict[PartitionId, Message]:
        """Return the first record of each partition that has one within the bounds."""
        found: dict[PartitionId, Message] = {}
        for message in self.records(bounds):
            found.setdefault(partition_of(message), message)
            if len(found) == len(bounds):
                break
        return found

    @property
    def _consumer(self) -> Consumer:
        return self._owner.client

    @property
    def _errors(self) -> ConnectionErrors:
        if self._reported is None:
            raise RuntimeError("this reader has no collector of connection errors")
        return self._reported

    def _is_wanted(self, message: Message, skipped: set[PartitionId]) -> bool:
        """Return True for a record below its partition's end; updates the position.

        Args:
            skipped: partitions whose other messages of this poll are fetched again.
        """
        partition, offset, error = partition_of(message), message.offset() or 0, message.error()
        if partition in skipped:
            return False
        self.at_end = error is not None and error.code() == KafkaError._PARTITION_EOF
        if error is not None and not self.at_end:
            if problem := self._policy(partition[0], error):
                raise problem
            if is_undecodable(error):
                self._skip_batch(partition, offset)
                skipped.add(partition)
            return False
        self._advance(partition, offset if self.at_end else offset + 1)
        end = self._ends.get(partition)
        return not self.at_end and (end is None or offset < end)

    def _advance(self, partition: PartitionId, position: int) -> None:
        self.positions[partition] = position
        end = self._ends.get(partition)
        if end is not None and position >= end:
            self._unread.discard(partition)

    def _look_for_garbage(self, *, is_idle: bool) -> None:
        """Skip batches of garbage: librdkafka fetches them for ever and reports nothing.

        A partition that has not advanced since the last look is a candidate. Its batch is skipped
        only if a separate read from its position fails.

        Args:
            is_idle: True if nothing has arrived.
        """
        before, self._looked_at = self._looked_at, {**self._starts, **self.positions}
        for partition, position in self._looked_at.items():
            if before.get(partition) != position or position < 0:
                continue
            if self._is_endless:
                known = self._consumer.get_watermark_offsets(
                    TopicPartition(*partition), cached=True
                )
                is_behind = known is not None and position < known[1]
            else:
                is_behind = is_idle and partition in self._unread
            if is_behind:
                self._skip_batch(partition, position)
        self._looked = time.monotonic()

    def _skip_batch(self, partition: PartitionId, offset: int) -> None:
        """Continue after a batch that cannot be decoded, which librdkafka fetches for ever."""
        start = max(offset, self.positions.get(partition, 0))
        end = batch_end(self._config, *partition, start)
        if end is None or end == start:
            return
        topic, number = partition
        cause = "they cannot be decoded"
        if end - start > EXACT_OFFSETS:
            cause = (
                f"the first {EXACT_OFFSETS} and the last cannot be decoded, others may be intact"
            )
        # Not a log record: standard output is for records.
        sys.stderr.write(
            f"{topic}[{number}]: {end - start} records from offset {start} on are left out: "
            f"{cause}\n"
        )
        self._consumer.seek(TopicPartition(*partition, end))
        self._advance(partition, end)
        # The search took time in which nothing could arrive.
        self._last_answer = time.monotonic()

    def _check_connection(self, answered: bool) -> None:
        """Raise if the cluster is lost; a topic without new records is silent, too."""
        if self._reported is None:
            return
        is_suspect = self._silence is not None or self._reported.last is not None
        if answered or not is_suspect:
            self._last_answer = time.monotonic()
        silent = time.monotonic() - self._last_answer
        if self._silence is not None:
            if silent > self._silence:
                raise self._reported.unavailable()
            return
        if silent > SILENCE_SECONDS:
            try:
                self._consumer.list_topics(timeout=_REQUEST_SECONDS)
            except KafkaException:
                raise self._reported.unavailable() from None
            self._reported.last = None
        if self._reported.rejected:
            raise self._reported.unavailable()


def _is_answer(message: Message) -> bool:
    """Return True for a record or the end of a partition; errors may repeat without end."""
    error = message.error()
    return error is None or error.code() == KafkaError._PARTITION_EOF


def partition_of(message: Message) -> PartitionId:
    """Return the topic and partition of a record."""
    return message.topic() or "", message.partition() or 0


def headers_of(message: Message) -> Headers:
    """Return the headers of a record, without those whose name is not UTF-8.

    The only safe way to read them: for such a name, confluent-kafka returns a list although an
    exception is set, and the pair in the list has no name. Reading that ends the process.
    """
    try:
        return _headers_method(message) or ()
    except SystemError:
        # `get_referents` finds a single object in a pair without a name.
        intact = [pair for pair in _headers_method(message) if len(get_referents(pair)) == 2]
        message.set_headers(intact)
        return intact
