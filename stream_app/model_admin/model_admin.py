"""Admin client for models: reads registry, log and audit of a pipeline, and writes decisions.

Garbage collection deletes the artifacts that no version or checkpoint names, as left by crashes.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import orjson

from stream_app.core.monitoring.audit_entry import AuditEntry
from stream_app.errors import FencedError, ModelError
from stream_app.fault_points import kill_at
from stream_app.model_admin.topic_admin import TopicAdmin
from stream_app.model_store.artifacts import Artifact, ArtifactStore
from stream_app.model_store.manifest import CHECKPOINT_KEY, Checkpoint
from stream_app.model_store.model_registry import ModelRegistry, Reason
from stream_app.records import Output
from stream_app.settings import Settings
from stream_app.status.pipeline_view import RegistryReader
from stream_app.topic_kinds import TopicKind

_USED: tuple[TopicKind, ...] = ("models", "examples", "audit")

Decide = Callable[[ModelRegistry], list[Output]]
"""Returns the records of a decision, given the registry as it is within the transaction."""
DeletionProgress = Callable[[int, int], None]
"""Called with the number of deleted artifacts and their total bytes."""


class ModelAdmin(TopicAdmin):
    """Admin client for the models of one pipeline; raises as `TopicAdmin`."""

    def __init__(self, settings: Settings, name: str) -> None:
        super().__init__(settings, name, "model-admin", "models", _USED)
        self._registry = RegistryReader(self._reader)

    def registry(self, *, stable: bool = False) -> ModelRegistry:
        """Return the present registry.

        Args:
            stable: wait until no open transaction hides a record that was written before.

        Raises:
            FencedError: a transaction stays open.
        """
        if stable:
            self.wait_until_complete("models")
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
            self.write(lambda: make(self.registry(stable=True)))
        except FencedError as error:
            raise concurrent_decision() from error

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
