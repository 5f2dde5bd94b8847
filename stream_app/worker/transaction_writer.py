"""Transactional writer: outputs, state and offsets are computed once and kept until committed."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from struct import pack
from time import monotonic, sleep
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from stream_app.errors import FencedError, KafkaUnavailableError, StreamAppError, TopicsError
from stream_app.kafka.access_errors import missing_right
from stream_app.kafka.clients import ONE_IN_FLIGHT, ClientOwner, make_transactional_producer
from stream_app.records import InputPartition, Output
from stream_app.retrying import NEVER, retry_until, wait_until
from stream_app.topic_kinds import TopicKind
from stream_app.worker.outages import Blocker

# Time for librdkafka's threads to begin to send.
SEND_SECONDS = 0.001
# Limit of one call of librdkafka.
CALL_TIMEOUT = 5.0
# The writer gives up a transaction after this time: a new producer may succeed.
DEADLINE_SECONDS = 45.0
# Time for the last commit of a writer that is stopped.
STOP_SECONDS = 2.0
RETRY_SECONDS = 0.02
ABORT_RETRY_SECONDS = 0.1
MISSING_TOPIC_SECONDS = 1.0
# Approximate size of key, headers and framing of a record.
RECORD_OVERHEAD_BYTES = 100
PRODUCER_CONFIG: Mapping[str, Any] = {
    **ONE_IN_FLIGHT,
    # Longer than most transactions: few large batches, which a commit sends at once.
    "linger.ms": 500,
    "compression.type": "lz4",
    "queue.buffering.max.messages": 200_000,
    # With 5 ms and no maximum, librdkafka gives up its search for a coordinator and hangs.
    "retry.backoff.ms": 5,
    "retry.backoff.max.ms": 100,
}

# PRODUCER_FENCED, which confluent-kafka does not name.
_PRODUCER_FENCED = 90
_OWNERSHIP_LOST = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        _PRODUCER_FENCED,
    }
)
_TRANSACTION_OVER = frozenset({KafkaError._STATE, KafkaError._FATAL})
_MISSING_TOPIC = frozenset(
    {KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART}
)
# Kinds of which a scorer says from which offset a watermark holds.
_NOTED_KINDS: frozenset[TopicKind] = frozenset({"scored", "examples"})
_CHECK_BROKERS = "Check that the brokers are up and reachable"


DeliveryReport = Callable[[KafkaError | None, Message], None]


class Membership(NamedTuple):
    """Membership in a consumer group, by which the broker fences commits of a previous owner.

    Attributes:
        instance: static instance id, None for a dynamic member.
    """

    group: str
    generation: int
    member: str
    instance: str | None

    def metadata(self) -> bytes:
        """Return librdkafka's consumer group metadata (format version 2)."""
        instance = b"\1" if self.instance is None else b"\0" + self.instance.encode() + b"\0"
        return (
            b"CGMDv2:"
            + pack("=i", self.generation)
            + self.group.encode()
            + b"\0"
            + self.member.encode()
            + b"\0"
            + instance
        )


