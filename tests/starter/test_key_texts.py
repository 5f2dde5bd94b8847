"""Keys in Avro and JSON have the text of their only value, which fields can be compared with."""

from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from stream_app.core.reading.decoding import add_frame
from stream_app.schema_registry.folder_registry import FolderRegistry
from stream_app.starter.key_texts import KeyTexts
from tests.avro_samples import encode

ROW = {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "long"}]}
PAIR = {**ROW, "fields": [*ROW["fields"], {"name": "line", "type": "int"}]}
KIND = {"type": "enum", "name": "Kind", "symbols": ["a", "b"]}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}


def wrapped(schema: Any, value: Any) -> bytes:
    """Return the bytes of a value that is no record: those of a record that has only this field."""
    fields = [{"name": "key", "type": schema}]
    return encode({"type": "record", "name": "Wrapper", "fields": fields}, {"key": value})


@pytest.mark.parametrize(
    ("schema", "value", "text"),
    [
        ("string", "o-7", "o-7"),
        ("long", 7, "7"),
        (["null", "string"], "o-7", "o-7"),
        (ROW, {"id": 7}, "7"),
        (KIND, "b", "b"),
        (MILLIS, 1_700_000_000_000, "1700000000000"),
        (PAIR, {"id": 7, "line": 1}, None),
        ("double", 0.5, None),
        ("bytes", b"x", None),
    ],
)
def test_a_key_in_avro_has_the_text_of_its_only_value(
    tmp_path: Path, schema: Any, value: Any, text: str | None
) -> None:
    (tmp_path / "7-orders-key.avsc").write_bytes(orjson.dumps(schema))
    texts = KeyTexts(FolderRegistry(tmp_path))
    key = add_frame(wrapped(schema, value), 7)
    assert texts.of(key) == texts.of(key) == text
    assert texts.of(key + b"more") is None
    assert KeyTexts(None).of(key) is None


def test_a_binary_key_that_is_no_avro_has_no_text(tmp_path: Path) -> None:
    texts = KeyTexts(FolderRegistry(tmp_path))
    for key in (
        (7).to_bytes(8, "big"),
        b"\0",
        b"\0" * 5,
        add_frame(b"\x02a", 9),
        UUID(int=7).bytes,
    ):
        assert texts.of(key) is None


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (None, None),
        (b"", ""),
        (b'{"schema": {"type": "int64"}, "payload": 7}', "7"),
        (b'{"schema": null, "payload": {"id": "o-7"}}', "o-7"),
        (b'{"id": 7, "line": 1}', '{"id": 7, "line": 1}'),
        (b"{broken", "{broken"),
        (b"007", "007"),
    ],
)
def test_other_keys(key: bytes | None, text: str | None) -> None:
    assert KeyTexts(None).of(key) == text
