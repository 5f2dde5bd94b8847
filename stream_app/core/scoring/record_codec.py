"""Records kept in state until they can be processed, untouched."""

from base64 import b64decode, b64encode
from typing import Any

from stream_app.records import Record


def to_json(record: Record) -> list[Any]:
    """What JSON can hold; bytes are base64."""
    topic, partition, offset, timestamp, key, value, headers = record
    texts = [(name, _text(content)) for name, content in headers]
    return [topic, partition, offset, timestamp, _text(key), _text(value), texts]


def from_json(content: list[Any]) -> Record:
    """The record that `to_json` wrote."""
    topic, partition, offset, timestamp, key, value, headers = content
    originals = tuple((name, _bytes(text) or b"") for name, text in headers)
    return Record(topic, partition, offset, timestamp, _bytes(key), _bytes(value), originals)


def _text(content: bytes | None) -> str | None:
    return None if content is None else b64encode(content).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)
