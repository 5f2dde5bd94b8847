"""A Kafka record as one line: JSON for programs, text for people."""

import base64
from typing import Any

import orjson
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from stream_app.core.reading.decoding import parse_schema_id
from stream_app.formatting import iso_time
from stream_app.headers import ERROR_CODE, ERROR_MESSAGE, VALUE_SCHEMA_ID
from stream_app.transfer.measurement_text import measurement_text

_SHOWN = 2000  # characters of a value on a text line


def json_line(message: Message, value: bytes | None) -> bytes:
    """One JSON object: topic, partition, offset, timestamp (ISO 8601, UTC), key, headers and `value`.

    The value is the JSON that it is, else text, else ``{"base64": ...}``; a key is text or the same; headers are text.
    """
    return orjson.dumps(
        {
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
            "timestamp": _timestamp(message),
            "key": json_text(message.key()),
            "headers": _headers(message),
            "value": _value(value),
        }
    )


def text_line(message: Message, value: bytes | None) -> bytes:
    """Time, place, key, what went wrong if it is a dead letter, and `value`; nothing in it moves a terminal's cursor.

    Values over 2,000 characters are cut; measurements are put into words.
    """
    headers = _headers(message)
    parts = [
        _timestamp(message) or "-",
        f"{message.topic()}[{message.partition()}]@{message.offset()}",
        _plain(message.key()),
        f"{headers[ERROR_CODE]} ({headers.get(ERROR_MESSAGE, '')})"
        if ERROR_CODE in headers
        else "",
        _words(message, value) or _plain(value),
    ]
    return harmless("  ".join(part for part in parts if part)).encode()


def _words(message: Message, value: bytes | None) -> str | None:
    return measurement_text(value) if (message.topic() or "").endswith(".monitoring") else None


def _timestamp(message: Message) -> str | None:
    kind, milliseconds = message.timestamp()
    if kind == TIMESTAMP_NOT_AVAILABLE:
        return None
    try:
        return iso_time(milliseconds)
    except (ValueError, OverflowError, OSError):  # beyond the year 9999, which Kafka takes
        return None


def _headers(message: Message) -> dict[str, str]:
    pairs: Any = message.headers() or ()
    return {name: _header(name, content) for name, content in pairs}


def _header(name: str, content: bytes | None) -> str:
    schema_id = parse_schema_id(content) if name == VALUE_SCHEMA_ID else None
    return (content or b"").decode("utf-8", "replace") if schema_id is None else str(schema_id)


def json_text(content: bytes | None) -> str | dict[str, str] | None:
    """Text for JSON, or ``{"base64": ...}``."""
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _value(content: bytes | None) -> Any:
    """JSON is passed on as it is, on one line: line breaks in it can only be blanks between tokens."""
    try:
        orjson.loads(content or b"")
    except orjson.JSONDecodeError:
        return json_text(content)
    return orjson.Fragment((content or b"").translate(_ONE_LINE))


_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def _plain(content: bytes | None) -> str:
    """Text for people; bytes that are not UTF-8 show as escapes."""
    if content is None:
        return "null"
    text = content.decode("utf-8", "backslashreplace")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(content):,} bytes)"


def harmless(text: str) -> str:
    """The text on one line, with nothing in it that moves a terminal's cursor."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else " " if c in "\r\n\t" else f"\\x{ord(c):02x}" for c in text
    )
