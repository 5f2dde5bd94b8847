"""The subjects of a pipeline: checked against what is registered, and registered all or none."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from stream_app.errors import RegistryError
from stream_app.pipeline import Pipeline, parsed
from stream_app.schema_registry.bundled_schemas import packaged_schema
from stream_app.schema_registry.compatibility import Incompatibility, problems
from stream_app.schema_registry.registry import SchemaRegistry, open_registry
from stream_app.settings import Settings
from stream_app.topic_kinds import TopicKind, topic_name


class Subject(NamedTuple):
    """A subject and the schema that the pipeline has for it, as JSON."""

    name: str
    schema: str


@dataclass(frozen=True, slots=True)
class CheckedSubject:
    """How a schema stands to the `versions` that there are of it already."""

    subject: str
    versions: int
    result: Literal["new", "unchanged", "compatible", "incompatible"]
    problems: tuple[Incompatibility, ...] = ()


@dataclass(frozen=True, slots=True)
class RegisteredSubject:
    """A subject and the id of its schema."""

    subject: str
    id: int
    result: Literal["registered", "exists"]


Versions = Callable[[Subject], list[str]]
"""All versions that there are of a subject, as JSON, oldest first."""


def subject_name(pipeline: str, kind: TopicKind) -> str:
    """Subject of the values of a topic.

    >>> subject_name("payments", "scored")
    'payments.scored-value'
    """
    return f"{topic_name(pipeline, kind)}-value"


def subjects_of(pipeline: Pipeline) -> tuple[Subject, ...]:
    """The subjects of a loaded pipeline: its own schemas, and those of what the system writes for it."""

    schemas: dict[TopicKind, Mapping[str, Any]] = {
        "raw": parsed(pipeline.schema),
        "labels": parsed(pipeline.label.schema),
        "scored": packaged_schema("scored"),
        "monitoring": packaged_schema("monitoring"),
    }
    return tuple(
        Subject(subject_name(pipeline.name, kind), json.dumps(schema))
        for kind, schema in schemas.items()
    )


def check_schemas(pipeline: Pipeline, versions: Versions) -> list[CheckedSubject]:
    """Whether each schema of a loaded pipeline can read everything written with any of its versions."""
    return [_check(subject, versions(subject)) for subject in subjects_of(pipeline)]


def registered_in(registry: SchemaRegistry) -> Versions:
    """The versions that a registry has."""
    return lambda subject: registry.versions(subject.name)


def register_schemas(pipeline: Pipeline, settings: Settings) -> list[RegisteredSubject]:
    """Register the schemas of a loaded pipeline that are not registered yet.

    Raises `RegistryError`, before anything is registered, if one cannot read what was written with an older version.
    """
    registry = open_registry(settings.registry)
    require_compatible(check_schemas(pipeline, registered_in(registry)))
    return [_register(registry, subject) for subject in subjects_of(pipeline)]


def require_compatible(checked: list[CheckedSubject]) -> None:
    """Raise `RegistryError` with the first problem, if there is one."""
    found = [(one.subject, problem) for one in checked for problem in one.problems]
    if found:
        subject, problem = found[0]
        more = f" ({len(found) - 1} more: run `stream-app schemas check`)" if len(found) > 1 else ""
        where = f"field {problem.field}: " if problem.field else ""
        raise RegistryError(
            f"The schema of {subject} cannot read records of version {problem.version}: {where}{problem.reason}{more}",
            problem.remedy,
        )


def _check(subject: Subject, versions: list[str]) -> CheckedSubject:
    try:
        found = tuple(problems(subject.schema, versions))
    except ValueError as error:
        raise RegistryError(
            f"{subject.name}: {error}", "Correct it, or delete that version"
        ) from None
    if found:
        return CheckedSubject(subject.name, len(versions), "incompatible", found)
    if not versions:
        return CheckedSubject(subject.name, 0, "new")
    same = json.loads(versions[-1]) == json.loads(subject.schema)
    return CheckedSubject(subject.name, len(versions), "unchanged" if same else "compatible")


def _register(registry: SchemaRegistry, subject: Subject) -> RegisteredSubject:
    known = registry.id_of(subject.name, subject.schema)
    if known is not None:
        return RegisteredSubject(subject.name, known, "exists")
    return RegisteredSubject(
        subject.name, registry.register(subject.name, subject.schema), "registered"
    )
