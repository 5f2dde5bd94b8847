"""Publisher of model versions and checkpoints: artifacts, and the records that name them."""

from contextlib import suppress
from time import perf_counter

from stream_app.core.evaluation.thresholds import thresholds_as_dict
from stream_app.core.learning.learner_state import STATE_FORMAT, LearnerState
from stream_app.errors import StoreError
from stream_app.fault_points import kill_at
from stream_app.formatting import iso_time
from stream_app.model_store.artifacts import ArtifactStore
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
from stream_app.model_store.pickling import dump, pipeline_names
from stream_app.model_store.signing import Signer
from stream_app.pipeline import Pipeline
from stream_app.records import Output
from stream_app.worker.roles.threshold_policy import rollback_candidates

# After this time nobody loads a version any more that is no longer in the registry.
RETIREMENT_GRACE_MS = 60_000


class VersionPublisher:
    """Published versions of one pipeline, as its learner sees them.

    Retains the newest learned versions, the champion, pinned versions, versions that a decision
    selected, and for a while those that a threshold may roll back to. Other versions are removed
    from the registry. `delete_superseded` deletes their artifacts a minute after that transaction
    is committed; until then a decision can restore them.

    Args:
        pipeline: loaded pipeline.
        store: store of the artifacts.
        registry: registry at the start of the learner.
        signer: signs manifests and checkpoints.
        keep: number of learned versions to retain.

    Attributes:
        champion: version that the learner serves, None before the first.
        versions: manifests in the registry by version.
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
        # Manifests removed from the registry, with the time in Unix milliseconds.
        self._retired: dict[int, tuple[int, Manifest]] = {}
        self._superseded: list[str] = []
        self._checkpoint: str | None = None
        self._retained = set(registry.pins) | (
            {registry.requested.version} if registry.requested is not None else set()
        )
        self.champion = None if registry.champion is None else registry.champion.version
        self.versions = registry.versions

    @property
    def newest(self) -> int | None:
        """Last version that the learner published."""
        return max(self._learned(), default=None)

    def parent(self, state: LearnerState) -> Manifest | None:
        """Return the version from which the model was learned.

        This is the last version since the last decision, else the version that this one selected.
        """
        control, newest = state.control, self.newest
        is_newer = newest is not None and newest > control.decided_at
        number = newest if is_newer else control.base_version
        return None if number is None else self.versions.get(number)

    def publish(self, version: int, state: LearnerState, now: int) -> tuple[list[Output], float]:
        """Store the model and make it champion.

        Args:
            version: number of the version.
            state: state of the learner.
            now: wall-clock time in Unix milliseconds.

        Returns:
            The records to write, and the duration in seconds.

        Raises:
            StoreError: the store fails.
        """
        started = perf_counter()
        artifact = self._store.put(dump(state.learned.model))
        kill_at("publish-stored")
        unsigned = self._manifest(version, state, now)._replace(**artifact._asdict())
        manifest = self.versions[version] = self._signer.sign(unsigned)
        outputs = [
            _manifest_output(manifest),
            self._serve(version, state.control.decision),
            *self._retire(state, now),
        ]
        kill_at("publish-made")
        return outputs, perf_counter() - started

    def select(self, version: int, decision: int) -> list[Output]:
        """Make the version champion that a decision selected, and retain it."""
        return [*self.retain(version), self._serve(version, decision)]

    def retain(self, version: int) -> list[Output]:
        """Retain a version; restores it if it was retired a moment ago."""
        self._retained.add(version)
        if version not in self._retired:
            return []
        _, manifest = self._retired.pop(version)
        self.versions[version] = manifest
        return [_manifest_output(manifest)]

    def release(self, version: int) -> None:
        """Stop retaining a version that is no longer pinned."""
        self._retained.discard(version)

    def find(self, version: int, registry: ModelRegistry) -> Manifest:
        """Return the manifest of a version, also of one published by others since the start.

        Raises:
            ModelError: the version does not exist.
        """
        retired = self._retired.get(version)
        manifest = registry.manifest(version) if retired is None else retired[1]
        self.versions.setdefault(manifest.version, manifest)
        return manifest

    def checkpoint(self, offset: int, state: LearnerState) -> tuple[Output, float]:
        """Store the state of the learner.

        Args:
            offset: end, exclusive, of the examples that the state covers.
            state: state of the learner.

        Returns:
            The record that names the checkpoint, and the duration in seconds.

        Raises:
            StoreError: the store fails.
        """
        started = perf_counter()
        artifact = self._store.put(dump(state))
        checkpoint = self._signer.sign(
            Checkpoint(
                offset,
                self.newest,
                *artifact,
                state.fingerprint,
                *runtime(),
                self._pipeline.name,
                state_format=STATE_FORMAT,
            )
        )
        if self._checkpoint is not None and self._checkpoint != artifact.sha256:
            self._superseded.append(self._checkpoint)
        self._checkpoint = artifact.sha256
        output = Output("learn.state", 0, CHECKPOINT_KEY.encode(), checkpoint.encode())
        return output, perf_counter() - started

    def restore(self, checkpoint: Checkpoint) -> None:
        """Set the checkpoint that the next one supersedes."""
        self._checkpoint = checkpoint.sha256

    def delete_superseded(self, now: int) -> None:
        """Delete artifacts that no record names any more; called after a commit."""
        for version, (since, manifest) in list(self._retired.items()):
            if now - since >= RETIREMENT_GRACE_MS:
                self._superseded.append(manifest.sha256)
                del self._retired[version]
        recent = [manifest for _, manifest in self._retired.values()]
        used = {manifest.sha256 for manifest in (*self.versions.values(), *recent)} | {
            self._checkpoint
        }
        # While the store is away, artifacts are deleted after a later commit.
        with suppress(StoreError):
            while self._superseded:
                kill_at("publish-superseded")
                if self._superseded[-1] not in used:
                    self._store.delete(self._superseded[-1])
                self._superseded.pop()

    def _manifest(self, version: int, state: LearnerState, now: int) -> Manifest:
        """Return the unsigned manifest of a version without its artifact."""
        parent, latest, learned = self.parent(state), state.evaluator.latest, state.learned
        return Manifest(
            name=self._pipeline.name,
            version=version,
            parent=None if parent is None else parent.version,
            created_at=iso_time(now),
            sha256="",
            size=0,
            fingerprint=state.fingerprint,
            learned=learned.examples,
            learned_through=learned.max_label_time,
            metrics=state.evaluator.metrics(),
            **runtime()._asdict(),
            family=self._family,
            features=sorted(learned.features),
            parameters=model_parameters(learned.model),
            seed=model_seed(learned.model),
            window=None
            if latest is None
            else {"start": latest.start, "end": latest.end, "n": latest.n},
            offline_metrics={} if parent is None else parent.offline_metrics,
            profile={} if parent is None else parent.profile,
            thresholds=thresholds_as_dict(self._pipeline.thresholds),
            decision=state.control.decision,
            prior=state.evaluator.task.prior(state.evaluator.baseline),
            unlearned=[list(one) for one in learned.unlearned],
            paused_sources=dict(learned.paused_from),
            exclusions=[one._asdict() for one in state.control.rules.exclusions],
            last_exclusion=state.control.rules.last_exclusion,
        )

    def _learned(self) -> list[int]:
        return [
            version for version, manifest in self.versions.items() if manifest.origin == "learned"
        ]

    def _serve(self, version: int, decision: int) -> Output:
        self.champion = version
        return Output("models", 0, CHAMPION_KEY.encode(), encode_alias(Alias(version, decision)))

    def _retire(self, state: LearnerState, now: int) -> list[Output]:
        thresholds = self._pipeline.thresholds.metrics
        retained = (
            self._retained
            | state.control.selected_versions
            | rollback_candidates(thresholds, self.versions, state)
        )
        retired = [
            version for version in sorted(self._learned())[: -self._keep] if version not in retained
        ]
        for version in retired:
            self._retired[version] = (now, self.versions.pop(version))
        return [Output("models", 0, version_key(version).encode(), None) for version in retired]


def _manifest_output(manifest: Manifest) -> Output:
    return Output("models", 0, version_key(manifest.version).encode(), manifest.encode())
