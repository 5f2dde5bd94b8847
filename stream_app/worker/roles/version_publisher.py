"""Publishing: model versions and checkpoints as artifacts, and the records that name them."""

from contextlib import suppress
from time import perf_counter

from stream_app.core.evaluation.thresholds import thresholds_as_dict
from stream_app.core.learning.learner_state import STATE_FORMAT, LearnerState
from stream_app.errors import StoreError
from stream_app.fault_points import reached
from stream_app.formatting import iso_time
from stream_app.model_store.artifacts import ArtifactStore
from stream_app.model_store.families import pipeline_names
from stream_app.model_store.manifest import (
    CHAMPION_KEY,
    CHECKPOINT_KEY,
    Alias,
    Checkpoint,
    Manifest,
    encode_alias,
    model_parameters,
    model_seed,
    runtime,
    version_key,
)
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.model_store.pickling import dump
from stream_app.model_store.signing import Signer
from stream_app.pipeline import Pipeline
from stream_app.records import Output
from stream_app.worker.roles.threshold_policy import rescued

GRACE_MILLISECONDS = (
    60_000  # after which nobody loads a version any more that is not in the registry
)


class VersionPublisher:
    """The published versions of one pipeline, as its learner sees them; `champion` is what it has said is to be served.

    The newest `keep` that were learned stay, and the champion, and what was promised: what is pinned, and what was ever
    chosen by a decision; and for a while what a threshold may have the learner go back to. What does not stay is taken
    off the registry, and deleted from the store by `settle` a minute after the transaction that says so has been
    committed; until then a decision can bring it back.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: ArtifactStore,
        registry: ModelRegistry,
        signer: Signer,
        keep: int,
    ) -> None:
        self._pipeline = pipeline
        self._family = pipeline_names(pipeline.model, pipeline.features).family
        self._signer = signer
        self._store = store
        self._keep = keep
        self._retired: dict[int, tuple[int, Manifest]] = {}  # since when
        self._superseded: list[str] = []
        self._checkpoint: str | None = None
        self._promised = set(registry.pins) | (
            {registry.requested.version} if registry.requested is not None else set()
        )
        self.champion = None if registry.champion is None else registry.champion.version
        self.versions = registry.versions

    @property
    def newest(self) -> int | None:
        """The last version that the learner has published."""
        return max(self._learned(), default=None)

    def parent(self, state: LearnerState) -> Manifest | None:
        """What the learner's model was learned from: the last version since the last decision, or what that chose."""
        newest = self.newest
        number = (
            newest
            if newest is not None and newest > state.control.decided_at
            else state.control.base_version
        )
        return None if number is None else self.versions.get(number)

    def publish(self, version: int, state: LearnerState, now: int) -> tuple[list[Output], float]:
        """Store the model and make it champion; returns the records, and what it took in seconds."""
        started = perf_counter()
        artifact = self._store.put(dump(state.learned.model))
        reached("publish-stored")
        unsigned = self._manifest(version, state, now)._replace(**artifact._asdict())
        manifest = self.versions[version] = self._signer.sign(unsigned)
        outputs = [
            Output("models", 0, version_key(version).encode(), manifest.encode()),
            self._serve(version, state.control.decision),
            *self._retire(state, now),
        ]
        reached("publish-made")
        return outputs, perf_counter() - started

    def choose(self, version: int, epoch: int) -> list[Output]:
        """A decision has chosen a version: it is champion, and stays."""
        return [*self.keep(version), self._serve(version, epoch)]

    def keep(self, version: int) -> list[Output]:
        """A version stays; if it was retired in this moment, it is put back."""
        self._promised.add(version)
        if version not in self._retired:
            return []
        _, manifest = self._retired.pop(version)
        self.versions[version] = manifest
        return [Output("models", 0, version_key(version).encode(), manifest.encode())]

    def let_go(self, version: int) -> None:
        """A version is no longer pinned."""
        self._promised.discard(version)

    def find(self, version: int | None, registry: ModelRegistry) -> Manifest:
        """A version's manifest, perhaps one that others have published since; ModelError if there is none."""
        retired = self._retired.get(version or 0)
        manifest = (
            retired[1]
            if retired is not None
            else registry.manifest(-1 if version is None else version)
        )
        self.versions.setdefault(manifest.version, manifest)
        return manifest

    def checkpoint(self, offset: int, state: LearnerState) -> tuple[Output, float]:
        """Store the learner's whole state; returns the record that names it, and what it took in seconds."""
        started = perf_counter()
        artifact = self._store.put(dump(state))
        name = self._pipeline.name
        unsigned = Checkpoint(
            offset, self.newest, *artifact, state.fingerprint, *runtime(), name, shape=STATE_FORMAT
        )
        pointer = self._signer.sign(unsigned)
        if self._checkpoint is not None and self._checkpoint != artifact.sha256:
            self._superseded.append(self._checkpoint)
        self._checkpoint = artifact.sha256
        return Output(
            "learn.state", 0, CHECKPOINT_KEY.encode(), pointer.encode()
        ), perf_counter() - started

    def resume(self, checkpoint: Checkpoint) -> None:
        """The checkpoint that the next one supersedes."""
        self._checkpoint = checkpoint.sha256

    def settle(self, now: int) -> None:
        """The transaction is committed: delete what nothing names any more."""
        for version, (since, manifest) in list(self._retired.items()):
            if now - since >= GRACE_MILLISECONDS:
                self._superseded.append(manifest.sha256)
                del self._retired[version]
        recent = [manifest for _, manifest in self._retired.values()]
        used = {manifest.sha256 for manifest in (*self.versions.values(), *recent)} | {
            self._checkpoint
        }
        with suppress(StoreError):  # then later
            while self._superseded:
                reached("publish-superseded")
                if self._superseded[-1] not in used:
                    self._store.delete(self._superseded[-1])
                self._superseded.pop()

    def _manifest(self, version: int, state: LearnerState, now: int) -> Manifest:
        """What there is to say about the model, but where it is stored."""
        parent, latest = self.parent(state), state.evaluator.latest
        described = model_parameters(state.learned.model)
        return Manifest(
            name=self._pipeline.name,
            version=version,
            parent=None if parent is None else parent.version,
            created_at=iso_time(now),
            sha256="",
            size=0,
            fingerprint=state.fingerprint,
            learned=state.learned.examples,
            learned_through=state.learned.max_label_time,
            metrics=state.evaluator.metrics(),
            **runtime()._asdict(),
            family=self._family,
            features=sorted(state.learned.features),
            parameters=described,
            seed=model_seed(state.learned.model),
            window=None
            if latest is None
            else {"start": latest.start, "end": latest.end, "n": latest.n},
            offline_metrics={} if parent is None else parent.offline_metrics,
            profile={} if parent is None else parent.profile,
            thresholds=thresholds_as_dict(self._pipeline.thresholds),
            decision=state.control.decision,
        )

    def _learned(self) -> list[int]:
        return [
            version for version, manifest in self.versions.items() if manifest.origin == "learned"
        ]

    def _serve(self, version: int, epoch: int) -> Output:
        self.champion = version
        return Output("models", 0, CHAMPION_KEY.encode(), encode_alias(Alias(version, epoch)))

    def _retire(self, state: LearnerState, now: int) -> list[Output]:
        promised = self._promised | state.control.selected_versions
        stay = promised | rescued(self._pipeline.thresholds.metrics, self.versions, state)
        retired = [
            version for version in sorted(self._learned())[: -self._keep] if version not in stay
        ]
        for version in retired:
            self._retired[version] = (now, self.versions.pop(version))
        return [Output("models", 0, version_key(version).encode(), None) for version in retired]
