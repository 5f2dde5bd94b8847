"""Kafka records as lines: JSON for programs, text for people; Avro values as JSON."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from stream_app.core.alarms.alarm_record import decode_alarm
from stream_app.core.published_records import is_lasting_alarm
from stream_app.core.reading.decoding import AvroFrame, find_frame, parse_schema_id
from stream_app.formatting import iso_time
from stream_app.headers import ERROR_CODE, ERROR_MESSAGE, VALUE_SCHEMA_ID
from stream_app.kafka.partition_reader import headers_of
from stream_app.records import Failure
from stream_app.schema_registry import SchemaRegistry
from stream_app.schema_registry.schema_cache import SchemaCache

_MAX_CHARACTERS = 2000
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def json_line(message: Message, value: bytes | None) -> bytes:
    """Return a record as a JSON object.

    Its keys are topic, partition, offset, timestamp (ISO 8601, UTC), key, headers and value. The
    value is embedded if it is JSON, otherwise it is text or ``{"base64": ...}``, as the key is.

    Args:
        value: value to show, which may be decoded from that of the message.
    """
    return orjson.dumps(
        {
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
            "timestamp": _timestamp(message),
            "key": json_text(message.key()),
            "headers": _headers(message),
            "value": _json_value(value),
        }
    )


def text_line(message: Message, value: bytes | None) -> bytes:
    """Return a record as printable text: time, offset, key, error of a dead letter, value.

    Values over 2,000 characters are shortened; measurements and alarms are described in words.
    """
    headers = _headers(message)
    error = (
        f"{headers[ERROR_CODE]} ({headers.get(ERROR_MESSAGE, '')})" if ERROR_CODE in headers else ""
    )
    kind = (message.topic() or "").rpartition(".")[2]
    describe = _DESCRIPTIONS.get(kind, _no_description)
    parts = [
        _timestamp(message) or "-",
        f"{message.topic()}[{message.partition()}]@{message.offset()}",
        _plain(message.key()),
        error,
        describe(value) or _plain(value),
    ]
    return sanitize_for_terminal("  ".join(part for part in parts if part)).encode()


def measurement_text(value: bytes | None) -> str | None:
    """Return a measurement, alarm or corrective action in words, without its kind and name.

    Kind and name are the record's key. Returns None for any other record on the topic.
    """
    try:
        fields = orjson.loads(value or b"")
        return "  ".join(part for part in _measurement_parts(fields) if part)
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return None


def _measurement_parts(fields: dict[str, Any]) -> list[str]:
    window, source, reference = fields["window"], fields.get("source"), fields["reference"]
    when = f"{iso_time(window['start'])[:19]} to {iso_time(window['end'])[:19]}"
    times = "once" if fields["n"] == 1 else f"{fields['n']:,} times"
    if fields["kind"] == "corrective_action":
        return [times, f"for {reference}", when, source or ""]
    if is_lasting_alarm(fields):
        state = "ongoing" if fields["breached"] else "ended"
        return [
            state,
            _measured_value(fields),
            f"for {reference}",
            f"raised {times}",
            when,
            source or "",
        ]
    version, examples = fields["model_version"], fields.get("examples")
    return [
        _measured_value(fields),
        "BREACHED" if fields["breached"] else "",
        f"n {fields['n']:,}",
        when,
        reference or "",
        "" if version is None else f"version {version}",
        f"examples {examples['first']} to {examples['last']}" if examples else "",
    ]


def _measured_value(fields: dict[str, Any]) -> str:
    limit = "" if fields["threshold"] is None else f" (limit {fields['threshold']:,.6g})"
    interval = fields.get("interval")
    bounds = f" [{interval['low']:,.6g} to {interval['high']:,.6g}]" if interval else ""
    return "" if fields["value"] is None else f"{fields['value']:,.6g}{bounds}{limit}"


def alarm_text(value: bytes | None) -> str | None:
    """Return an alarm of the monitor in words, without its id, which is the record's key."""
    alarm = decode_alarm(value)
    if alarm is None:
        return None
    state = "open" if alarm.closed_at is None else f"closed at {iso_time(alarm.closed_at)[:16]}"
    parts = [
        state,
        alarm.cause,
        f"since {iso_time(alarm.since)[:16]}",
        f"last {iso_time(alarm.updated_at)[:16]}",
        f"strength {alarm.strength:.3g}",
        "once" if alarm.n == 1 else f"{alarm.n:,} times",
    ]
    if alarm.examples is not None:
        parts.append(f"examples {alarm.examples.first} to {alarm.examples.last}")
    return "  ".join(parts)


def _no_description(value: bytes | None) -> str | None:
    return None


_DESCRIPTIONS: Mapping[str, Callable[[bytes | None], str | None]] = {
    "monitoring": measurement_text,
    "alarms": alarm_text,
}


def json_text(content: bytes | None) -> str | dict[str, str] | None:
    """Return bytes as text for JSON, or as ``{"base64": ...}`` if they are not UTF-8."""
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def sanitize_for_terminal(text: str) -> str:
    """Return the text on one line, without characters that control a terminal."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else " " if c in "\r\n\t" else f"\\x{ord(c):02x}" for c in text
    )


def _timestamp(message: Message) -> str | None:
    kind, milliseconds = message.timestamp()
    text = iso_time(milliseconds)
    # Kafka accepts timestamps beyond the year 9999, which have no ISO 8601 form.
    return text if kind != TIMESTAMP_NOT_AVAILABLE and "T" in text else None


def _headers(message: Message) -> dict[str, str]:
    return {name: _header(name, content) for name, content in headers_of(message)}


def _header(name: str, content: bytes | None) -> str:
    schema_id = parse_schema_id(content) if name == VALUE_SCHEMA_ID else None
    return (content or b"").decode("utf-8", "replace") if schema_id is None else str(schema_id)


def _json_value(content: bytes | None) -> Any:
    """Return JSON on one line: its line breaks can only be white space between tokens."""
    try:
        orjson.loads(content or b"")
    except orjson.JSONDecodeError:
        return json_text(content)
    return orjson.Fragment((content or b"").translate(_ONE_LINE))


def _plain(content: bytes | None) -> str:
    """Return text for people; bytes that are not UTF-8 become escapes."""
    if content is None:
        return "null"
    text = content.decode("utf-8", "backslashreplace")
    if len(text) <= _MAX_CHARACTERS:
        return text
    return f"{text[:_MAX_CHARACTERS]}… ({len(content):,} bytes)"


class ValueDecoder:
    """Decodes Avro values to JSON, with the schemas of a registry.

    Args:
        registry: registry of the schemas; without it, values are returned unchanged.
    """

    def __init__(self, registry: SchemaRegistry | None) -> None:
        self._schemas = SchemaCache(registry)

    def to_json(self, message: Message) -> bytes | None:
        """Return a value as JSON if it is readable Avro, else unchanged.

        Raises:
            RegistryError: the registry does not answer.
        """
        value: bytes | None = message.value()
        frame = find_frame(value, headers_of(message)) if value else None
        if value is None or not isinstance(frame, AvroFrame):
            return value
        reader = self._schemas[frame.schema_id]
        fields = reader if isinstance(reader, Failure) else reader(value, frame.start)
        if isinstance(fields, Failure):
            return value
        try:
            return orjson.dumps(fields, default=_text)
        # Nested too deeply for JSON.
        except TypeError:
            return value


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    raise TypeError
