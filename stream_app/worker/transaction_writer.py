"""Transactions as values: outputs, state and offsets are computed once and kept until they are committed."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from time import monotonic, sleep
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from stream_app.errors import FencedError, KafkaUnavailableError, StreamAppError, TopicsError
from stream_app.kafka.access_errors import missing_right
from stream_app.kafka.client_closing import close_aside
from stream_app.records import InputPartition, Output
from stream_app.worker.membership import Membership
from stream_app.worker.outages import Blocker

CALL_TIMEOUT = 5.0  # seconds that one call of librdkafka may block
DEADLINE = (
    45.0  # seconds after which the writer gives up a transaction: a new producer may do better
)
STOP_SECONDS = 2.0  # that it still has once it is to stop
TOPIC_SECONDS = 1.0  # between two looks at whether a missing topic is there
RECORD_OVERHEAD = 100  # bytes, about what key, headers and framing add to a value
LINGER_MS = (
    500  # longer than transactions usually are: few large batches, which a commit sends at once
)

_OWNERSHIP_LOST = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        90,  # PRODUCER_FENCED, which confluent-kafka does not name
    }
)

_TRANSACTION_IS_OVER = frozenset({KafkaError._STATE, KafkaError._FATAL})
_MISSING = frozenset(
    {KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART}
)
_CHECK = "Check that the brokers are up and reachable"


class TransactionWriter:
    """One transactional producer; the same transactional id elsewhere fences it.

    `config` is a librdkafka configuration, `name_of` turns an output's topic kind into the Kafka topic; `kinds` are
    those that will be written, as far as known.
    Raises FencedError when another owner has taken over or the broker has given the transaction up, TopicsError when a
    topic is missing, KafkaUnavailableError when a deadline has passed; then only another writer can go on.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        transactional_id: str,
        name_of: Callable[[str], str],
        kinds: Iterable[str] = (),
    ) -> None:
        self._producer = Producer(
            {
                **config,
                "transactional.id": transactional_id,
                "linger.ms": LINGER_MS,
                "compression.type": "lz4",
                "retry.backoff.ms": 50,  # with less, librdkafka gives up the search for a coordinator and hangs
                "queue.buffering.max.messages": 200_000,
            }
        )
        self._id = transactional_id
        self._name_of = cache(name_of)
        self._kinds = kinds
        self._outputs: list[Output] = []
        self._open = False
        self._calling: float | None = None  # since when a call is under way
        self._stop_by = float("inf")
        self.trouble: Blocker | None = None
        self.bytes = 0

    def take_over(self) -> None:
        """Fence the previous owner and settle its last transaction."""
        self._until_done(
            lambda: self._producer.init_transactions(CALL_TIMEOUT),
            "start a transactional producer",
            lambda: f"use the transactional id {self._id}",
        )
        for (
            kind
        ) in self._kinds:  # which librdkafka would look up only a second after the first record
            self._await_topic(self._name_of(kind))
        self.trouble = None

    def stop(self) -> None:
        """Give up what cannot be done soon (any thread)."""
        self._stop_by = monotonic() + STOP_SECONDS

    def close(self) -> None:
        """Free the producer; what is not committed is lost."""
        held = [self._producer]
        del self._producer
        close_aside(held.clear)

    def serve(self) -> None:
        """Let librdkafka fetch a token and report errors of the connection, when there is nothing to write."""
        with suppress(KafkaException):  # what is fatal, the next call tells
            self._producer.poll(0)

    def calling_for(self) -> float:
        """Seconds for which the present call has been under way; 0 when there is none (any thread)."""
        since = self._calling
        return 0.0 if since is None else monotonic() - since

    @property
    def pending(self) -> int:
        """Number of records written since the last commit."""
        return len(self._outputs)

    def write(self, outputs: list[Output]) -> None:
        """Add outputs to the open transaction; begins one if there is none."""
        self._begin()
        self._outputs += outputs
        self.bytes += sum(
            [len(value or b"") for _, _, _, value, _ in outputs]
        ) + RECORD_OVERHEAD * len(outputs)
        self._produce(outputs)

    def place(self, output: Output) -> int:
        """Write one output ahead of all others, at once; returns its offset.

        Such a transaction is to be committed by `commit_once`, for produced again it would have another offset.
        """
        placed: list[tuple[KafkaError | None, Message]] = []
        self._begin()
        topic = self._name_of(output.topic)
        self._producer.produce(
            topic,
            output.value,
            output.key,
            output.partition,
            on_delivery=lambda *told: placed.append(told),
        )
        self._producer.flush(CALL_TIMEOUT)
        if not placed:
            raise _unavailable(f"write to {topic}", "no answer")
        error, message = placed[0]
        if error is not None:
            if denied := missing_right(error, f"write to {topic}"):
                raise denied
            _raise_unless_retriable(error, f"write to {topic}")
            raise _unavailable(f"write to {topic}", error.str())
        return message.offset() or 0

    def commit_once(self) -> None:
        """Commit the outputs; if the transaction is aborted, nothing is written and KafkaUnavailableError says why."""
        aborted = self._try_commit([], None)
        self._outputs, self._open, self.bytes = [], False, 0
        if aborted is not None:
            raise aborted

    def abort(self) -> None:
        """Take back what was written since the last commit."""
        self._until_done(
            lambda: self._producer.abort_transaction(CALL_TIMEOUT), "abort a transaction"
        )
        self._outputs, self._open, self.bytes = [], False, 0

    def commit(self, positions: Mapping[InputPartition, int], membership: Membership | None) -> int:
        """Commit the outputs together with the offsets of the inputs; returns how often it was aborted before.

        Without a `membership` there are no offsets, for the outputs say themselves how far it is.
        On an abort everything is produced again.
        """
        started = monotonic()
        aborts = 0
        offsets = [
            TopicPartition(topic, partition, offset)
            for (topic, partition), offset in positions.items()
        ]
        while aborted := self._try_commit(offsets, membership.metadata() if membership else None):
            self._bear(aborted, started)
            aborts += 1
            sleep(0.1)
            self._begin()
            self._produce(self._outputs)
        self._outputs, self._open, self.bytes = [], False, 0
        self.trouble = None
        return aborts

    def _try_commit(
        self, offsets: list[TopicPartition], metadata: bytes | None
    ) -> StreamAppError | None:
        """None when committed; why it was aborted when it is worth another try with the same values."""
        send, commit = self._producer.send_offsets_to_transaction, self._producer.commit_transaction

        def write() -> str:
            return f"write to {_listed(map(self._name_of, {output.topic for output in self._outputs}))}"

        def either() -> str:  # what was refused while records were queued shows here, too
            return f"read {_listed(offset.topic for offset in offsets)} or {write()}"

        try:
            if metadata is not None:
                self._until_done(
                    lambda: send(offsets, metadata, CALL_TIMEOUT),
                    "send offsets to a transaction",
                    either,
                )
            self._until_done(lambda: commit(CALL_TIMEOUT), "commit a transaction", write)
        except _AbortNeededError as why:
            self._until_done(
                lambda: self._producer.abort_transaction(CALL_TIMEOUT), "abort a transaction"
            )
            self._open = False
            return why
        return None

    def _begin(self) -> None:
        if not self._open:
            self._until_done(self._producer.begin_transaction, "begin a transaction")
            self._open = True

    def _produce(self, outputs: list[Output]) -> None:
        """Queue records, without polling, which would hand the interpreter to another thread for every one of them."""
        produce, name_of = self._producer.produce, self._name_of
        for kind, partition, key, value, headers in outputs:
            while True:
                try:
                    if headers:
                        produce(name_of(kind), value, key, partition, headers=list(headers))
                    else:  # to say that there are none takes a fifth of the time
                        produce(name_of(kind), value, key, partition)
                except BufferError:
                    self._producer.poll(0.05)
                    if monotonic() > self._stop_by:
                        raise _unavailable("write", "the queue is full") from None
                except KafkaException as raised:
                    if raised.args[0].code() in _MISSING:
                        raise _missing(name_of(kind)) from None
                    if raised.args[0].code() not in _TRANSACTION_IS_OVER:
                        raise
                    return  # the commit will tell why, and produce everything again or give up
                else:
                    break

    def _until_done(
        self, call: Callable[[], object], what: str, right: Callable[[], str] = str
    ) -> None:
        """Repeat a call of the transactional API while its error is retriable; `right` says what has to be allowed."""
        started = monotonic()
        while True:
            try:
                self._producer.poll(
                    0
                )  # lets it fetch a token, which may take long, and report errors
                self._calling = monotonic()
                call()
            except KafkaException as raised:
                error = raised.args[0]
                if denied := missing_right(error, right() or what):
                    raise denied from None
                _raise_unless_retriable(error, what)
                self._bear(_unavailable(what, error.str()), started)
                sleep(0.02)
            else:
                return
            finally:
                self._calling = None

    def _bear(self, error: StreamAppError, since: float) -> None:
        """Note what is in the way; raise it when there is no time left."""
        self.trouble = Blocker.of(error, since)
        if monotonic() > min(since + DEADLINE, self._stop_by):
            raise error

    def _await_topic(self, topic: str) -> None:
        """Wait while it is certain that there is no such topic; what else is wrong, the first transaction tells."""
        since = monotonic()
        while self._is_missing(topic):
            self.trouble = Blocker.of(_missing(topic), since)
            if monotonic() > self._stop_by:
                raise _missing(topic)
            sleep(TOPIC_SECONDS)

    def _is_missing(self, topic: str) -> bool:
        with suppress(KafkaException):
            error = self._producer.list_topics(topic, CALL_TIMEOUT).topics[topic].error
            return error is not None and error.code() in _MISSING
        return False


class _AbortNeededError(KafkaUnavailableError):
    """librdkafka asks for the transaction to be aborted."""


def _raise_unless_retriable(error: KafkaError, what: str) -> None:
    if error.code() in _OWNERSHIP_LOST:
        raise FencedError(
            f"could not {what}: {error.str()}",
            "Another worker owns this partition now; this one starts over (check that no two share an --instance)",
        )
    if error.txn_requires_abort():
        raise _AbortNeededError(f"could not {what}: {error.str()}", _CHECK)
    if not error.retriable():
        raise _unavailable(what, f"{error.name()}: {error.str()}")


def _missing(topic: str) -> TopicsError:
    return TopicsError(
        f"Topic {topic} is missing", "Make it anew: `stream-app topics create PIPELINE`"
    )


def _listed(topics: Iterable[str]) -> str:
    return ", ".join(sorted(set(topics)))


def _unavailable(what: str, why: str) -> KafkaUnavailableError:
    return KafkaUnavailableError(f"could not {what}: {why}", _CHECK)
