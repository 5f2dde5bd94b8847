"""Checks before a version is served: that it loads, and what it makes of the newest examples of the log."""

from collections import deque
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

from stream_app.core.evaluation.prediction_tasks import PredictionTask, task_of
from stream_app.core.example import Example
from stream_app.core.learning.examples_log import decode_example
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

REPLAYED = 1000  # examples
AWAY = (StoreError, SettingsError)
"""What is raised while the store cannot be used; a lost mount looks like a wrong setting."""


class Checker:
    """Loads versions of a pipeline just as scorers do."""

    def __init__(self, settings: Settings, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.fingerprint = fingerprint(pipeline)
        self.task = task_of(pipeline)
        self._settings = settings
        self._trusted = trusted_keys(settings, pipeline.name)

    @cached_property
    def store(self) -> ArtifactStore:
        """That of the pipeline; one of `AWAY` if it cannot be opened."""
        return pipeline_store(self._settings, self._pipeline.name)

    def load(self, manifest: Manifest) -> LoadedModel:
        """The version; ModelError if it may not be served, one of `AWAY` if the store is away."""
        return load_version(self.store, manifest, self._pipeline, self.fingerprint, self._trusted)

    def river_model(self, manifest: Manifest) -> Any:
        """River's own model of a version, which can go on learning; raises as `load`."""
        verify(manifest, self._trusted)
        return read_model(self.store, manifest, self._pipeline, self.fingerprint)

    def problem(self, manifest: Manifest) -> str | None:
        """Why a version cannot be loaded now; None if it can."""
        try:
            self.load(manifest)
        except (ModelError, *AWAY) as error:
            return str(error)
        return None

    def before(self, registry: ModelRegistry, *, load: bool = True) -> Manifest:
        """The nearest ancestor of the served version that has another artifact and, with `load`, loads.

        ModelError if there is none, one of `AWAY` if the store is away.
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


class ReplayedExamples(NamedTuple):
    """A version on the `n` newest examples; `loss` and `served_loss` are the task's mean losses, of its scores and of
    those that were served. Both are None without examples; it may have learned some of them.
    """

    version: int
    n: int
    loss: float | None
    served_loss: float | None


def replay(model: LoadedModel, examples: list[Example]) -> ReplayedExamples:
    """Score the examples; DecisionError if one of them fails."""
    losses, task = [], model.task
    for example in examples:
        try:
            score = task.valid_score(model.score(example.features))
        except Exception as error:  # whatever a model raises
            raise _fails(
                model, f"{type(error).__name__} on the event {example.event_id}"
            ) from error
        if score is None:
            raise _fails(
                model, f"its score of the event {example.event_id} is not {task.score_type}"
            )
        losses.append(task.loss(example.label, score))
    served = [task.loss(example.label, example.score) for example in examples]
    n = len(examples)
    return (
        ReplayedExamples(model.version, n, sum(losses) / n, sum(served) / n)
        if n
        else ReplayedExamples(model.version, 0, None, None)
    )


def newest_examples(
    desk: ModelAdmin, fingerprint_: str, task: PredictionTask, count: int = REPLAYED
) -> list[Example]:
    """Those at the end of the log that this declaration of the pipeline has made, oldest first."""
    low, high = desk.ends("examples")
    reach = 2 * count  # with the markers of transactions between them
    while True:
        start = max(low, high - reach)
        found = deque(_examples(desk, fingerprint_, task, start, high), count)
        if len(found) == count or start == low or reach > 100 * count:
            return list(found)
        reach *= 4


def _examples(
    desk: ModelAdmin, fingerprint_: str, task: PredictionTask, start: int, end: int
) -> Iterator[Example]:
    for record in desk.read("examples", start, end):
        example = decode_example(record.value(), task)
        if isinstance(example, Example) and example.fingerprint == fingerprint_:
            yield example


def _fails(model: LoadedModel, how: str) -> DecisionError:
    return DecisionError(
        f"Version {model.version} fails in the replay of examples: {how}", "Choose another version"
    )
