"""Admin client for dead letters: connections, and transactional writes of ledger and audit."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple

from stream_app.core.monitoring.audit_entry import AuditEntry
from stream_app.dead_letters.dry_run import read_partition_counts
from stream_app.dead_letters.ledger import (
    DeadLetterOffsets,
    Ledger,
    LedgerRecord,
    Operation,
    operation_records,
    partition_key,
)
from stream_app.errors import FencedError, SelectionError, StreamAppError
from stream_app.kafka.clients import ConnectionErrors, client_config
from stream_app.kafka.offsets import VISIBLE_SECONDS, OffsetBounds, open_transaction
from stream_app.kafka.partition_reader import PartitionReader
from stream_app.kafka.retrying_reader import RetryingReader
from stream_app.kafka.topic_uses import group_name, member_name
from stream_app.records import ENVELOPE_BYTES, InputPartition, Output
from stream_app.settings import Settings
from stream_app.telemetry.logs import get_logger, log_audit_entries
from stream_app.topic_kinds import TopicKind, topic_name
from stream_app.worker.roles.ingest_state import load_states
from stream_app.worker.transaction_writer import TransactionWriter

log = get_logger(__name__)

OUTCOME_TOPICS: tuple[TopicKind, ...] = ("scored", "raw.dlq", "labels.dlq")
"""Topics to which scorers and `ingest` write the outcomes of replayed records."""

_REQUIRED_TOPICS: tuple[TopicKind, ...] = ("raw.replay", "audit", "replays")

# The transaction of a crashed command delays readers of its topics for at most this time.
_TRANSACTION_MS = 30_000

# Time in which the broker notices that a transaction has timed out.
_GRACE_SECONDS = 15.0

# A larger batch is sent while the next records are prepared.
_BATCH_BYTES = 100_000


class PlannedOperation(NamedTuple):
    """Operation to write, its dead letters, and the counts of its audit entry."""

    operation: Operation
    offsets: DeadLetterOffsets
    counts: Mapping[str, int]


class DeadLetterAdmin:
    """Reads and writes the ledger of one pipeline.

    Attributes:
        settings: settings of the connections.
        name: name of the pipeline.
        config: librdkafka configuration of the connections.
        partitions: number of partitions of the pipeline's topics.
        reader: reader of topics, and of the offsets that the scorers have committed.

    Raises:
        TopicsError: a topic is missing.
        AccessError: a topic may not be read.
        KafkaUnavailableError: the cluster does not answer.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.name = name
        config = client_config(settings)
        errors = ConnectionErrors(config["bootstrap.servers"], settings.kafka)
        self.config: dict[str, Any] = {**config, "error_cb": errors}
        self._errors = errors
        self._counting = self.open_reader()
        topics = [self.topic(kind) for kind in _REQUIRED_TOPICS]
        partitions = self._counting.find_partitions(topics)
        self.partitions = sum(topic == self.topic("raw.replay") for topic, _ in partitions)
        self.reader = RetryingReader(self.config, group_name(name, "score"))
        self._ledger_partition = InputPartition(self.topic("replays"), 0)

    @cached_property
    def ingest_reader(self) -> RetryingReader:
        """Reader of topics, and of the offsets that `ingest` has committed."""
        return RetryingReader(self.config, group_name(self.name, "ingest"))

    def require(self, kinds: Iterable[TopicKind]) -> None:
        """Raise `TopicsError` if a topic is missing."""
        self._counting.find_partitions([self.topic(kind) for kind in sorted(kinds)])

    def topic(self, kind: TopicKind) -> str:
        """Return the full name of one of the pipeline's topics."""
        return topic_name(self.name, kind)

    def count_records(self, bounds: OffsetBounds) -> int:
        """Return the number of records within offset ranges, without transaction markers."""
        return sum(map(len, self._counting.batches(bounds)))

    def open_reader(self) -> PartitionReader:
        """Return a reader of its own for the caller, who closes it."""
        return PartitionReader(self.config, errors=self._errors)

    def ledger(self, *, stable: bool = False) -> Ledger:
        """Return the present ledger.

        Args:
            stable: wait first until no open transaction hides records that were written before.

        Raises:
            FencedError: a transaction stays open too long.
        """
        patience = _TRANSACTION_MS / 1000 + _GRACE_SECONDS
        if stable and not self.reader.wait_until_stable(self._ledger_partition, patience):
            raise open_transaction(self._ledger_partition.topic)
        return Ledger.read(self.reader, self.name)

    def outcome_ends(self) -> dict[str, int]:
        """Return the end offsets of `OUTCOME_TOPICS` by "kind/partition", once they are stable."""
        return {
            partition_key(kind, number): self.reader.visible_end(
                InputPartition(self.topic(kind), number)
            )
            for kind in OUTCOME_TOPICS
            for number in range(self.partitions)
        }

    def retrying_events(self) -> int:
        """Return the number of events of the pipeline that wait for another attempt."""
        counts = read_partition_counts(self.settings, self.name)
        return sum(one.counts.retrying for one in counts.values())

    def counted_outcomes(self, *, with_ingest: bool) -> Mapping[str, Counter[str]]:
        """Return outcomes by replay that the workers count: see `ReplayedRecords`.

        Args:
            with_ingest: True if `ingest` has read replayed records.
        """
        counts = read_partition_counts(self.settings, self.name)
        states = [one.replayed_labels for one in counts.values()]
        if with_ingest:
            read = load_states(self.ingest_reader, self.topic("ingest.state"))
            states += [state.get("replays", {}) for state in read.values()]
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for state in states:
            for replay_id, outcomes in state.items():
                found[replay_id].update(outcomes)
        return found

    def writer(self, transactional_id: str) -> TransactionWriter:
        """Return a writer, which fences the previous one with the same id."""
        max_bytes = self.settings.topics.max_message_bytes
        config = {
            **self.config,
            "transaction.timeout.ms": _TRANSACTION_MS,
            "message.max.bytes": max_bytes + 2 * ENVELOPE_BYTES,
            "batch.size": min(_BATCH_BYTES, max_bytes),
        }
        writer = TransactionWriter(config, transactional_id, self.topic)
        writer.take_over()
        return writer

    def transact(self, plan: Callable[[Ledger], list[PlannedOperation]]) -> Ledger:
        """Write the operations that `plan` derives from the ledger, in one transaction.

        Fencing serializes operators: the writer is created before the ledger is read, so a
        concurrent operator's transaction is either visible in the ledger or fenced.

        Returns:
            The ledger from which the operations were derived.

        Raises:
            FencedError: another operator wrote at the same time.
        """
        try:
            writer = self.writer(member_name(self.name, "replayer", "ledger"))
            ledger = self.ledger(stable=True)
            planned = plan(ledger)
            if planned:
                audits = self.write_operations(writer, planned)
                writer.commit({}, None)
        except FencedError:
            raise FencedError(
                "Another operator changed the state of dead letters at the same time",
                "Check the present state, and repeat the command if it is still needed",
            ) from None
        if planned:
            log_audits(audits)
            # The transaction is committed, whether or not the cluster still answers. Waiting until
            # it is visible lets the next command see it.
            with suppress(StreamAppError):
                self.reader.wait_until_stable(self._ledger_partition, VISIBLE_SECONDS)
        return ledger

    def write_operations(
        self, writer: TransactionWriter, planned: list[PlannedOperation]
    ) -> list[Output]:
        """Add operations and their audit entries to a transaction; returns the audit entries.

        Raises:
            SelectionError: the offsets of an operation do not fit into one record.
        """
        outputs = [
            ledger_output(record)
            for one in planned
            for record in operation_records(one.operation, one.offsets)
        ]
        limit = self.settings.topics.max_message_bytes + ENVELOPE_BYTES // 2
        if any(len(output.value or b"") > limit for output in outputs):
            raise SelectionError(
                "The operation has too many dead letters for one record",
                "Select fewer, e.g. with --until",
            )
        audits = [audit_entry(one.operation, one.counts).output(self.name) for one in planned]
        writer.write(outputs + audits)
        return audits


def ledger_output(record: LedgerRecord) -> Output:
    """Return a record of the ledger as an output."""
    key, value = record
    return Output("replays", 0, key, value)


def audit_entry(operation: Operation, counts: Mapping[str, int]) -> AuditEntry:
    """Return the audit entry of an operation."""
    options = {name: str(option) for name, option in operation.shown_options.items()}
    return AuditEntry(
        operation.kind,
        operation.at,
        operation.who,
        operation.what,
        operation.why,
        identity=operation.id,
        counts=counts,
        options=options,
    )


def log_audits(outputs: list[Output]) -> None:
    """Log audit entries of operations on dead letters."""
    log_audit_entries(log, "dead letters", outputs)
