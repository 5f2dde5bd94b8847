"""Loading of model versions, for scoring and for further learning.

An untrained model may be unable to score: a scaler without a minimum, the maximum of a group
without a value. Then nothing would ever be learned, so such an event gets the prior.
"""

from dataclasses import dataclass
from typing import Any

from stream_app.core.evaluation.prediction_tasks import PredictionTask, ScoreFunction, task_of
from stream_app.core.learning.finite_learning import (
    NoGroupValueError,
    lacks_group_values,
    needs_group_values,
)
from stream_app.core.learning.learner_state import LearnedModel
from stream_app.errors import IncompatibleModelError, ModelError
from stream_app.model_store.artifacts import ArtifactStore
from stream_app.model_store.linear_folding import fold
from stream_app.model_store.manifest import Manifest, check_runtime
from stream_app.model_store.pickling import load, pipeline_names
from stream_app.model_store.signing import verify
from stream_app.model_store.trusted_keys import TrustedKeys
from stream_app.pipeline import Pipeline
from stream_app.records import Features, Score


@dataclass(frozen=True, slots=True)
class ModelEvidence:
    """Evidence of one version.

    Attributes:
        prior: score without a model, from the labels before the version.
        learned: number of examples that it has learned.
        features: names of the features in them.
    """

    prior: Score
    learned: int
    features: frozenset[str]

    def prior_for(self, model: Any, features: Features) -> Score | None:
        """Return the prior if the model has learned nothing about an event, else None.

        That is: the model has learned no example, or none with a feature of the event, or an
        aggregate (`Agg`, `TargetAgg`) has no value for the event's group.

        Args:
            model: River model, which has failed to score the event.
            features: features of the event.
        """
        if self.learned == 0 or not features.keys() <= self.features:
            return self.prior
        try:
            return self.prior if lacks_group_values(model, features) else None
        # A model may raise anything.
        except Exception:
            return None


class LoadedModel:
    """Model version ready to score.

    Scoring does not change the model, unless it contains River's `TargetAgg`.

    Args:
        name: name of the pipeline.
        version: number of the version.
        fingerprint: fingerprint of the declaration with which it was learned.
        model: River model.
        task: prediction task.
        frozen: True if the model never learns again; it may then score faster, with equal scores.
        evidence: what it has learned, None if a model that lacks evidence must not score.

    Attributes:
        score: returns the score of features, or raises the model's own exception.
    """

    __slots__ = ("_evidence", "_model", "fingerprint", "name", "score", "task", "version")

    def __init__(
        self,
        name: str,
        version: int,
        fingerprint: str,
        model: Any,
        task: PredictionTask,
        *,
        frozen: bool = False,
        evidence: ModelEvidence | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.fingerprint = fingerprint
        self.task = task
        self._model = model
        self._evidence = evidence
        self.score: ScoreFunction = (fold(model) if frozen else None) or task.score_function(model)
        if evidence is not None and needs_group_values(model):
            self.score = _with_group_values(model, self.score)

    def prior_for(self, features: Features) -> Score | None:
        """Return the score of an event about which the model has learned nothing, else None."""
        return None if self._evidence is None else self._evidence.prior_for(self._model, features)


def _with_group_values(model: Any, score: ScoreFunction) -> ScoreFunction:
    """Return a function that raises NoGroupValueError for an event of a new group, else scores."""

    def checked(features: Features) -> Score:
        if lacks_group_values(model, features):
            raise NoGroupValueError
        return score(features)

    return checked


def load_version(
    store: ArtifactStore,
    manifest: Manifest,
    pipeline: Pipeline,
    fingerprint: str,
    trusted: TrustedKeys,
) -> LoadedModel:
    """Verify a manifest and load its version for scoring.

    Nothing is unpickled before signature, pipeline, fingerprint, size, SHA-256 and runtime match.

    Args:
        store: store of the artifact.
        manifest: version to load.
        pipeline: declaration of the pipeline.
        fingerprint: fingerprint of that declaration.
        trusted: keys that may have signed the manifest.

    Raises:
        ModelError: a check fails, or the artifact is missing or damaged.
        StoreError: the store fails.
    """
    verify(manifest, trusted)
    return load_verified(store, manifest, pipeline, fingerprint)


def load_verified(
    store: ArtifactStore, manifest: Manifest, pipeline: Pipeline, fingerprint: str
) -> LoadedModel:
    """Load a version for scoring whose manifest the parent process has verified.

    Raises as `load_version`.
    """
    model, task = read_model(store, manifest, pipeline, fingerprint), task_of(pipeline)
    prior = task.prior(task.new_baseline()) if manifest.prior is None else manifest.prior
    return LoadedModel(
        manifest.name,
        manifest.version,
        manifest.fingerprint,
        model,
        task,
        frozen=True,
        evidence=ModelEvidence(prior, manifest.learned, frozenset(manifest.features))
        if pipeline.untrained == "allowed"
        else None,
    )


def read_model(
    store: ArtifactStore, manifest: Manifest, pipeline: Pipeline, fingerprint: str
) -> Any:
    """Return the River model of a verified manifest, which can learn further.

    Raises as `load_version`.
    """
    if manifest.name != pipeline.name:
        raise ModelError(
            f"version {manifest.version} belongs to pipeline {manifest.name}",
            "The topic was modified by another program. Restore the record from a backup",
        )
    if manifest.fingerprint != fingerprint:
        raise pipeline_changed_error(pipeline.name, manifest.fingerprint, fingerprint)
    data = store.get(manifest.sha256, manifest.size)
    check_runtime(manifest)
    return load(data, pipeline_names(pipeline.model, pipeline.features))


def to_learned_model(manifest: Manifest, model: Any) -> LearnedModel:
    """Return a version as the state from which a learner continues.

    Args:
        manifest: version, which says what the model has learned.
        model: its River model, from `read_model`.
    """
    return LearnedModel(
        model=model,
        examples=manifest.learned,
        max_label_time=manifest.learned_through,
        next_offset=manifest.version if manifest.origin == "learned" else 0,
        features=frozenset(manifest.features),
        offline_metrics=manifest.offline_metrics,
        unlearned=[list(one) for one in manifest.unlearned],
        paused_from=dict(manifest.paused_sources),
    )


def pipeline_changed_error(name: str, learned: str, current: str) -> IncompatibleModelError:
    """Return the error for a model whose pipeline declaration has changed.

    Args:
        name: name of the pipeline.
        learned: fingerprint with which the model was learned.
        current: fingerprint of the declaration.
    """
    return IncompatibleModelError(
        f"Pipeline {name} has changed since its model was learned, in schema, key, cleaning, "
        "features, model, label, decision threshold or River's version "
        f"(fingerprint {learned}, now {current})",
        "Undo the change, or give the pipeline a new name, or start over: "
        "`stream-app reset PIPELINE --keep-raw` shows what that deletes, "
        "and with --yes the raw records are scored again",
    )
