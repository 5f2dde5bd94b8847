"""The artifact store: what the learner writes there, the scorers must be able to read."""

import secrets
from collections.abc import Iterator

from stream_app.doctor.examined import Examined, UnavailableError
from stream_app.doctor.findings import Finding, ok
from stream_app.models.artifacts import ArtifactStore, pipeline_store


def check_store(it: Examined) -> Iterator[Finding]:
    """Write, read and delete an artifact that nothing names."""
    store, content = _store(it), secrets.token_bytes(64)
    artifact = store.put(content)
    try:
        store.get(artifact.sha256, artifact.size)
    finally:
        store.delete(artifact.sha256)
    yield ok(f"artifact store: a probe was written, read and deleted in {store.locate('')}")


def _store(it: Examined) -> ArtifactStore:
    """Where the pipeline's artifacts are; without a pipeline, where those of all are."""
    try:
        return pipeline_store(it.settings, it.pipeline.name)
    except UnavailableError:
        return ArtifactStore(it.settings.store)
