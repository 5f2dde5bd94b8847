"""Samples of a source's topic: files whose records are as in the topic, not in the pipeline's form.

A line is the value of a record, or a whole record as `stream-app consume --json` or `kcat -J` write
it, with its coordinates, timestamp and key.
"""

import base64
from collections.abc import Iterator
from typing import Any

import fastavro
import orjson

from stream_app.core.reading.event_time import to_unix_ms
from stream_app.errors import InputError
from stream_app.records import Fields, Record
from stream_app.sources import Source
from stream_app.transfer.input_files import Format, avro_to_json
from stream_app.transfer.json_lines import CONSUMED, BadLine, InputLines

# Names in a line of `kcat -J`; some versions write more.
_KCAT = {"topic", "partition", "offset", "ts", "key", "payload"}
_NO_TIMESTAMP = -1
_CSV_REMEDY = "Give JSON lines, as kcat -J or stream-app consume --json write them, or Avro"

NumberedRecord = tuple[int, Record]
"""Number of the line, from 1, and its record."""


def source_records(
    lines: InputLines, file_format: Format, source: Source
) -> Iterator[NumberedRecord | BadLine]:
    """Yield the records of a sample of a source's topic.

    A line that is only a value has partition 0, the number of the record before it in the file as
    its offset, and neither key nor timestamp.

    Raises:
        InputError: the file is damaged, or is a CSV file.
    """
    if file_format == "csv":
        raise InputError(f"{lines.name} is CSV, which no topic of a source has", _CSV_REMEDY)
    values = _avro_values(lines) if file_format == "avro" else _json_values(lines)
    for offset, (number, value) in enumerate(values):
        yield _record(number, value, offset, source)


def _json_values(lines: InputLines) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, start=1):
        value = line.strip()
        if value:
            yield number, value


def _avro_values(lines: InputLines) -> Iterator[tuple[int, bytes]]:
    try:
        for number, fields in enumerate(fastavro.reader(lines.stream), start=1):
            assert isinstance(fields, dict)
            yield number, avro_to_json(fields)
    # A damaged file makes fastavro and the codecs raise almost anything.
    except Exception as error:
        raise InputError(
            f"{lines.name} is not a whole Avro container file: {type(error).__name__}",
            "Write it again, or give its real --format",
        ) from None


def _record(number: int, value: bytes, offset: int, source: Source) -> NumberedRecord | BadLine:
    try:
        fields = orjson.loads(value)
    except orjson.JSONDecodeError:
        fields = None
    if isinstance(fields, dict) and (fields.keys() == CONSUMED or fields.keys() >= _KCAT):
        try:
            return number, _whole_record(fields)
        except (ValueError, TypeError, KeyError):
            return BadLine(number, "not a record as consume --json or kcat -J write it")
    return number, Record(source.topic, 0, offset, _NO_TIMESTAMP, None, value)


def _whole_record(fields: Fields) -> Record:
    """Return the record of a line that describes one.

    Raises:
        ValueError, TypeError, KeyError: a part is not of its form.
    """
    value = fields["value"] if "value" in fields else fields["payload"]
    if not isinstance(value, str | None) and not _is_base64(value):
        value = orjson.dumps(value)
    timestamp = to_unix_ms(fields["timestamp"] if "timestamp" in fields else fields["ts"])
    return Record(
        str(fields["topic"]),
        int(fields["partition"]),
        int(fields["offset"]),
        _NO_TIMESTAMP if timestamp is None else timestamp,
        _content(fields["key"]),
        _content(value),
    )


def _content(content: Any) -> bytes | None:
    """Return the bytes of a key or a value, which may be JSON that was embedded."""
    if content is None or isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    return base64.b64decode(content["base64"]) if _is_base64(content) else orjson.dumps(content)


def _is_base64(content: Any) -> bool:
    return isinstance(content, dict) and content.keys() == {"base64"}
