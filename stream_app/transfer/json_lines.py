"""Lines of an input file or of standard input, and JSON lines as rows."""

import codecs
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import orjson

from stream_app.core.reading.identity import FieldNames, identity_text
from stream_app.errors import InputError
from stream_app.records import Fields

# Keys of a line of `stream-app consume --json`.
CONSUMED = {"topic", "partition", "offset", "timestamp", "key", "headers", "value"}


class Row(NamedTuple):
    """Record to send, with the number of its first line."""

    number: int
    key: bytes
    value: bytes


class BadLine(NamedTuple):
    """Line that is not a record; `problem` quotes nothing of it."""

    number: int
    problem: str


class InputLines:
    """Lines of a stream, which must be UTF-8.

    Attributes:
        name: name of the file, for messages.
        size: bytes of the file, None if unknown.
        position: bytes read so far; a caller that reads `stream` directly updates it.
        stream: the file itself, for formats without lines.
        unlabelled: rows of a table, read as labels, that have no label yet.
    """

    def __init__(self, name: str, stream: BinaryIO, size: int | None) -> None:
        self.name = name
        self.size = size
        self.position = 0
        self.stream = stream
        self.unlabelled = 0

    def __iter__(self) -> Iterator[bytes]:
        number = 0
        try:
            for number, line in enumerate(self.stream, start=1):
                self.position += len(line)
                if not line.isascii():
                    line.decode()
                yield line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        except UnicodeDecodeError:
            raise InputError(
                f"{self.name} is not UTF-8 in line {number}",
                "Convert it, for example with iconv -t utf-8",
            ) from None
        except OSError as error:
            raise _unreadable(self.name, error) from None


@contextmanager
def open_lines(path: str) -> Iterator[InputLines]:
    """Open the lines of a file; `-` is standard input.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    if path == "-":
        yield InputLines("standard input", sys.stdin.buffer, None)
        return
    try:
        # Closed below: only errors of opening it belong to this block.
        stream = Path(path).open("rb")  # noqa: SIM115
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    with stream:
        status = os.fstat(stream.fileno())
        yield InputLines(path, stream, status.st_size if stat.S_ISREG(status.st_mode) else None)


def _unreadable(path: str, error: OSError | ValueError) -> InputError:
    reason = getattr(error, "strerror", None) or error
    return InputError(
        f"{path} cannot be read: {reason}",
        "Give the path of a readable file, or - for standard input",
    )


def json_rows(lines: Iterable[bytes], key: FieldNames) -> Iterator[Row | BadLine]:
    """Yield one row per JSON object, with its bytes unchanged; empty lines are skipped.

    Of a line that `stream-app consume --json` wrote, the row is the record's value.
    """
    for number, value in _filled(lines):
        fields = _object(number, value)
        if isinstance(fields, BadLine):
            yield fields
        elif fields.keys() == CONSUMED:
            consumed = fields["value"]
            yield make_row(number, consumed, orjson.dumps(consumed), key)
        else:
            yield make_row(number, fields, value, key)


def json_records(lines: Iterable[bytes]) -> Iterator[Fields]:
    """Yield the JSON objects of lines; other lines are left out."""
    for number, value in _filled(lines):
        fields = _object(number, value)
        if not isinstance(fields, BadLine):
            yield fields["value"] if fields.keys() == CONSUMED else fields


def _filled(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not empty, with their numbers."""
    return ((number, text) for number, line in enumerate(lines, start=1) if (text := line.strip()))


def _object(number: int, value: bytes) -> Fields | BadLine:
    """Return the object of a line, which may be that of a consumed record."""
    try:
        fields: object = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return BadLine(number, f"not JSON: {error.msg}, column {error.colno}")
    if not isinstance(fields, dict):
        return BadLine(number, "not a JSON object")
    if fields.keys() == CONSUMED:
        consumed = fields["value"]
        if not isinstance(consumed, dict) or consumed.keys() == {"base64"}:
            position = f"{fields['topic']}[{fields['partition']}]@{fields['offset']}"
            return BadLine(number, f"the value of {position} is not a JSON object")
    return fields


def make_row(number: int, fields: Fields, value: bytes, key: FieldNames) -> Row | BadLine:
    """Return a row with its record's key: the text of the key's fields in UTF-8."""
    text = identity_text(fields, key)
    if text is None:
        name = next(name for name in key if fields.get(name) is None)
        return BadLine(number, f"no key: field {name} is missing or null")
    return Row(number, text.encode(), value)
