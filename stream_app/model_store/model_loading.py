"""A model version in memory, ready to score."""

from typing import Any

from stream_app.core.evaluation.prediction_task import Ask, PredictionTask
from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.errors import ModelError, UnfitModelError
from stream_app.model_store.artifacts import ArtifactStore
from stream_app.model_store.families import pipeline_names
from stream_app.model_store.folded import fold
from stream_app.model_store.manifest import Manifest, check_runtime
from stream_app.model_store.pickling import load
from stream_app.model_store.signing import verify
from stream_app.model_store.trusted_keys import TrustedKeys
from stream_app.pipeline import Pipeline


class LoadedModel:
    """A version that scores. Scoring does not change it, as long as the model is without River's `TargetAgg`.

    A `frozen` model never learns again; it may score faster, and gives the same scores.
    """

    __slots__ = ("fingerprint", "name", "score", "task", "version")

    def __init__(
        self,
        name: str,
        version: int,
        fingerprint: str,
        model: Any,
        task: PredictionTask,
        *,
        frozen: bool = False,
    ) -> None:
        self.name = name
        self.version = version
        self.fingerprint = fingerprint
        self.task = task
        self.score: Ask = (fold(model) if frozen else None) or task.asking(model)
        """Gives the score of features; raises whatever the model raises."""


def pipeline_changed(name: str, learned: str, now: str) -> UnfitModelError:
    """The error of a model that was `learned` under one fingerprint, when the pipeline's file `now` has another."""
    return UnfitModelError(
        f"Pipeline {name} has changed since its model was learned, in schema, key, cleaning, features, model, label, "
        f"decision threshold or River's version (fingerprint {learned}, now {now})",
        "Undo the change, or give the pipeline a new name, or start over: `stream-app reset PIPELINE --keep-raw` shows "
        "what that deletes, and with --yes the raw records are then scored anew",
    )


def load_version(
    store: ArtifactStore,
    manifest: Manifest,
    pipeline: Pipeline,
    fingerprint: str,
    trusted: TrustedKeys,
) -> LoadedModel:
    """Load what a manifest names, or raise ModelError: nothing is unpickled before all else is right.

    A trusted key must have signed the manifest; pipeline, size, SHA-256 and runtime must be those that it states.
    """
    verify(manifest, trusted)
    return load_verified(store, manifest, pipeline, fingerprint)


def load_verified(
    store: ArtifactStore, manifest: Manifest, pipeline: Pipeline, fingerprint: str
) -> LoadedModel:
    """The rest of `load_version`, for a manifest that this process's parent has verified."""
    model = read_model(store, manifest, pipeline, fingerprint)
    return LoadedModel(
        manifest.name, manifest.version, manifest.fingerprint, model, task_of(pipeline), frozen=True
    )


def read_model(
    store: ArtifactStore, manifest: Manifest, pipeline: Pipeline, fingerprint: str
) -> Any:
    """River's own model, which can go on learning, of a verified manifest; raises as `load_version`."""
    if manifest.name != pipeline.name:
        raise ModelError(
            f"version {manifest.version} is one of pipeline {manifest.name}",
            "Was the topic written to?",
        )
    if manifest.fingerprint != fingerprint:
        raise pipeline_changed(pipeline.name, manifest.fingerprint, fingerprint)
    data = store.get(manifest.sha256, manifest.size)
    check_runtime(manifest)
    return load(data, pipeline_names(pipeline.model, pipeline.features))
