"""`produce` encodes JSON as Avro and `consume` decodes it, if that is the pipeline's format."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from stream_app.errors import RegistryError
from stream_app.headers import VALUE_SCHEMA_ID
from stream_app.schema_registry import open_registry
from stream_app.schema_registry.subjects import register_schemas
from stream_app.settings import RegistrySettings, Settings
from stream_app.transfer.produce import ProduceSummary, produce_file
from stream_app.transfer.record_rendering import ValueDecoder, json_line, text_line
from tests import avro_samples
from tests.small_pipeline import EVENT_SCHEMA, event, small_pipeline
from tests.transfer.clusters import producer, read

pytestmark = pytest.mark.broker

LINES = b"""\
{"id": "e1", "at": "2023-11-14T22:13:20Z", "amount": 1, "country": "NL", "extra": true}
{"id": "e2", "at": 1700000000000, "amount": "much"}
{"id": "e3", "at": 1700000000000}
{"id": "e4", "at": 1700000000000, "amount": 2.5}
{"amount": 2.5}
{"id":
"""


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    (tmp_path / "schemas").mkdir()
    return settings.model_copy(
        update={"registry": RegistrySettings(url=(tmp_path / "schemas").as_uri())}
    )


def send(
    settings: Settings, name: str, folder: Path, text: bytes, **options: Any
) -> ProduceSummary:
    path = folder / "events.jsonl"
    path.write_bytes(text)
    return produce_file(settings, small_pipeline(name, format="avro"), str(path), **options)


def shown(settings: Settings, name: str) -> list[dict[str, Any]]:
    """Return the output of `consume --json` for the raw topic."""
    decoder = ValueDecoder(open_registry(settings.registry))
    found = sorted(read(settings, name, "raw"), key=lambda message: message.key() or b"")
    return [orjson.loads(json_line(message, decoder.to_json(message))) for message in found]


def test_lines_are_encoded_as_avro_and_others_are_reported(
    settings: Settings, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (raw, *_) = register_schemas(small_pipeline(name, format="avro"), settings)
    done = send(settings, name, tmp_path, LINES)
    assert done == ProduceSummary(f"{name}.raw", produced=2, bad=4, bad_lines=[2, 3, 5, 6])
    said = capsys.readouterr().err
    assert "line 2: field amount: expected double, got string" in said
    assert "line 3: field amount is missing" in said
    values = {message.key(): message.value() for message in read(settings, name, "raw")}
    fields = {"id": "e1", "at": 1_700_000_000_000, "amount": 1.0, "country": "NL"}
    assert values[b"e1"] == avro_samples.framed(EVENT_SCHEMA, fields, raw.id)
    assert [record["value"] for record in shown(settings, name)] == [
        fields, {"id": "e4", "at": 1_700_000_000_000, "amount": 2.5, "country": None},
    ]  # fmt: skip


def test_json_can_be_sent_unchanged_to_an_avro_pipeline(
    settings: Settings, name: str, tmp_path: Path
) -> None:
    assert send(settings, name, tmp_path, LINES, encoding="json").produced == 4
    assert {message.value() for message in read(settings, name, "raw")} == set(
        LINES.splitlines()[:4]
    )
    assert shown(settings, name)[1]["value"]["amount"] == "much"


def test_without_a_registry_or_a_registered_schema_nothing_is_sent(
    settings: Settings, name: str, tmp_path: Path
) -> None:
    with pytest.raises(RegistryError, match="stream-app schemas register"):
        send(settings, name, tmp_path, LINES)
    with pytest.raises(RegistryError, match="STREAM_APP_REGISTRY__URL"):
        send(settings.model_copy(update={"registry": RegistrySettings()}), name, tmp_path, LINES)
    assert read(settings, name, "raw") == []


def test_an_undecodable_value_is_shown_as_bytes(settings: Settings, name: str) -> None:
    registry = open_registry(settings.registry)
    deep = {
        "type": "record",
        "name": "Deep",
        "fields": [{"name": "next", "type": ["null", "Deep"]}],
    }
    good, nested = (
        registry.register("s", json.dumps(EVENT_SCHEMA)),
        registry.register("d", json.dumps(deep)),
    )
    value = avro_samples.encode(EVENT_SCHEMA, event(1))
    guid = UUID("89791762-2336-4186-9674-299b90a802e2")
    records: list[tuple[bytes, list[tuple[str, bytes]]]] = [
        (avro_samples.framed(EVENT_SCHEMA, event(1), good), []),
        (value, [(VALUE_SCHEMA_ID, b"\0" + good.to_bytes(4, "big"))]),
        (value, [(VALUE_SCHEMA_ID, b"\1" + guid.bytes)]),
        (value, [(VALUE_SCHEMA_ID, b"?")]),
        (avro_samples.framed(EVENT_SCHEMA, event(1), good)[:-1], []),
        (b"\0\0\0\0\x63" + value, []),
        (b"\0" + nested.to_bytes(4, "big") + b"\2" * 300 + b"\0", []),
    ]
    sender = producer(settings)
    for number, (content, headers) in enumerate(records):
        sender.produce(f"{name}.raw", content, str(number).encode(), headers=headers)
    assert sender.flush(20) == 0
    lines = shown(settings, name)
    assert [line["value"] for line in lines[:2]] == [event(1), event(1)]
    assert [line["headers"].get(VALUE_SCHEMA_ID) for line in lines[:4]] == [
        None,
        str(good),
        str(guid),
        "?",
    ]
    assert all(isinstance(line["value"], str) or "base64" in line["value"] for line in lines[2:])
    without = ValueDecoder(None)
    for message in read(settings, name, "raw"):
        assert without.to_json(message) == message.value()
        assert text_line(message, without.to_json(message)).decode().isprintable()
