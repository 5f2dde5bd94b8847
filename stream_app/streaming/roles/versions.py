"""Publishing: model versions and checkpoints as artifacts, and the records that name them."""

from collections.abc import Iterable
from contextlib import suppress
from time import perf_counter

from stream_app.core.learn import LearnerState
from stream_app.core.records import Output
from stream_app.core.route import iso
from stream_app.errors import StoreError
from stream_app.faultpoints import reached
from stream_app.models.artifacts import ArtifactStore
from stream_app.models.manifest import (
    CHAMPION_KEY,
    CHECKPOINT_KEY,
    Alias,
    Checkpoint,
    Manifest,
    encode_alias,
    runtime,
    version_key,
    version_of,
)
from stream_app.models.pickling import dump
from stream_app.models.signing import Signer

KEEP = 500  # versions
RETRY_MILLISECONDS = 5000  # after what failed


class Schedule:
    """When something costly is due: after `seconds` or `count` changes, but never more than `share` of the time.

    Times are epoch milliseconds; a clock that is set back starts the interval again.
    """

    def __init__(self, seconds: float, count: float, share: float) -> None:
        self._interval = seconds * 1000
        self._count = count
        self._share = share
        self._last = -1
        self._rest = 0.0
        self._failed = False

    def due(self, changes: int, now: int) -> bool:
        """Is it, after so many changes since the last time?"""
        if self._last < 0 or now < self._last:
            self._last = now
        elapsed = now - self._last
        wanted = self._failed or changes >= self._count or elapsed >= self._interval
        return changes > 0 and elapsed >= self._rest and wanted

    def rests(self, now: int) -> bool:
        """Must it not be done yet, however much has changed?"""
        return self._last <= now < self._last + self._rest

    def done(self, cost: float, now: int) -> None:
        """It took `cost` seconds."""
        self._last = now
        self._rest = cost * 1000 / self._share
        self._failed = False

    def failed(self, now: int) -> None:
        """It could not be done; it is due again in five seconds."""
        self._last, self._rest, self._failed = now, RETRY_MILLISECONDS, True


def published(records: Iterable[tuple[bytes | None, bytes | None]]) -> dict[int, Manifest]:
    """The versions that exist, oldest first, from the whole of `<pipeline>.models`."""
    latest = {(key or b"").decode(): value for key, value in records}
    versions = {
        version: Manifest.decode(value)
        for key, value in latest.items()
        if value is not None and (version := version_of(key)) is not None
    }
    return dict(sorted(versions.items()))


class Versions:
    """The published versions of one learner, which is the only writer of `<pipeline>.models`.

    The newest is the champion, and the newest `keep` stay. What is superseded is deleted from the store by `settle`,
    after the transaction that says so has been committed.
    """

    def __init__(
        self, name: str, store: ArtifactStore, versions: dict[int, Manifest], signer: Signer, keep: int = KEEP
    ) -> None:
        self._name = name
        self._signer = signer
        self._store = store
        self._keep = keep
        self._superseded: list[str] = []
        self._checkpoint: str | None = None
        self.versions = versions

    @property
    def newest(self) -> int | None:
        """The last published version."""
        return max(self.versions, default=None)

    def publish(self, version: int, state: LearnerState, now: int) -> tuple[list[Output], float]:
        """Store the model and make it champion; returns the records, and what it took in seconds."""
        started = perf_counter()
        artifact = self._store.put(dump(state.model))
        reached("publish-stored")
        unsigned = Manifest(
            name=self._name,
            version=version,
            parent=self.newest,
            created_at=iso(now),
            sha256=artifact.sha256,
            size=artifact.size,
            fingerprint=state.fingerprint,
            learned=state.learned,
            learned_through=state.learned_through,
            metrics=state.evaluator.metrics(),
            **runtime()._asdict(),
        )
        manifest = self.versions[version] = self._signer.signed(unsigned)
        outputs = [
            Output("models", 0, version_key(version).encode(), manifest.encode()),
            Output("models", 0, CHAMPION_KEY.encode(), encode_alias(Alias(version))),
            *self._retire(),
        ]
        reached("publish-made")
        return outputs, perf_counter() - started

    def checkpoint(self, offset: int, state: LearnerState) -> tuple[Output, float]:
        """Store the learner's whole state; returns the record that names it, and what it took in seconds."""
        started = perf_counter()
        artifact = self._store.put(dump(state))
        unsigned = Checkpoint(offset, self.newest, *artifact, state.fingerprint, *runtime(), self._name)
        pointer = self._signer.signed(unsigned)
        if self._checkpoint is not None and self._checkpoint != artifact.sha256:
            self._superseded.append(self._checkpoint)
        self._checkpoint = artifact.sha256
        return Output("learn.state", 0, CHECKPOINT_KEY.encode(), pointer.encode()), perf_counter() - started

    def resume(self, checkpoint: Checkpoint) -> None:
        """The checkpoint that the next one supersedes."""
        self._checkpoint = checkpoint.sha256

    def settle(self) -> None:
        """The transaction is committed: delete what nothing names any more."""
        used = {manifest.sha256 for manifest in self.versions.values()} | {self._checkpoint}
        with suppress(StoreError):  # then later
            while self._superseded:
                reached("publish-superseded")
                if self._superseded[-1] not in used:
                    self._store.delete(self._superseded[-1])
                self._superseded.pop()

    def _retire(self) -> list[Output]:
        retired = []
        for version in list(self.versions)[: -self._keep]:
            self._superseded.append(self.versions.pop(version).sha256)
            retired.append(Output("models", 0, version_key(version).encode(), None))
        return retired
