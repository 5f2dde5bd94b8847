"""Checks before a version is served: that it loads, and its loss on the newest examples."""

from collections import deque
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

from stream_app.core.evaluation.prediction_tasks import PredictionTask, task_of
from stream_app.core.examples import Example, decode_example
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.errors import DecisionError, ModelError, SettingsError, StoreError
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_store.artifacts import ArtifactStore, pipeline_store
from stream_app.model_store.key_files import trusted_keys
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_loading import LoadedModel, load_version, read_model
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.model_store.signing import verify
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings

# Examples on which a version is evaluated.
EVALUATED_EXAMPLES = 1000
# Errors of a store that cannot be used; a lost mount looks like a wrong setting.
STORE_ERRORS = (StoreError, SettingsError)


class VersionLoader:
    """Loads versions of a pipeline as scorers do."""

    def __init__(self, settings: Settings, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.fingerprint = fingerprint(pipeline)
        self.task = task_of(pipeline)
        self._settings = settings
        self._trusted = trusted_keys(settings, pipeline.name)

    @cached_property
    def store(self) -> ArtifactStore:
        """Artifact store of the pipeline; raises one of `STORE_ERRORS` if it cannot be used."""
        return pipeline_store(self._settings, self._pipeline.name)

    def load(self, manifest: Manifest) -> LoadedModel:
        """Return a version, ready to score.

        Raises:
            ModelError: it must not be served.
            StoreError: the store cannot be read; so does SettingsError.
        """
        return load_version(self.store, manifest, self._pipeline, self.fingerprint, self._trusted)

    def river_model(self, manifest: Manifest) -> Any:
        """Return River's model of a version, which can learn; raises as `load`."""
        verify(manifest, self._trusted)
        return read_model(self.store, manifest, self._pipeline, self.fingerprint)

    def problem(self, manifest: Manifest) -> str | None:
        """Return the reason why a version cannot be loaded, or None if it can."""
        try:
            self.load(manifest)
        except (ModelError, *STORE_ERRORS) as error:
            return str(error)
        return None

    def previous(self, registry: ModelRegistry, *, load: bool = True) -> Manifest:
        """Return the nearest ancestor of the served version with another artifact.

        Args:
            load: skip ancestors that do not load.

        Raises:
            ModelError: there is none.
            StoreError: the store cannot be read; so does SettingsError.
        """
        current, problem = registry.current, ""
        for manifest in registry.ancestors(current.version):
            if manifest.sha256 != current.sha256:
                try:
                    if load:
                        self.load(manifest)
                except ModelError as error:
                    problem = (
                        problem
                        or f", and version {manifest.version} does not load: {error.message}"
                    )
                else:
                    return manifest
        raise ModelError(
            f"There is no version before {current.version} to roll back to{problem}",
            "Choose another one with --to; `stream-app models list PIPELINE` shows them",
        )


class VersionEvaluation(NamedTuple):
    """Loss of a version on the newest examples, some of which it may have learned.

    Attributes:
        n: number of examples.
        loss: mean loss of its scores, None without examples.
        served_loss: mean loss of the scores that were served, None without examples.
    """

    version: int
    n: int
    loss: float | None
    served_loss: float | None


def evaluate_version(model: LoadedModel, examples: list[Example]) -> VersionEvaluation:
    """Score examples with a version.

    Raises:
        DecisionError: the version fails on one of them.
    """
    losses, task = [], model.task
    for example in examples:
        try:
            score = task.valid_score(model.score(example.features))
        # A model may raise anything.
        except Exception as error:
            score = model.prior_for(example.features)
            if score is None:
                reason = f"{type(error).__name__} on the event {example.event_id}"
                raise _evaluation_failed(model, reason) from error
        score = model.prior_for(example.features) if score is None else score
        if score is None:
            reason = f"its score of the event {example.event_id} is not {task.score_type}"
            raise _evaluation_failed(model, reason)
        losses.append(task.loss(example.label, score))
    served = [task.loss(example.label, example.score) for example in examples]
    n = len(examples)
    if not n:
        return VersionEvaluation(model.version, 0, None, None)
    return VersionEvaluation(model.version, n, sum(losses) / n, sum(served) / n)


def newest_examples(
    admin: ModelAdmin, fingerprint_: str, task: PredictionTask, count: int = EVALUATED_EXAMPLES
) -> list[Example]:
    """Return the newest examples of this pipeline declaration, oldest first."""
    low, high = admin.ends("examples")
    # Offsets include transaction markers.
    span = 2 * count
    while True:
        start = max(low, high - span)
        found = deque(_examples(admin, fingerprint_, task, start, high), count)
        if len(found) == count or start == low or span > 100 * count:
            return list(found)
        span *= 4


def _examples(
    admin: ModelAdmin, fingerprint_: str, task: PredictionTask, start: int, end: int
) -> Iterator[Example]:
    for record in admin.read("examples", start, end):
        example = decode_example(record.value(), task)
        if isinstance(example, Example) and example.fingerprint == fingerprint_:
            yield example


def _evaluation_failed(model: LoadedModel, reason: str) -> DecisionError:
    return DecisionError(
        f"Version {model.version} fails on the newest examples: {reason}", "Choose another version"
    )
