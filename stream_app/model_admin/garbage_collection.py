"""Collecting artifacts that nothing names any more: what a crash, or a store that was away, has left behind."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from stream_app.core.monitoring.audit_entry import act_output
from stream_app.errors import ModelError
from stream_app.fault_points import reached
from stream_app.model_admin.decisions import Reason
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_store.artifacts import ArtifactStore, Stored
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.records import Output

Progress = Callable[[int, int], None]


class Garbage(NamedTuple):
    """What can be collected of the `total` artifacts of a store, and how many are too young for that."""

    artifacts: list[Stored]
    young: int
    total: int

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(artifact.size for artifact in self.artifacts)


def find_garbage(desk: ModelAdmin, store: ArtifactStore, grace: float, now: float) -> Garbage:
    """The artifacts that no version and no checkpoint names, and that were not written for `grace` seconds.

    `now` is seconds since the epoch. Whoever stores one names it long before that, or never.
    """
    stored = store.stored()  # first: what is named later was stored later, or is young
    return _garbage(stored, _named(desk, desk.registry()), store, now - grace)


def collect(
    desk: ModelAdmin, store: ArtifactStore, grace: float, why: Reason, progress: Progress
) -> Garbage:
    """Delete them, after the audit says so; `progress` gets how many are deleted and their bytes.

    Returns what was collected. FencedError if somebody else decides at the same time.
    """
    found: list[Garbage] = []

    def make(now: ModelRegistry) -> list[Output]:
        before = why.at / 1000 - grace
        garbage = _garbage(store.stored(), _named(desk, now), store, before)
        found.append(garbage)
        counts = {"artifacts": len(garbage.artifacts), "bytes": garbage.size}
        left = garbage.total - len(garbage.artifacts)
        act = act_output(
            desk.name,
            "collect",
            at=why.at,
            who=why.who,
            what="artifacts that nothing names",
            why=why.why,
            before=f"{garbage.total} artifacts",
            after=f"{left} artifacts",
            counts=counts,
            options={"grace_seconds": f"{grace:.0f}"},
        )
        return [act] if garbage.artifacts else []

    desk.decide(make)
    garbage, done = found[-1], 0
    for number, artifact in enumerate(garbage.artifacts, start=1):
        if (
            store.modified(artifact.sha256) <= why.at / 1000 - grace
        ):  # else stored again in this moment
            store.delete(artifact.sha256)
        done += artifact.size
        progress(number, done)
        reached("collection-deleting")
    return garbage


def _garbage(
    stored: Iterable[Stored], named: set[str], store: ArtifactStore, before: float
) -> Garbage:
    artifacts = list(stored)
    unnamed = [one for one in artifacts if one.sha256 not in named]
    old = [one for one in unnamed if store.modified(one.sha256) <= before]
    return Garbage(old, len(unnamed) - len(old), len(artifacts))


def _named(desk: ModelAdmin, registry: ModelRegistry) -> set[str]:
    """By manifests and the newest checkpoint. A record that cannot be read might name any: ModelError."""
    damaged = [key for key in registry.unreadable if key.startswith("version/")]
    if damaged:
        raise ModelError(
            f"{', '.join(damaged)} on {desk.topic('models')} cannot be read, so it may name any artifact",
            "Find out who writes to that topic, and write a version of that number, or a tombstone",
        )
    checkpoint = desk.checkpoint()
    named = {manifest.sha256 for manifest in registry.versions.values()}
    return named | ({checkpoint.sha256} if checkpoint is not None else set())
