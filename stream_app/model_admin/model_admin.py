"""Admin client for models: reads registry, log and audit of a pipeline, and writes decisions.

Garbage collection deletes the artifacts that no version or checkpoint names, as left by crashes.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Message

from stream_app.core.monitoring.audit_entry import AuditEntry
from stream_app.errors import FencedError, ModelError, StreamAppError
from stream_app.fault_points import kill_at
from stream_app.kafka.clients import ConnectionErrors, client_config
from stream_app.kafka.offsets import VISIBLE_SECONDS, open_transaction, wait_until_stable
from stream_app.kafka.partition_reader import SILENCE_SECONDS, PartitionReader
from stream_app.kafka.topic_uses import group_name, member_name
from stream_app.model_store.artifacts import Artifact, ArtifactStore
from stream_app.model_store.manifest import CHECKPOINT_KEY, Checkpoint
from stream_app.model_store.model_registry import ModelRegistry, Reason
from stream_app.records import ENVELOPE_BYTES, Output
from stream_app.settings import Settings
from stream_app.status.pipeline_view import RegistryReader
from stream_app.telemetry.logs import get_logger, log_audit_entries
from stream_app.topic_kinds import TopicKind, topic_name
from stream_app.worker.transaction_writer import TransactionWriter

log = get_logger(__name__)

_USED: tuple[TopicKind, ...] = ("models", "examples", "audit")
# An open transaction of a command that died blocks the readers of these topics until this timeout.
_TRANSACTION_MS = 10_000
# Time in which the broker aborts a transaction after its timeout.
_ABORT_SECONDS = 15.0

Decide = Callable[[ModelRegistry], list[Output]]
"""Returns the records of a decision, given the registry as it is within the transaction."""
DeletionProgress = Callable[[int, int], None]
"""Called with the number of deleted artifacts and their total bytes."""


class ModelAdmin:
    """Admin client for the models of one pipeline; each topic that it reads has one partition.

    It is not closed, because librdkafka takes up to a second to close a connection.

    Raises:
        TopicsError: a topic does not exist.
        AccessError: this user may not read the topics, also raised by every method.
        KafkaUnavailableError: the cluster does not answer, also raised by every method.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.name = name
        config = client_config(settings)
        self._errors = ConnectionErrors(config["bootstrap.servers"], settings.kafka)
        self._config: dict[str, Any] = {**config, "error_cb": self._errors}
        self._uncommitted_reader = PartitionReader(
            config, errors=self._errors, isolation_level="read_uncommitted"
        )
        self._reader = PartitionReader(
            config, group_name(name, "learn"), errors=self._errors, silence=SILENCE_SECONDS
        )
        self._registry = RegistryReader(self._reader)
        self._writers: list[TransactionWriter] = []
        self._reader.find_partitions([self.topic(kind) for kind in _USED])

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

    def registry(self, *, stable: bool = False) -> ModelRegistry:
        """Return the present registry.

        Args:
            stable: wait until no open transaction hides a record that was written before.

        Raises:
            FencedError: a transaction stays open.
        """
        if stable and not self._wait_until_stable(
            "models", _TRANSACTION_MS / 1000 + _ABORT_SECONDS
        ):
            raise open_transaction(self.topic("models"))
        return self._registry.read((self.topic("models"), 0), *self.ends("models"))

    def learned_to(self) -> int | None:
        """Return the offset of the next example of the learner, None before it has run."""
        partition = (self.topic("examples"), 0)
        return self._reader.committed([partition]).get(partition)

    def checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint of the learner."""
        self._reader.find_partitions([self.topic("learn.state")])
        found = dict(self.read_all("learn.state")).get(CHECKPOINT_KEY.encode())
        return None if found is None else Checkpoint.decode(found)

    def audit_entries(self) -> list[dict[str, Any]]:
        """Return the audit, oldest entry first.

        Raises:
            ModelError: an entry cannot be read.
        """
        try:
            return [orjson.loads(value) for _, value in self.read_all("audit") if value is not None]
        except ValueError:
            raise ModelError(
                f"A record of {self.topic('audit')} cannot be read",
                "The topic was modified by another program. Restore it from a backup",
            ) from None

    def decide(self, make: Decide) -> None:
        """Write a decision in one transaction, which fences concurrent ones.

        Args:
            make: returns the records to write; may reject the decision by raising.

        Raises:
            FencedError: somebody else decided at the same time.
        """
        try:
            writer = self._writer()
            kill_at("decision-begun")
            outputs = make(self.registry(stable=True))
            writer.write(outputs)
            kill_at("decision-written")
            writer.commit({}, None)
        except FencedError as error:
            raise concurrent_decision() from error
        self._committed(outputs)

    def decide_with_offset(
        self,
        first: Callable[[ModelRegistry], Output],
        make: Callable[[ModelRegistry, int], list[Output]],
    ) -> int:
        """Write a record, then records that depend on its offset, in one transaction.

        Args:
            first: returns the record whose offset becomes a version number.
            make: returns the other records, given that offset.

        Returns:
            The offset, which is no number of an existing version.

        Raises:
            FencedError: somebody else decided at the same time; nothing is written.
            KafkaUnavailableError: the cluster does not answer; nothing is written.
        """
        try:
            writer = self._writer()
            registry = self.registry(stable=True)
            while (offset := writer.write_first(first(registry))) in registry.versions:
                writer.abort()
            kill_at("decision-begun")
            outputs = make(registry, offset)
            writer.write(outputs)
            kill_at("decision-written")
            writer.commit_once()
        except FencedError as error:
            raise concurrent_decision() from error
        self._committed(outputs)
        return offset

    def _wait_until_stable(self, kind: TopicKind, seconds: float) -> bool:
        """Return True once all records written so far are stable, False if they are not in time."""
        partition_id = (self.topic(kind), 0)
        _, written = self._uncommitted_reader.bounds([partition_id])[partition_id]
        return wait_until_stable(lambda: self.ends(kind)[1], written, seconds)

    def _committed(self, outputs: list[Output]) -> None:
        """Log the decision, and wait until later readers can see it."""
        kill_at("decision-committed")
        log_audit_entries(log, "models", outputs)
        # The decision stands even if the cluster does not answer any more.
        with suppress(StreamAppError):
            for kind in _USED:
                self._wait_until_stable(kind, VISIBLE_SECONDS)

    def _writer(self) -> TransactionWriter:
        """Return a writer that has fenced earlier ones."""
        config = {
            **self._config,
            "transaction.timeout.ms": _TRANSACTION_MS,
            "message.max.bytes": self.settings.topics.max_message_bytes + 2 * ENVELOPE_BYTES,
        }
        writer = TransactionWriter(
            config, member_name(self.name, "model-admin", "decisions"), self.topic, _USED
        )
        self._writers.append(writer)
        writer.take_over()
        return writer


def concurrent_decision() -> FencedError:
    """Return the error of a decision that another one has overtaken."""
    return FencedError(
        "The registry has changed: somebody else decided at the same time",
        "Look at it again (`stream-app models list PIPELINE`), then repeat the command if needed",
    )


class Garbage(NamedTuple):
    """Unnamed artifacts of a store.

    Attributes:
        artifacts: artifacts that can be deleted.
        young: number of unnamed artifacts that are within the grace period.
        total: number of all artifacts of the store.
    """

    artifacts: list[Artifact]
    young: int
    total: int

    @property
    def size(self) -> int:
        """Size in bytes of the artifacts that can be deleted."""
        return sum(artifact.size for artifact in self.artifacts)


def find_garbage(admin: ModelAdmin, store: ArtifactStore, grace: float, now: float) -> Garbage:
    """Return the artifacts that nothing names.

    Args:
        grace: seconds; later artifacts are kept, because their writer may not have named them yet.
        now: Unix seconds.
    """
    # The store before the registry: an artifact named later was stored later, or is young.
    stored = store.stored()
    return _garbage(stored, _named(admin, admin.registry()), store, now - grace)


def collect(
    admin: ModelAdmin, store: ArtifactStore, grace: float, why: Reason, progress: DeletionProgress
) -> Garbage:
    """Write an audit entry, then delete the artifacts that nothing names, and return them.

    Raises:
        FencedError: somebody else decided at the same time.
    """
    found: list[Garbage] = []
    deadline = why.at / 1000 - grace

    def make(now: ModelRegistry) -> list[Output]:
        garbage = _garbage(store.stored(), _named(admin, now), store, deadline)
        found.append(garbage)
        left = garbage.total - len(garbage.artifacts)
        entry = AuditEntry(
            "collect",
            at=why.at,
            who=why.who,
            what="artifacts that nothing names",
            why=why.why,
            before=f"{garbage.total} artifacts",
            after=f"{left} artifacts",
            counts={"artifacts": len(garbage.artifacts), "bytes": garbage.size},
            options={"grace_seconds": f"{grace:.0f}"},
        ).output(admin.name)
        return [entry] if garbage.artifacts else []

    admin.decide(make)
    garbage, done = found[-1], 0
    for number, artifact in enumerate(garbage.artifacts, start=1):
        # An artifact that was just stored again is younger now.
        if store.modified(artifact.sha256) <= deadline:
            store.delete(artifact.sha256)
        done += artifact.size
        progress(number, done)
        kill_at("collection-deleting")
    return garbage


def _garbage(
    stored: Iterable[Artifact], named: set[str], store: ArtifactStore, deadline: float
) -> Garbage:
    artifacts = list(stored)
    unnamed = [one for one in artifacts if one.sha256 not in named]
    old = [one for one in unnamed if store.modified(one.sha256) <= deadline]
    return Garbage(old, len(unnamed) - len(old), len(artifacts))


def _named(admin: ModelAdmin, registry: ModelRegistry) -> set[str]:
    """Return the hashes in manifests and in the newest checkpoint.

    Raises:
        ModelError: a manifest is damaged, which might name any artifact.
    """
    damaged = [key for key in registry.unreadable if key.startswith("version/")]
    if damaged:
        raise ModelError(
            f"{', '.join(damaged)} on {admin.topic('models')} cannot be read, "
            "so it may name any artifact",
            "The topic was modified by another program. "
            "Write a version of that number, or a tombstone",
        )
    checkpoint = admin.checkpoint()
    named = {manifest.sha256 for manifest in registry.versions.values()}
    return named | ({checkpoint.sha256} if checkpoint is not None else set())
