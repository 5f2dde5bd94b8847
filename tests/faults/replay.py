"""A run's own examples, learned once more without any disturbance, must give what was served, bit for bit."""

from collections import defaultdict

from stream_app.core.example import Example
from stream_app.core.learn import Learner
from stream_app.core.records import Features, Score
from stream_app.core.tasks import task_of
from stream_app.fingerprint import fingerprint
from stream_app.loading import load_pipeline
from stream_app.models.artifacts import pipeline_store
from stream_app.models.keys import trusted_keys
from stream_app.models.loaded import LoadedModel, load_version
from stream_app.models.manifest import Manifest, version_of
from tests.system import System


def check_replay(system: System) -> int:
    """Compare every published version and every served prediction; returns how many predictions were compared."""
    pipeline = load_pipeline(str(system.pipeline))
    learner = Learner(pipeline, fingerprint(pipeline))
    examples = [(message.offset() or 0, Example.decode(message.value() or b"")) for message in system.read("examples")]
    served: dict[int, list[tuple[Features, Score]]] = defaultdict(list)
    for _, example in examples:
        served[example.model_version].append((example.features, example.score))
    store, compared = pipeline_store(system.settings, pipeline.name), 0
    trusted = trusted_keys(system.settings, pipeline.name)
    published, kept = manifests(system)
    for offset, example in [*examples, (2**62, examples[-1][1])]:
        while published and published[0].version <= offset:
            manifest = published.pop(0)
            assert manifest.learned == learner.state.learned
            again = learner.state.model, task_of(pipeline)
            models = [LoadedModel(pipeline.name, manifest.version, manifest.fingerprint, *again)]
            if manifest.version in kept:
                models.append(load_version(store, manifest, pipeline, fingerprint(pipeline), trusted))
            for features, score in served.pop(manifest.version, []):
                assert [model.score(features) for model in models] == [score] * len(models)
                compared += 1
        learner.learn(offset, example)
    assert not served, "predictions were served by versions that were never published"
    return compared


def manifests(system: System) -> tuple[list[Manifest], set[int]]:
    """All versions ever published, in order, and which of them are still kept."""
    found, kept = {}, set()
    for message in system.read("models"):
        version = version_of((message.key() or b"").decode())
        if version is not None and message.value() is not None:
            found[version] = Manifest.decode(message.value() or b"")
            kept.add(version)
        elif version is not None:
            kept.discard(version)
    return [found[version] for version in sorted(found)], kept
