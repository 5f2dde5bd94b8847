"""Checks of pipeline file, artifact store, keys, schema registry, served version, and learning."""

import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.doctor.context import (
    CheckResult,
    DoctorContext,
    UnavailableError,
    ok,
    problem,
    skipped,
    warning,
)
from stream_app.errors import RegistryError
from stream_app.formatting import counted
from stream_app.model_store.artifacts import ArtifactStore, pipeline_store
from stream_app.model_store.key_files import (
    KeyPaths,
    key_paths,
    list_keys,
    load_signing_key,
    trusted_keys,
)
from stream_app.model_store.model_loading import load_version
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.schema_registry import open_registry
from stream_app.schema_registry.subjects import CheckedSubject, check_schemas, versions_in_registry

_OTHER_USERS = stat.S_IRWXG | stat.S_IRWXO
_REGISTER = "Run `stream-app schemas register PIPELINE`"
_UNUSED = "Unset STREAM_APP_REGISTRY__URL, or start the registry if consumers need it"


def check_pipeline(context: DoctorContext) -> Iterator[CheckResult]:
    """Check that the pipeline file loads and is valid."""
    pipeline = context.pipeline
    yield ok(f"pipeline {pipeline.name} loads, fingerprint {fingerprint(pipeline)}")


def check_store(context: DoctorContext) -> Iterator[CheckResult]:
    """Check that an artifact can be written, read and deleted."""
    store, content = _store(context), secrets.token_bytes(64)
    artifact = store.put(content)
    try:
        store.get(artifact.sha256, artifact.size)
    finally:
        store.delete(artifact.sha256)
    yield ok(f"artifact store: a test artifact was written, read and deleted in {store.locate('')}")


def _store(context: DoctorContext) -> ArtifactStore:
    """Return the store of the pipeline, or that of all pipelines if none is named."""
    try:
        return pipeline_store(context.settings, context.pipeline.name)
    except UnavailableError:
        return ArtifactStore(context.settings.store)


def check_keys(context: DoctorContext) -> Iterator[CheckResult]:
    """Check the signing key and the trusted keys on this machine."""
    yield from evaluate_key_files(key_paths(context.settings, context.pipeline.name))


def evaluate_key_files(paths: KeyPaths) -> Iterator[CheckResult]:
    """Yield results for key files.

    Raises:
        ModelError: a file is damaged or cannot be read.
    """
    keys = list_keys(paths)
    trusted = [key.id for key in keys if key.revoked is None]
    signing = load_signing_key(paths)
    if signing is None and not trusted:
        yield skipped(
            f"there is no key in {paths.trusted} yet",
            "The learner creates the first one; on other machines copy its public keys there",
        )
    elif signing is None:
        yield ok(f"keys: {len(trusted)} trusted, no signing key on this machine")
    elif any(key.id == signing.id and key.revoked is not None for key in keys):
        yield problem(
            f"the signing key {signing.id} is revoked",
            "Create another one: `stream-app keys rotate PIPELINE`",
        )
    else:
        yield ok(f"keys: {len(trusted)} trusted; key {signing.id} signs")
    if signing is not None and _is_readable_by_others(paths.signing):
        yield warning(
            f"the signing key {paths.signing} can be read by other users of this machine",
            f"chmod 600 {paths.signing}, and rotate it if somebody may have read it",
        )


def _is_readable_by_others(file: Path) -> bool:
    """Return True if other users can read a file.

    A file of another owner that this user reads as a member of its group, such as a Kubernetes
    Secret, must be readable by the group.
    """
    state = file.stat()
    shared = stat.S_IRWXO if state.st_uid != os.geteuid() else _OTHER_USERS
    return bool(state.st_mode & shared)


def check_registry(context: DoctorContext) -> Iterator[CheckResult]:
    """Check that the schema registry has the schemas of everything that is written in Avro."""
    avro = context.pipeline.format == "avro"
    if not avro and not context.settings.registry.url:
        yield skipped("no schema registry: none is configured, and the pipeline writes JSON")
        return
    try:
        registry = open_registry(context.settings.registry)
        for checked in check_schemas(context.pipeline, versions_in_registry(registry)):
            yield evaluate_schema(checked, required=avro)
    except RegistryError as error:
        if avro:
            raise
        yield warning(
            f"{error.message}; the pipeline writes JSON, and its workers need no registry", _UNUSED
        )


def evaluate_schema(checked: CheckedSubject, *, required: bool) -> CheckResult:
    """Return the result for one schema; `required` if records are written with it."""
    match checked.result:
        case "incompatible":
            first = checked.problems[0]
            return (problem if required else warning)(
                f"the schema of {checked.subject} cannot read records of version "
                f"{first.version}: {first.reason}",
                first.remedy,
            )
        case "new" if required:
            return problem(
                f"the registry has no schema of {checked.subject}, which is written in Avro",
                _REGISTER,
            )
        case "compatible" if required:
            return warning(f"the registry has an older schema of {checked.subject}", _REGISTER)
    return ok(f"the registry answers; versions of {checked.subject}: {checked.versions}")


def check_version(context: DoctorContext) -> Iterator[CheckResult]:
    """Check that the served version loads: trusted key, same pipeline file, Python and River."""
    pipeline, manifest = context.pipeline, context.manifest
    store = pipeline_store(context.settings, pipeline.name)
    trusted = trusted_keys(context.settings, pipeline.name)
    load_version(store, manifest, pipeline, fingerprint(pipeline), trusted)
    yield ok(
        f"version {manifest.version} is signed by key {manifest.key_id}, is of this pipeline file "
        f"and loads; examples learned: {manifest.learned:,}"
    )


def check_learning(context: DoctorContext) -> Iterator[CheckResult]:
    """Check that learning, as a whole or from a source, is not paused."""
    yield from learning_results(context.view.registry(context.offset_bounds))


def learning_results(registry: ModelRegistry) -> Iterator[CheckResult]:
    """Yield a warning for each pause of learning, so that none is forgotten."""
    resume = "Once the labels are right: `stream-app learning resume PIPELINE"
    if registry.learning is not None and registry.learning.active:
        _, at, who, why = registry.learning
        yield warning(f"learning is paused since {at[:19]}Z, by {who}: {why}", f"{resume}`")
    rules = registry.rules
    for source in rules.paused_sources:
        _, at, who, why = registry.source_learning[source]
        yield warning(
            f"learning from {source} is paused since {at[:19]}Z, by {who}: {why}",
            f"{resume} --source {source}`",
        )
    if not registry.paused and not rules.paused_sources:
        count = counted(len(rules.exclusions), "exclusion")
        yield ok(f"learning is not paused; {count} in force")
