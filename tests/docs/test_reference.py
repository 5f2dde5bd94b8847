"""The reference matches the code, and everything that the code declares is described."""

import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel, SecretStr

from docs.generate import PAGES, REFERENCE, generate
from docs.generate.metrics import sections
from docs.generate.schemas import FOLDER, flat
from docs.generate.settings import descriptions, variables
from stream_app.core.scoring.dead_letter import FailureContext, dead_letter, shortened
from stream_app.error_codes import WHO_ACTS, ErrorClass
from stream_app.headers import DEAD_LETTER_HEADERS
from stream_app.kafka.topic_uses import USES
from stream_app.records import Failure, Record
from stream_app.settings import Settings
from stream_app.telemetry import metrics
from stream_app.topic_kinds import KINDS
from stream_app.worker.roles.role_table import ROLES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_matches_the_code(name: str) -> None:
    file = REFERENCE / name
    assert file.exists(), "run `make docs`"
    assert file.read_text(encoding="utf-8") == generate()[file], "run `make docs`"


def test_the_reference_has_no_other_pages() -> None:
    assert {file.name for file in REFERENCE.iterdir()} == set(PAGES)


def test_the_environment_changes_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    before = generate()
    monkeypatch.setenv("STREAM_APP_TOPICS__PARTITIONS", "7")
    monkeypatch.setenv("COLUMNS", "40")
    assert generate() == before


def setting_sections() -> dict[str, type[BaseModel]]:
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


def test_every_setting_has_a_description() -> None:
    found = setting_sections()
    undescribed = Settings.model_fields.keys() - found.keys() - descriptions(Settings).keys()
    for section in found.values():
        assert section.__doc__
        undescribed |= section.model_fields.keys() - descriptions(section).keys()
    assert not undescribed
    assert "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS" in variables()
    assert len(set(variables())) == len(variables())


def test_every_secret_can_be_read_from_a_file() -> None:
    for section in setting_sections().values():
        secrets = {
            name
            for name, f in section.model_fields.items()
            if SecretStr in getattr(f.annotation, "__args__", ())
        }
        assert {f"{name}_file" for name in secrets} <= section.model_fields.keys()


def test_every_metric_is_in_a_section() -> None:
    declared = {
        id(value): name
        for name, value in vars(metrics).items()
        if isinstance(value, MetricWrapperBase)
    }
    listed = [declared[id(metric)] for _, found in sections() for metric in found]
    assert sorted(listed) == sorted(declared.values())


def test_every_topic_has_its_readers_and_writers() -> None:
    assert tuple(USES) == KINDS
    for role in ROLES.values():
        assert {kind for kind, use in USES.items() if role.name in use.readers} >= set(role.inputs)
        others = {kind for kind, use in USES.items() if role.name in use.readers} - set(role.inputs)
        assert all(kind == "models" or role.name in USES[kind].writers for kind in others)
    for use in USES.values():
        assert {*use.writers, *use.readers} <= {
            *ROLES,
            "replayer",
            "model-admin",
            "alarm-admin",
            "producers",
            "consumers",
        }
        assert "." in use.schema or not use.schema or (FOLDER / f"{use.schema}.avsc").exists()


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.avsc")), ids=lambda file: file.stem)
def test_every_field_of_a_schema_is_documented(file: Path) -> None:
    schema: dict[str, Any] = json.loads(file.read_text())
    assert schema["doc"]
    assert [path for path, field in flat(schema) if not field.get("doc")] == []


def test_a_dead_letter_has_the_headers_that_are_documented() -> None:
    record = Record("p.raw", 0, 7, 0, b"k", b"v", ())
    context = FailureContext("p.score", "1", "f", "0")
    output = dead_letter("raw.dlq", record, Failure("invalid-json", "no JSON"), context, now=0)
    written = dict.fromkeys(name for name, _ in [*output.headers, *shortened(output).headers])
    assert list(written) == list(DEAD_LETTER_HEADERS)


def test_every_class_of_errors_says_who_acts() -> None:
    assert set(WHO_ACTS) == set(ErrorClass)
