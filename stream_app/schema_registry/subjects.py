"""Subjects of a pipeline: their schemas are checked against older versions and registered."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from stream_app.errors import InputError, RegistryError
from stream_app.pipeline import Pipeline, parsed
from stream_app.schema_registry import SchemaRegistry, open_registry
from stream_app.schema_registry.compatibility import Incompatibility, incompatibilities
from stream_app.schema_registry.folder_registry import FolderRegistry
from stream_app.schema_registry.registry import bundled_schema, scored_schema
from stream_app.settings import Settings


class Subject(NamedTuple):
    """Subject, and the schema that the pipeline has for it, as JSON."""

    name: str
    schema: str


@dataclass(frozen=True, slots=True)
class CheckedSubject:
    """Result of checking a schema against the existing versions, of which there are `versions`.

    An `unchanged` schema is one of them.
    """

    subject: str
    versions: int
    result: Literal["new", "unchanged", "compatible", "incompatible"]
    problems: tuple[Incompatibility, ...] = ()


@dataclass(frozen=True, slots=True)
class RegisteredSubject:
    """Subject, and the id of its schema."""

    subject: str
    id: int
    result: Literal["registered", "exists"]


SubjectVersions = Callable[[Subject], list[str]]
"""Returns all versions of a subject, as JSON, oldest first."""


def subject_name(pipeline: str, kind: str) -> str:
    """Return the subject of the values of a topic.

    >>> subject_name("payments", "scored")
    'payments.scored-value'
    """
    return f"{pipeline}.{kind}-value"


def subjects_of(pipeline: Pipeline) -> tuple[Subject, ...]:
    """Return the subjects of a loaded pipeline's inputs and public outputs."""
    schemas: dict[str, Mapping[str, Any]] = {
        "raw": parsed(pipeline.schema),
        "labels": parsed(pipeline.label.schema),
        "scored": scored_schema(pipeline),
        "monitoring": bundled_schema("monitoring"),
    }
    return tuple(
        Subject(subject_name(pipeline.name, kind), json.dumps(schema))
        for kind, schema in schemas.items()
    )


def versions_in_registry(registry: SchemaRegistry) -> SubjectVersions:
    """Return the versions that a registry has."""
    return lambda subject: registry.versions(subject.name)


def versions_in_files(path: Path, pipeline: Pipeline) -> SubjectVersions:
    """Return the versions in a folder of `<id>-<subject>.avsc`, or the single one in a file.

    The schema in a file belongs to the subject whose record has the same name.

    Raises:
        InputError: the file cannot be read, or no record of the pipeline has its name.
    """
    if path.is_dir():
        return versions_in_registry(FolderRegistry(path))
    text, record = _read_schema_file(path)
    subjects = [
        subject
        for subject in subjects_of(pipeline)
        if _record_name(json.loads(subject.schema)) == record
    ]
    if len(subjects) != 1:
        names = ", ".join(
            str(_record_name(json.loads(subject.schema))) for subject in subjects_of(pipeline)
        )
        found = "several records" if subjects else "no record"
        raise InputError(
            f"{path} contains record {record}, and the pipeline has {found} of that name",
            f"Its records are {names}; name the record like the one to compare it with",
        )
    return lambda subject: [text] if subject == subjects[0] else []


def check_schemas(pipeline: Pipeline, versions: SubjectVersions) -> list[CheckedSubject]:
    """Check that each schema of a loaded pipeline reads records of all of its versions."""
    return [_check(subject, versions(subject)) for subject in subjects_of(pipeline)]


def require_compatible(checked: list[CheckedSubject]) -> None:
    """Raise the first incompatibility, if there is one.

    Raises:
        RegistryError: a schema cannot read records of an older version.
    """
    found = [(one.subject, problem) for one in checked for problem in one.problems]
    if found:
        subject, problem = found[0]
        more = f" ({len(found) - 1} more: run `stream-app schemas check`)" if len(found) > 1 else ""
        field = f"field {problem.field}: " if problem.field else ""
        raise RegistryError(
            f"The schema of {subject} cannot read records of version {problem.version}: "
            f"{field}{problem.reason}{more}",
            problem.remedy,
        )


def register_schemas(pipeline: Pipeline, settings: Settings) -> list[RegisteredSubject]:
    """Register the schemas of a loaded pipeline that are not registered yet.

    Raises:
        RegistryError: a schema cannot read records of an older version; none is registered then.
    """
    registry = open_registry(settings.registry)
    require_compatible(check_schemas(pipeline, versions_in_registry(registry)))
    return [_register(registry, subject) for subject in subjects_of(pipeline)]


def _check(subject: Subject, versions: list[str]) -> CheckedSubject:
    try:
        found = tuple(incompatibilities(subject.schema, versions))
    except ValueError as error:
        raise RegistryError(
            f"{subject.name}: {error}", "Correct it, or delete that version"
        ) from None
    if found:
        return CheckedSubject(subject.name, len(versions), "incompatible", found)
    if not versions:
        return CheckedSubject(subject.name, 0, "new")
    # An earlier version is registered too: a pipeline may return to it.
    known = json.loads(subject.schema) in map(json.loads, versions)
    return CheckedSubject(subject.name, len(versions), "unchanged" if known else "compatible")


def _register(registry: SchemaRegistry, subject: Subject) -> RegisteredSubject:
    known = registry.lookup_id(subject.name, subject.schema)
    if known is not None:
        return RegisteredSubject(subject.name, known, "exists")
    new = registry.register(subject.name, subject.schema)
    return RegisteredSubject(subject.name, new, "registered")


def _read_schema_file(path: Path) -> tuple[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
        name = _record_name(json.loads(text))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}", "Give a folder or a file of schemas"
        ) from None
    except ValueError as error:
        raise InputError(
            f"{path} is not JSON: {error}", "Give the file of an Avro schema"
        ) from None
    if name is None:
        raise InputError(f"{path} is not an Avro record", "Give the file of an Avro schema")
    return text, name


def _record_name(schema: Any) -> str | None:
    """Return the name of a record without its namespace."""
    name = schema.get("name") if isinstance(schema, dict) else None
    return name.rpartition(".")[2] if isinstance(name, str) else None
