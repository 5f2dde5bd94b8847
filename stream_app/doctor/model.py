"""The pipeline's file, and the model version that is served under it."""

from collections.abc import Iterator

from stream_app.doctor.examined import Examined
from stream_app.doctor.findings import Finding, ok
from stream_app.fingerprint import fingerprint
from stream_app.models.artifacts import pipeline_store
from stream_app.models.loaded import load_version


def check_pipeline(it: Examined) -> Iterator[Finding]:
    """The file loads and declares what can work."""
    yield ok(f"pipeline {it.pipeline.name} loads, fingerprint {fingerprint(it.pipeline)}")


def check_version(it: Examined) -> Iterator[Finding]:
    """The served version is of this declaration, this Python and this River, is undamaged, and loads."""
    manifest = it.manifest
    load_version(pipeline_store(it.settings, it.pipeline.name), manifest, it.pipeline, fingerprint(it.pipeline))
    yield ok(f"version {manifest.version} is of this pipeline file and loads; examples learned: {manifest.learned:,}")
