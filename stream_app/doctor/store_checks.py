"""The artifact store: what the learner writes there, the scorers must be able to read."""

import secrets
from collections.abc import Iterator

from stream_app.doctor.context import DoctorContext, UnavailableError
from stream_app.doctor.results import CheckResult, ok
from stream_app.model_store.artifacts import ArtifactStore, pipeline_store


def check_store(it: DoctorContext) -> Iterator[CheckResult]:
    """Write, read and delete an artifact that nothing names."""
    store, content = _store(it), secrets.token_bytes(64)
    artifact = store.put(content)
    try:
        store.get(artifact.sha256, artifact.size)
    finally:
        store.delete(artifact.sha256)
    yield ok(f"artifact store: a probe was written, read and deleted in {store.locate('')}")


def _store(it: DoctorContext) -> ArtifactStore:
    """Where the pipeline's artifacts are; without a pipeline, where those of all are."""
    try:
        return pipeline_store(it.settings, it.pipeline.name)
    except UnavailableError:
        return ArtifactStore(it.settings.store)
