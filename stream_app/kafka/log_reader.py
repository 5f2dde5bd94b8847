"""Reading topics plainly: whole, by range, and their ends; always read_committed, never in a group."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from time import monotonic
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from stream_app.errors import KafkaUnavailableError
from stream_app.kafka.access_errors import failure
from stream_app.kafka.client_closing import close_aside
from stream_app.kafka.stable_offsets import is_settled
from stream_app.records import InputPartition, Record
from stream_app.retrying import retry_until

CALL_TIMEOUT = 10.0  # seconds
DEADLINE = 30.0  # seconds that a passing error may last
RETRY_SECONDS = 0.1
SETTLED_SECONDS = 45.0  # longer than brokers let a transaction of a dead worker stay open
FETCH = 5000  # records a call

_PASSING = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._UNKNOWN_PARTITION,
    }
)
T = TypeVar("T")


class LogReader:
    """Reads partitions; `config` is a librdkafka configuration, `group` the one whose offsets `committed` tells."""

    def __init__(self, config: Mapping[str, Any], group: str) -> None:
        self._config = {
            **config,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
        }
        self._offsets = Consumer(self._config)
        self._asked = [self._offsets]

    def serve(self) -> None:
        """Let librdkafka fetch a token and report errors of the connection (any thread)."""
        for consumer in self._asked:
            consumer.poll(0)

    def committed(self, inputs: list[InputPartition]) -> dict[InputPartition, int]:
        """The group's offsets, -1 where it has none."""
        asked = [TopicPartition(topic, partition) for topic, partition in inputs]
        answers = self._ask(
            lambda: self._offsets.committed(asked, timeout=CALL_TIMEOUT), "read the group's offsets"
        )
        return {
            InputPartition(answer.topic, answer.partition): max(answer.offset, -1)
            for answer in answers
        }

    def ends(self, source: InputPartition) -> tuple[int, int]:
        """First offset still there, and the one after the last that is stable."""
        partition = TopicPartition(*source)
        call = self._offsets.get_watermark_offsets
        what = f"read the ends of {source.topic}"
        low, high = self._ask(lambda: call(partition, timeout=CALL_TIMEOUT, cached=False), what)
        return low, high

    def read_all(self, topic: str, partition: int) -> Iterator[tuple[bytes | None, bytes | None]]:
        """Key and value of every record up to the present stable end."""
        for record in self.read_range(
            topic, partition, *self.ends(InputPartition(topic, partition))
        ):
            yield record.key, record.value

    def read_settled(
        self, topic: str, partition: int
    ) -> Iterator[tuple[bytes | None, bytes | None]]:
        """As `read_all`, once no transaction is open that began before: what it hides may have been committed."""
        if not self.is_settled(InputPartition(topic, partition), SETTLED_SECONDS):
            reason = (
                f"a transaction on {topic}[{partition}] has been open for {SETTLED_SECONDS:.0f} s"
            )
            raise KafkaUnavailableError(
                reason, "Check that the brokers are up; they end it after its time-out"
            )
        return self.read_all(topic, partition)

    def is_settled(self, source: InputPartition, patience: float) -> bool:
        """Whether nothing that is written to a partition now is in an open transaction, within `patience` seconds."""
        call, what = self._uncommitted.get_watermark_offsets, f"read the ends of {source.topic}"
        _, written = self._ask(
            lambda: call(TopicPartition(*source), timeout=CALL_TIMEOUT, cached=False), what
        )
        return is_settled(lambda: self.ends(source)[1], written, patience)

    def read_range(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """The committed records with start <= offset < end."""
        consumer = Consumer(self._config)
        try:
            consumer.assign([TopicPartition(topic, partition, start)])
            while True:
                for message in consumer.consume(
                    FETCH, timeout=0.02
                ):  # which waits so long unless it gets as many
                    error = message.error()
                    if error is None and (message.offset() or 0) < end:
                        yield as_record(message)
                    elif error is None or (
                        error.code() == KafkaError._PARTITION_EOF and message.offset() >= end
                    ):
                        return
                    elif error.code() != KafkaError._PARTITION_EOF and not error.retriable():
                        raise failure(error, f"read {topic}")
                if consumer.position([TopicPartition(topic, partition)])[0].offset >= end:
                    return
        finally:
            close_aside(consumer.close)

    @cached_property
    def _uncommitted(self) -> Consumer:
        consumer = Consumer({**self._config, "isolation.level": "read_uncommitted"})
        self._asked.append(consumer)
        return consumer

    def _ask(self, call: Callable[[], T], what: str) -> T:
        """The answer, asked for again while the error is a passing one, as just after a topic was created."""

        def asked() -> T:
            self.serve()
            return call()

        def is_retriable(error: KafkaException) -> bool:
            reason = error.args[0]
            return reason.retriable() or reason.code() in _PASSING

        deadline = monotonic() + DEADLINE
        try:
            return retry_until(deadline, asked, KafkaException, is_retriable, RETRY_SECONDS)
        except KafkaException as error:
            raise failure(error.args[0], what) from None


def as_record(message: Any) -> Record:
    """A message of librdkafka as the core takes it."""
    _, timestamp = message.timestamp()
    return Record(
        message.topic(), message.partition(), message.offset(), timestamp, message.key(), message.value(),
        tuple(message.headers() or ()),
    )  # fmt: skip
