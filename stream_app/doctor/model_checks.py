"""The pipeline's file, and the model version that is served under it."""

from collections.abc import Iterator

from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.doctor.context import DoctorContext
from stream_app.doctor.results import CheckResult, ok
from stream_app.model_store.artifacts import pipeline_store
from stream_app.model_store.key_files import trusted_keys
from stream_app.model_store.model_loading import load_version


def check_pipeline(it: DoctorContext) -> Iterator[CheckResult]:
    """The file loads and declares what can work."""
    yield ok(f"pipeline {it.pipeline.name} loads, fingerprint {fingerprint(it.pipeline)}")


def check_version(it: DoctorContext) -> Iterator[CheckResult]:
    """The served version is signed by a trusted key, is of this declaration, Python and River, and loads."""
    manifest = it.manifest
    name, trusted = it.pipeline.name, trusted_keys(it.settings, it.pipeline.name)
    load_version(
        pipeline_store(it.settings, name), manifest, it.pipeline, fingerprint(it.pipeline), trusted
    )
    yield ok(
        f"version {manifest.version} is signed by key {manifest.key_id}, is of this pipeline file and loads; "
        f"examples learned: {manifest.learned:,}"
    )