class TransactionWriter:
    """Writer with one transactional producer; another with the same transactional id fences it.

    Args:
        config: configuration of librdkafka.
        name_of: returns the Kafka topic of a topic kind.
        kinds: topic kinds that will be written, as far as known.

    Attributes:
        blocker: reason why a call does not succeed, or None. Thread-safe.
        bytes: approximate size of the records written since the last commit.
        last_offsets: offsets of the last scored record and example written, by kind and partition
            of the topic; complete after a commit.

    Raises:
        FencedError: another owner took over, or the broker aborted the transaction.
        TopicsError: a topic is missing.
        KafkaUnavailableError: the deadline has passed; only another writer can continue.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        transactional_id: str,
        name_of: Callable[[TopicKind], str],
        kinds: Iterable[TopicKind] = (),
    ) -> None:
        self._config = {**config, **PRODUCER_CONFIG, "transactional.id": transactional_id}
        # Created by `take_over`: without a token that takes long, or fails.
        self._owner: ClientOwner[Producer] | None = None
        self._id = transactional_id
        self._name_of = cache(name_of)
        self._kinds = kinds
        self._outputs: list[Output] = []
        self._open = False
        # Start of the current call, and limit of all calls, in monotonic seconds.
        self._call_started: float | None = None
        self._stop_by = NEVER
        self._abandoned = False
        self.blocker: Blocker | None = None
        self.bytes = 0
        self.last_offsets: dict[tuple[TopicKind, int], int] = {}

    @property
    def _producer(self) -> Producer:
        if self._owner is None:
            self._owner = ClientOwner(make_transactional_producer(self._config))
        return self._owner.client

    def take_over(self) -> None:
        """Fence the previous owner, end its last transaction, and wait for missing topics.

        Any thread may use or close the writer afterwards.
        """
        try:
            self._repeat(
                lambda: self._producer.init_transactions(CALL_TIMEOUT),
                "start a transactional producer",
                lambda: f"use the transactional id {self._id}",
            )
            # Looked up now: librdkafka would do so only a second after the first record.
            for kind in self._kinds:
                self._await_topic(self._name_of(kind))
            self.blocker = None
        finally:
            if self._owner is not None:
                self._owner.hand_over()

    def stop(self) -> None:
        """Give up calls that do not succeed soon. Thread-safe."""
        self._stop_by = monotonic() + STOP_SECONDS

    def abandon(self) -> None:
        """Make the current call, which may hang, the last one. Thread-safe.

        If it returns, it raises `FencedError`, whatever its result: a successor has taken over.
        """
        self._abandoned = True
        self.stop()

    def close(self) -> None:
        """Free the producer; what is not committed is lost."""
        if self._owner is not None:
            self._owner.close_in_background()

    def serve(self) -> None:
        """Let librdkafka fetch a token and report connection errors while nothing is written."""
        # The next call raises a fatal error again.
        with suppress(KafkaException):
            self._producer.poll(0)

    def send(self) -> None:
        """Send queued records now, without waiting until all are sent."""
        # The commit raises errors.
        with suppress(KafkaException):
            self._producer.flush(SEND_SECONDS)

    def call_seconds(self) -> float:
        """Return the duration of the current call, 0 if there is none. Thread-safe."""
        started = self._call_started
        return 0.0 if started is None else monotonic() - started

    @property
    def pending(self) -> int:
        """Number of records written since the last commit."""
        return len(self._outputs)

    def write(self, outputs: list[Output]) -> None:
        """Add outputs to the open transaction; begins one if there is none."""
        self._begin()
        self._outputs += outputs
        values = sum([len(value or b"") for _, _, _, value, _ in outputs])
        self.bytes += values + RECORD_OVERHEAD_BYTES * len(outputs)
        self._produce(outputs)

    def write_first(self, output: Output) -> int:
        """Write one output before all others, immediately; returns its offset.

        Commit such a transaction with `commit_once`: produced again, it would get another offset.
        """
        delivered: list[tuple[KafkaError | None, Message]] = []
        self._begin()
        topic = self._name_of(output.topic)
        self._producer.produce(
            topic,
            output.value,
            output.key,
            output.partition,
            on_delivery=lambda *report: delivered.append(report),
        )
        self._producer.flush(CALL_TIMEOUT)
        if not delivered:
            raise _unavailable(f"write to {topic}", "no answer")
        error, message = delivered[0]
        if error is not None:
            if denied := missing_right(error, f"write to {topic}"):
                raise denied
            _raise_unless_retriable(error, f"write to {topic}")
            raise _unavailable(f"write to {topic}", error.str())
        return message.offset() or 0

    def commit_once(self) -> None:
        """Commit the outputs without retrying an abort.

        Raises:
            KafkaUnavailableError: the transaction was aborted, and nothing was written.
        """
        aborted = self._try_commit([], None)
        self._clear()
        if aborted is not None:
            raise aborted

    def abort(self) -> None:
        """Abort the open transaction, if there is one."""
        if self._open:
            self._abort()
        self._clear()

    def commit(
        self,
        positions: Mapping[InputPartition, int],
        membership: Membership | None,
        metadata: Mapping[InputPartition, str] | None = None,
    ) -> int:
        """Commit the outputs together with the offsets of the inputs.

        After an abort, everything is produced again. Any thread may use or close the writer
        afterwards.

        Args:
            positions: next offset of each input.
            membership: None to commit no offsets.
            metadata: metadata of offsets that have some.

        Returns:
            Number of aborts before the commit.
        """
        try:
            return self._commit(positions, membership, metadata or {})
        finally:
            if self._owner is not None:
                self._owner.hand_over()

    def _commit(
        self,
        positions: Mapping[InputPartition, int],
        membership: Membership | None,
        texts: Mapping[InputPartition, str],
    ) -> int:
        started = monotonic()
        aborts = 0
        offsets = [
            TopicPartition(*source, offset, texts.get(source, ""))
            for source, offset in positions.items()
        ]
        group = membership.metadata() if membership else None
        while aborted := self._try_commit(offsets, group):
            self._record_blocker(aborted, started)
            aborts += 1
            sleep(ABORT_RETRY_SECONDS)
            self._begin()
            self._produce(self._outputs)
        self._clear()
        self.blocker = None
        return aborts

    def _clear(self) -> None:
        self._outputs, self._open, self.bytes = [], False, 0

    def _try_commit(
        self, offsets: list[TopicPartition], metadata: bytes | None
    ) -> StreamAppError | None:
        """Return None once committed, or the reason of an abort after which a retry may succeed."""

        def write() -> str:
            topics = map(self._name_of, {output.topic for output in self._outputs})
            return f"write to {_listed(topics)}"

        # A right that was missing for queued records is reported here as well.
        def read_or_write() -> str:
            return f"read {_listed(offset.topic for offset in offsets)} or {write()}"

        try:
            if metadata is not None:
                self._repeat(
                    lambda: self._send_offsets(offsets, metadata),
                    "send offsets to a transaction",
                    read_or_write,
                )
            self._repeat(self._commit_transaction, "commit a transaction", write)
        except _AbortNeededError as why:
            self._abort()
            self._open = False
            return why
        return None

    # Fault tests let these two hang after librdkafka has returned.

    def _send_offsets(self, offsets: list[TopicPartition], metadata: bytes) -> None:
        self._producer.send_offsets_to_transaction(offsets, metadata, CALL_TIMEOUT)

    def _commit_transaction(self) -> None:
        self._producer.commit_transaction(CALL_TIMEOUT)

    def _abort(self) -> None:
        self._repeat(lambda: self._producer.abort_transaction(CALL_TIMEOUT), "abort a transaction")

    def _begin(self) -> None:
        if not self._open:
            self._repeat(self._producer.begin_transaction, "begin a transaction")
            self._open = True

    def _produce(self, outputs: list[Output]) -> None:
        """Queue records without polling, which would release the interpreter lock for each."""
        produce, name_of = self._producer.produce, self._name_of
        reports = self._delivery_reports(outputs)
        for number, (kind, partition, key, value, headers) in enumerate(outputs):
            report = reports.get(number)
            while True:
                try:
                    # Passing an empty list of headers takes a fifth of the time.
                    if headers:
                        produce(
                            name_of(kind),
                            value,
                            key,
                            partition,
                            report,
                            headers=list(headers),
                        )
                    elif report is not None:
                        produce(name_of(kind), value, key, partition, report)
                    else:
                        produce(name_of(kind), value, key, partition)
                except BufferError:
                    self._producer.poll(0.05)
                    if monotonic() > self._stop_by:
                        raise _unavailable("write", "the queue is full") from None
                except KafkaException as raised:
                    if raised.args[0].code() in _MISSING_TOPIC:
                        raise _missing_topic(name_of(kind)) from None
                    if denied := missing_right(raised.args[0], f"write to {name_of(kind)}"):
                        raise denied from None
                    if raised.args[0].code() not in _TRANSACTION_OVER:
                        raise
                    # The commit raises the reason, and produces everything again or gives up.
                    return
                else:
                    break

    def _delivery_reports(self, outputs: list[Output]) -> dict[int, DeliveryReport]:
        """Return functions that note the last offset of each partition, by index of the output."""
        last = {
            (kind, partition): number
            for number, (kind, partition, _, _, _) in enumerate(outputs)
            if kind in _NOTED_KINDS
        }
        return {number: self._note_offset(key) for key, number in last.items()}

    def _note_offset(self, key: tuple[TopicKind, int]) -> DeliveryReport:
        def note(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self.last_offsets[key] = message.offset() or 0

        return note

    def _repeat(
        self, call: Callable[[], object], action: str, right: Callable[[], str] = str
    ) -> None:
        """Repeat a call of the transactional API while its error is retriable.

        Args:
            right: returns the action that the missing right allows, empty for `action`.
        """
        started = monotonic()

        def timed_call() -> None:
            self._check_successor()
            try:
                # Fetches a token, which may take long, and reports connection errors.
                self._producer.poll(0)
                self._call_started = monotonic()
                call()
            finally:
                self._call_started = None
            self._check_successor()

        def is_retriable(raised: KafkaException) -> bool:
            error = raised.args[0]
            if denied := missing_right(error, right() or action):
                raise denied from None
            _raise_unless_retriable(error, action)
            self._record_blocker(_unavailable(action, error.str()), started)
            return True

        retry_until(NEVER, timed_call, KafkaException, is_retriable, RETRY_SECONDS)

    def _check_successor(self) -> None:
        if self._abandoned:
            raise FencedError(
                "a call of librdkafka did not return in time, so the task was replaced",
                "No action needed: its successor continues at the committed offsets",
            )

    def _record_blocker(self, error: StreamAppError, since: float) -> None:
        """Record the blocking error; raises it once the deadline has passed."""
        self.blocker = Blocker.of(error, since)
        if monotonic() > min(since + DEADLINE_SECONDS, self._stop_by):
            raise error

    def _await_topic(self, topic: str) -> None:
        """Wait while a topic is certainly missing; the first transaction raises other errors."""
        since = monotonic()

        def exists() -> bool:
            if not self._is_missing(topic):
                return True
            self.blocker = Blocker.of(_missing_topic(topic), since)
            if monotonic() > self._stop_by:
                raise _missing_topic(topic)
            return False

        wait_until(NEVER, exists, MISSING_TOPIC_SECONDS)

    def _is_missing(self, topic: str) -> bool:
        with suppress(KafkaException):
            error = self._producer.list_topics(topic, CALL_TIMEOUT).topics[topic].error
            return error is not None and error.code() in _MISSING_TOPIC
        return False


class _AbortNeededError(KafkaUnavailableError):
    """librdkafka requires the transaction to be aborted."""


def _raise_unless_retriable(error: KafkaError, action: str) -> None:
    if error.code() in _OWNERSHIP_LOST:
        raise FencedError(
            f"could not {action}: {error.str()}",
            "Another worker owns this partition now; this one restarts "
            "(check that no two workers share an --instance)",
        )
    if error.txn_requires_abort():
        raise _AbortNeededError(f"could not {action}: {error.str()}", _CHECK_BROKERS)
    if not error.retriable():
        raise _unavailable(action, f"{error.name()}: {error.str()}")


def _missing_topic(topic: str) -> TopicsError:
    return TopicsError(
        f"Topic {topic} is missing", "Create it again: `stream-app topics create PIPELINE`"
    )


def _listed(topics: Iterable[str]) -> str:
    return ", ".join(sorted(set(topics)))


def _unavailable(action: str, why: str) -> KafkaUnavailableError:
    return KafkaUnavailableError(f"could not {action}: {why}", _CHECK_BROKERS)
