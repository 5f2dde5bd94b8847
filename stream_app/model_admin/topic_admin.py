"""Client that reads topics of a pipeline with one partition each, and writes decisions to them."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from confluent_kafka import Message

from stream_app.errors import StreamAppError
from stream_app.fault_points import kill_at
from stream_app.kafka.clients import ConnectionErrors, client_config
from stream_app.kafka.offsets import VISIBLE_SECONDS, open_transaction, wait_until_stable
from stream_app.kafka.partition_reader import SILENCE_SECONDS, PartitionReader
from stream_app.kafka.topic_uses import group_name, member_name
from stream_app.records import ENVELOPE_BYTES, Output
from stream_app.settings import Settings
from stream_app.telemetry.logs import get_logger, log_audit_entries
from stream_app.topic_kinds import TopicKind, topic_name
from stream_app.worker.transaction_writer import TransactionWriter

log = get_logger(__name__)

# An open transaction of a command that died blocks the readers of these topics until this timeout.
_TRANSACTION_MS = 10_000
# Time in which the broker aborts a transaction after its timeout.
_ABORT_SECONDS = 15.0


class TopicAdmin:
    """Admin client for topics of one pipeline; each has one partition.

    It is not closed, because librdkafka takes up to a second to close a connection.

    Args:
        settings: address and security of the cluster.
        name: name of the pipeline.
        user: "model-admin" or "alarm-admin", which has transactional ids of its own.
        subject: what its decisions are about, for the log.
        kinds: topics that it uses.

    Raises:
        TopicsError: a topic does not exist.
        AccessError: this user may not read the topics, also raised by every method.
        KafkaUnavailableError: the cluster does not answer, also raised by every method.
    """

    def __init__(
        self, settings: Settings, name: str, user: str, subject: str, kinds: tuple[TopicKind, ...]
    ) -> None:
        self.settings = settings
        self.name = name
        self._user = user
        self._subject = subject
        self._kinds = kinds
        config = client_config(settings)
        self._errors = ConnectionErrors(config["bootstrap.servers"], settings.kafka)
        self._config: dict[str, Any] = {**config, "error_cb": self._errors}
        self._uncommitted_reader = PartitionReader(
            config, errors=self._errors, isolation_level="read_uncommitted"
        )
        self._reader = PartitionReader(
            config, group_name(name, "learn"), errors=self._errors, silence=SILENCE_SECONDS
        )
        self._writers: list[TransactionWriter] = []
        self._reader.find_partitions([self.topic(kind) for kind in kinds])

    def topic(self, kind: TopicKind) -> str:
        """Return the full name of one of the pipeline's topics."""
        return topic_name(self.name, kind)

    def ends(self, kind: TopicKind) -> tuple[int, int]:
        """Return the beginning offset and the last stable offset of a topic."""
        partition_id = (self.topic(kind), 0)
        return self._reader.bounds([partition_id])[partition_id]

    def read(self, kind: TopicKind, start: int, end: int) -> Iterator[Message]:
        """Yield the records of a topic with start <= offset < end."""
        return self._reader.records({(self.topic(kind), 0): (start, end)})

    def read_all(self, kind: TopicKind) -> Iterator[tuple[bytes | None, bytes | None]]:
        """Yield key and value of all records of a topic up to its present end."""
        return ((message.key(), message.value()) for message in self.read(kind, *self.ends(kind)))

    def wait_until_complete(self, kind: TopicKind) -> None:
        """Wait until no open transaction hides a record of a topic that was written before.

        Raises:
            FencedError: a transaction stays open.
        """
        if not self._wait_until_stable(kind, _TRANSACTION_MS / 1000 + _ABORT_SECONDS):
            raise open_transaction(self.topic(kind))

    def write(self, make: Callable[[], list[Output]]) -> None:
        """Write a decision in one transaction, which fences concurrent ones.

        Args:
            make: returns the records to write; may reject the decision by raising.

        Raises:
            FencedError: somebody else decided at the same time.
        """
        writer = self._writer()
        kill_at("decision-begun")
        outputs = make()
        writer.write(outputs)
        kill_at("decision-written")
        writer.commit({}, None)
        self._committed(outputs)

    def _wait_until_stable(self, kind: TopicKind, seconds: float) -> bool:
        """Return True once all records written so far are stable, False if they are not in time."""
        partition_id = (self.topic(kind), 0)
        _, written = self._uncommitted_reader.bounds([partition_id])[partition_id]
        return wait_until_stable(lambda: self.ends(kind)[1], written, seconds)

    def _committed(self, outputs: list[Output]) -> None:
        """Log the decision, and wait until later readers can see it."""
        kill_at("decision-committed")
        log_audit_entries(log, self._subject, outputs)
        # The decision stands even if the cluster does not answer any more.
        with suppress(StreamAppError):
            for kind in self._kinds:
                self._wait_until_stable(kind, VISIBLE_SECONDS)

    def _writer(self) -> TransactionWriter:
        """Return a writer that has fenced earlier ones."""
        config = {
            **self._config,
            "transaction.timeout.ms": _TRANSACTION_MS,
            "message.max.bytes": self.settings.topics.max_message_bytes + 2 * ENVELOPE_BYTES,
        }
        transactional_id = member_name(self.name, self._user, "decisions")
        writer = TransactionWriter(config, transactional_id, self.topic, self._kinds)
        self._writers.append(writer)
        writer.take_over()
        return writer
