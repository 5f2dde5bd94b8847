"""Garbage collection of artifacts that no version or checkpoint names, as left by crashes."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from stream_app.core.monitoring.audit_entry import AuditEntry
from stream_app.errors import ModelError
from stream_app.fault_points import kill_at
from stream_app.model_admin.decisions import Reason
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_store.artifacts import Artifact, ArtifactStore
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.records import Output

DeletionProgress = Callable[[int, int], None]
"""Called with the number of deleted artifacts and their total bytes."""


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
