"""The subjects of a pipeline over its life: registered, evolved, refused all or none."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from stream_app.errors import RegistryError
from stream_app.pipeline import Label, Pipeline
from stream_app.schema_registry import SchemaRegistry, open_registry
from stream_app.schema_registry.subjects import (
    check_schemas,
    register_schemas,
    registered_in,
    subject_name,
)
from stream_app.settings import RegistrySettings, Settings
from stream_app.topic_kinds import TopicKind
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
    """The schema with another field, or without one."""
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


def test_the_subjects_of_all_avro_topics_are_registered_once(
    name: str, settings: Settings, registry: SchemaRegistry
) -> None:
    done = register_schemas(small_pipeline(name), settings)
    assert [one.subject for one in done] == [f"{name}.{kind}-value" for kind in KINDS]
    assert {one.result for one in done} == {"registered"}
    assert json.loads(registry.schema(done[0].id)) == EVENT_SCHEMA
    assert json.loads(registry.schema(done[1].id)) == LABEL_SCHEMA
    again = register_schemas(small_pipeline(name), settings)
    assert [(one.id, one.result) for one in again] == [(one.id, "exists") for one in done]


def test_a_subject_evolves_over_three_versions(
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
    checked = check_schemas(small_pipeline(name, schema=third), registered_in(registry))
    assert [(one.versions, one.result) for one in checked] == [
        (3, "unchanged"),
        *[(1, "unchanged")] * 3,
    ]


def test_a_version_before_the_newest_counts_too(name: str, settings: Settings) -> None:
    """Of the new field's default only version 1 has need, and that is gone again in version 3."""
    for schema in (EVENT_SCHEMA, evolved(EVENT_SCHEMA, name="shop", type="string", default="")):
        register_schemas(small_pipeline(name, schema=schema), settings)
    with pytest.raises(RegistryError) as caught:
        register_schemas(
            small_pipeline(name, schema=evolved(EVENT_SCHEMA, name="shop", type="string")), settings
        )
    assert caught.value.message == (
        f"The schema of {name}.raw-value cannot read records of version 1: field shop: it is new and has no default"
    )
    assert caught.value.remedy == "Give it a default"


def test_nothing_is_registered_if_one_subject_is_incompatible(
    name: str, settings: Settings, registry: SchemaRegistry
) -> None:
    subject = subject_name(name, "labels")
    registry.register(subject, json.dumps(evolved(LABEL_SCHEMA, without="fraud")))
    with pytest.raises(RegistryError, match="field fraud: it is new"):
        register_schemas(small_pipeline(name), settings)
    assert [len(registry.versions(subject_name(name, kind))) for kind in KINDS] == [0, 1, 0, 0]


def test_a_version_that_is_no_schema_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / f"1-{name}.labels-value.avsc").write_text('{"type": "nothing"}')
    settings = Settings(registry=RegistrySettings(url=tmp_path.as_uri()))
    with pytest.raises(RegistryError, match=f"{name}.labels-value: version 1 is not valid Avro"):
        register_schemas(small_pipeline(name), settings)


def test_a_registry_that_asks_for_more_than_we_do_has_the_last_word(
    name: str, apicurio: str
) -> None:
    """With FULL a field that has no default may not go; run again when the registry agrees, and all is registered."""
    settings = Settings(registry=RegistrySettings(url=apicurio, timeout_seconds=60))
    register_schemas(small_pipeline(name), settings)
    config = f"{apicurio}/config/{name}.labels-value"
    httpx.put(config, json={"compatibility": "FULL"}, timeout=60).raise_for_status()
    stricter = with_labels(name, evolved(LABEL_SCHEMA, without="fraud"))
    with pytest.raises(
        RegistryError, match=f"refuses the schema of {name}.labels-value as incompatible: "
    ) as caught:
        register_schemas(stricter, settings)
    assert len(str(caught.value).splitlines()) == 1
    httpx.put(config, json={"compatibility": "BACKWARD"}, timeout=60).raise_for_status()
    assert results(stricter, settings) == ["exists", "registered", "exists", "exists"]
