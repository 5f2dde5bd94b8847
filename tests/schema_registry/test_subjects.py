"""Subjects of a pipeline: registration, evolution, and rejection of incompatible schemas."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from stream_app.errors import InputError, RegistryError
from stream_app.pipeline import Label, Pipeline
from stream_app.schema_registry import SchemaRegistry, open_registry
from stream_app.schema_registry.subjects import (
    check_schemas,
    register_schemas,
    subject_name,
    versions_in_files,
    versions_in_registry,
)
from stream_app.settings import RegistrySettings, Settings
from stream_app.topic_kinds import TopicKind
from tests.schema_registry.schemas import ID, schema_text
from tests.small_pipeline import EVENT_SCHEMA, LABEL_SCHEMA, small_pipeline

KINDS: tuple[TopicKind, ...] = ("raw", "labels", "scored", "monitoring")


@pytest.fixture(params=["folder", "server"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    url = tmp_path.as_uri() if request.param == "folder" else request.getfixturevalue("apicurio")
    return Settings(registry=RegistrySettings(url=url, timeout_seconds=60))


@pytest.fixture
def registry(settings: Settings) -> SchemaRegistry:
    return open_registry(settings.registry)


@pytest.fixture
def name() -> str:
    return f"p{uuid4().hex[:8]}"


def evolved(schema: Mapping[str, Any], without: str = "", **field: Any) -> dict[str, Any]:
    """Return the schema with another field, or without one."""
    kept = [one for one in schema["fields"] if one["name"] != without]
    return {**schema, "fields": [*kept, *([field] if field else [])]}


def with_labels(name: str, schema: Mapping[str, Any]) -> Pipeline:
    pipeline = small_pipeline(name)
    declared = pipeline.label
    return small_pipeline(
        name, label=Label(schema=schema, field="fraud", time="known_at", horizon=declared.horizon)
    )


def results(pipeline: Pipeline, settings: Settings) -> list[str]:
    return [one.result for one in register_schemas(pipeline, settings)]


def test_the_schemas_of_all_avro_topics_are_registered_once(
    name: str, settings: Settings, registry: SchemaRegistry
) -> None:
    registered = register_schemas(small_pipeline(name), settings)
    assert [one.subject for one in registered] == [f"{name}.{kind}-value" for kind in KINDS]
    assert {one.result for one in registered} == {"registered"}
    assert json.loads(registry.schema(registered[0].id)) == EVENT_SCHEMA
    assert json.loads(registry.schema(registered[1].id)) == LABEL_SCHEMA
    again = register_schemas(small_pipeline(name), settings)
    assert [(one.id, one.result) for one in again] == [(one.id, "exists") for one in registered]


def test_a_schema_can_evolve_over_three_versions(
    name: str, settings: Settings, registry: SchemaRegistry
) -> None:
    second = evolved(EVENT_SCHEMA, name="shop", type=["null", "string"], default=None)
    third = evolved(second, without="country")
    for schema in (EVENT_SCHEMA, second, third):
        assert results(small_pipeline(name, schema=schema), settings)[0] == "registered"
    assert list(map(json.loads, registry.versions(subject_name(name, "raw")))) == [
        EVENT_SCHEMA,
        second,
        third,
    ]
    checked = check_schemas(small_pipeline(name, schema=third), versions_in_registry(registry))
    assert [(one.versions, one.result) for one in checked] == [
        (3, "unchanged"),
        *[(1, "unchanged")] * 3,
    ]


def test_a_schema_incompatible_with_an_older_version_is_rejected(
    name: str, settings: Settings
) -> None:
    # Only version 1 needs the default of the new field, which version 3 lacks.
    for schema in (EVENT_SCHEMA, evolved(EVENT_SCHEMA, name="shop", type="string", default="")):
        register_schemas(small_pipeline(name, schema=schema), settings)
    with pytest.raises(RegistryError) as caught:
        register_schemas(
            small_pipeline(name, schema=evolved(EVENT_SCHEMA, name="shop", type="string")), settings
        )
    assert caught.value.message == (
        f"The schema of {name}.raw-value cannot read records of version 1: "
        "field shop: it is new and has no default"
    )
    assert caught.value.remedy == "Give it a default"


def test_no_schema_is_registered_if_one_is_incompatible(
    name: str, settings: Settings, registry: SchemaRegistry
) -> None:
    subject = subject_name(name, "labels")
    registry.register(subject, json.dumps(evolved(LABEL_SCHEMA, without="fraud")))
    with pytest.raises(RegistryError, match="field fraud: it is new"):
        register_schemas(small_pipeline(name), settings)
    assert [len(registry.versions(subject_name(name, kind))) for kind in KINDS] == [0, 1, 0, 0]


def test_an_invalid_registered_version_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    (tmp_path / f"1-{name}.labels-value.avsc").write_text('{"type": "nothing"}')
    settings = Settings(registry=RegistrySettings(url=tmp_path.as_uri()))
    with pytest.raises(RegistryError, match=f"{name}.labels-value: version 1 is not valid Avro"):
        register_schemas(small_pipeline(name), settings)


def test_a_schema_rejected_by_the_registry_can_be_registered_later(
    name: str, apicurio: str
) -> None:
    # FULL compatibility forbids to remove a field without default. The command can be repeated.
    settings = Settings(registry=RegistrySettings(url=apicurio, timeout_seconds=60))
    register_schemas(small_pipeline(name), settings)
    config = f"{apicurio}/config/{name}.labels-value"
    httpx2.put(config, json={"compatibility": "FULL"}, timeout=60).raise_for_status()
    stricter = with_labels(name, evolved(LABEL_SCHEMA, without="fraud"))
    with pytest.raises(
        RegistryError, match=f"rejects the schema of {name}.labels-value as incompatible: "
    ) as caught:
        register_schemas(stricter, settings)
    assert len(str(caught.value).splitlines()) == 1
    httpx2.put(config, json={"compatibility": "BACKWARD"}, timeout=60).raise_for_status()
    assert results(stricter, settings) == ["exists", "registered", "exists", "exists"]


def test_a_folder_contains_the_versions_of_each_subject(tmp_path: Path) -> None:
    (tmp_path / "1-payments.labels-value.avsc").write_text(json.dumps(LABEL_SCHEMA))
    (tmp_path / "2-others.raw-value.avsc").write_text(schema_text(ID))
    checked = check_schemas(small_pipeline(), versions_in_files(tmp_path, small_pipeline()))
    assert [(one.versions, one.result) for one in checked] == [
        (0, "new"),
        (1, "unchanged"),
        *[(0, "new")] * 2,
    ]


def test_a_file_is_compared_with_the_record_of_the_same_name(tmp_path: Path) -> None:
    file = tmp_path / "old.avsc"
    file.write_text(json.dumps({**LABEL_SCHEMA, "namespace": "shop"}))
    checked = check_schemas(small_pipeline(), versions_in_files(file, small_pipeline()))
    assert [one.result for one in checked] == ["new", "compatible", "new", "new"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read: No such file or directory. Give a folder or a file"),
        ("{", "is not JSON"),
        ("[]", "is not an Avro record"),
        (
            schema_text(ID, name="a.Order"),
            "contains record Order, and the pipeline has no record of that name. "
            "Its records are Payment, ",
        ),
        (
            schema_text(ID, name="Scored"),
            "contains record Scored, and the pipeline has several records of that name",
        ),
    ],
)
def test_a_file_without_a_matching_record_is_an_error(
    tmp_path: Path, content: str | None, expected: str
) -> None:
    file = tmp_path / "old.avsc"
    if content is not None:
        file.write_text(content)
    pipeline = small_pipeline(
        schema={**EVENT_SCHEMA, "name": "Scored"}
        if content and "Scored" in content
        else EVENT_SCHEMA
    )
    with pytest.raises(InputError) as caught:
        versions_in_files(file, pipeline)
    assert expected in str(caught.value)
