"""Contract of all registries, tested with a folder and a real server."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from stream_app.schema_registry import SchemaRegistry, UnknownSchemaError, open_registry
from stream_app.settings import RegistrySettings
from tests.schema_registry.schemas import AMOUNT, COUNTRY, ID, schema_text, unique_subject

FIRST, SECOND, THIRD = schema_text(ID), schema_text(ID, AMOUNT), schema_text(ID, AMOUNT, COUNTRY)


@pytest.fixture(params=["folder", "server"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> RegistrySettings:
    url = tmp_path.as_uri() if request.param == "folder" else request.getfixturevalue("apicurio")
    return RegistrySettings(url=url, timeout_seconds=60)


@pytest.fixture
def registry(settings: RegistrySettings) -> SchemaRegistry:
    return open_registry(settings)


def same(one: str, other: str) -> bool:
    return bool(json.loads(one) == json.loads(other))


def test_a_registered_schema_is_found_by_id_and_by_subject(
    registry: SchemaRegistry, settings: RegistrySettings
) -> None:
    subject = unique_subject()
    schema_id = registry.register(subject, FIRST)
    for reader in (registry, open_registry(settings)):
        assert same(reader.schema(schema_id), FIRST)
        assert reader.lookup_id(subject, FIRST) == schema_id
        assert [same(version, FIRST) for version in reader.versions(subject)] == [True]


def test_registering_a_schema_again_returns_its_id(registry: SchemaRegistry) -> None:
    subject = unique_subject()
    ids = [registry.register(subject, schema) for schema in (FIRST, SECOND, FIRST, SECOND)]
    assert ids == [ids[0], ids[1], ids[0], ids[1]]
    assert ids[0] != ids[1]
    assert len(registry.versions(subject)) == 2


def test_versions_of_a_subject_are_listed_oldest_first(registry: SchemaRegistry) -> None:
    subject, other = unique_subject(), unique_subject()
    for schema in (FIRST, SECOND, THIRD):
        registry.register(subject, schema)
        registry.register(other, schema_text(ID, name="Other"))
    assert list(map(json.loads, registry.versions(subject))) == list(
        map(json.loads, (FIRST, SECOND, THIRD))
    )
    assert len(registry.versions(other)) == 1


def test_unknown_ids_and_subjects_are_not_found(registry: SchemaRegistry) -> None:
    subject = unique_subject()
    for unknown in (2**31 - 1, uuid4()):
        with pytest.raises(UnknownSchemaError, match=str(unknown)):
            registry.schema(unknown)
    assert registry.versions(subject) == []
    assert registry.lookup_id(subject, FIRST) is None
    registry.register(subject, FIRST)
    assert registry.lookup_id(subject, SECOND) is None


def test_schemas_registered_concurrently_get_different_ids(
    settings: RegistrySettings,
) -> None:
    subject = unique_subject()
    schemas = [schema_text(ID, (f"field{number}", "int", {"default": 0})) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        ids = list(
            pool.map(lambda schema: open_registry(settings).register(subject, schema), schemas)
        )
    assert len(set(ids)) == len(schemas)
    registry = open_registry(settings)
    assert all(
        same(registry.schema(schema_id), schema)
        for schema_id, schema in zip(ids, schemas, strict=True)
    )
