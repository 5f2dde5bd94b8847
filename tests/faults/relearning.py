"""Relearning the examples of a run gives the served versions and predictions, bit for bit."""

from collections import defaultdict, deque

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.examples import Example, decode_example
from stream_app.kafka.clients import client_config
from stream_app.kafka.retrying_reader import RetryingReader
from stream_app.loading import load_pipeline
from stream_app.model_admin.verification import Verifier
from stream_app.model_admin.version_checks import VersionLoader
from stream_app.model_store.manifest import Manifest, version_of
from stream_app.model_store.model_loading import LoadedModel
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.records import Features, Score
from tests.running_system import System


def check_relearning(system: System) -> int:
    """Compares every published version and every served prediction with those of a relearning run.

    Returns:
        The number of compared predictions.
    """
    pipeline = load_pipeline(str(system.pipeline))
    task = task_of(pipeline)
    served: dict[int, list[tuple[Features, Score]]] = defaultdict(list)
    for message in system.read("examples"):
        example = decode_example(message.value(), task)
        if isinstance(example, Example):
            served[example.model_version].append((example.features, example.score))
    loader, compared = VersionLoader(system.settings, pipeline), 0
    published, stored = manifests(system)
    reader = RetryingReader(client_config(system.settings), f"{system.name}.learn")
    relearner = Verifier(pipeline, reader, ModelRegistry(published), loader).relearner()
    for version, manifest in published.items():
        deque(relearner.advance(version), maxlen=0)
        assert manifest.learned == relearner.state.learned.examples
        models = [
            LoadedModel(
                pipeline.name, version, manifest.fingerprint, relearner.state.learned.model, task
            )
        ]
        if version in stored:
            models.append(loader.load(manifest))
        for features, score in served.pop(version, []):
            assert [model.score(features) for model in models] == [score] * len(models)
            compared += 1
    assert not served, "predictions of versions that were never published"
    return compared


def manifests(system: System) -> tuple[dict[int, Manifest], set[int]]:
    """Returns the manifests of all versions published so far, and the versions not deleted."""
    found, stored = {}, set()
    for message in system.read("models"):
        version = version_of((message.key() or b"").decode())
        if version is not None and message.value() is not None:
            found[version] = Manifest.decode(message.value() or b"")
            stored.add(version)
        elif version is not None:
            stored.discard(version)
    return dict(sorted(found.items())), stored
