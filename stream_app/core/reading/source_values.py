"""Values of fields that come from a source: nested paths, converted times, parts of the record."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from math import floor, isfinite
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from stream_app.core.reading.event_time import FIRST_MS, LAST_MS, time_problem, to_unix_ms
from stream_app.core.reading.validator_checks import mismatch
from stream_app.headers import SourcePosition
from stream_app.records import Fields
from stream_app.sources import (
    Constant,
    Coordinates,
    EnvelopeField,
    Epoch,
    FieldOrigin,
    LocalTime,
    RecordKey,
    RecordTimestamp,
)

UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_PER_MILLISECOND = {"us": 1_000, "ns": 1_000_000}
_MILLISECONDS = {"s": 1_000, "ms": 1}
_MILLISECOND = timedelta(milliseconds=1)
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SentRecord(NamedTuple):
    """Record of a source, decoded.

    Attributes:
        row: the record without its envelope.
        envelope: the whole decoded value; `row` itself if the source has no envelope.
        position: position in the source.
        key: key in the source.
    """

    row: Fields
    envelope: Fields
    position: SourcePosition
    key: bytes | None


class _Missing:
    """Stands for the value of a path that is not in the record."""


MISSING = _Missing()


class Problem(NamedTuple):
    """End of a message that says why a field has no value, without the value."""

    text: str


Getter = Callable[[SentRecord], Any]
"""Returns the value of a field, `MISSING`, or a `Problem`."""

Convert = Callable[[Any], Any]
"""Returns the converted value, or a `Problem`."""


def find(record: Fields, parts: Sequence[str]) -> Any:
    """Return the value at a path, `MISSING` if it is not there, or a `Problem`.

    Part of a path that is null is not there; any other value that is not a record is a problem.

    >>> find({"order": {"id": 7}}, ("order", "id"))
    7
    >>> find({"order": [7]}, ("order", "id")).text
    'is inside order, which is array, not a record'
    """
    value: Any = record
    for number, part in enumerate(parts):
        if type(value) is not dict:
            if value is None:
                return MISSING
            actual = mismatch("record", value).actual
            return Problem(f"is inside {'.'.join(parts[:number])}, which is {actual}, not a record")
        if part not in value:
            return MISSING
        value = value[part]
    return value


def compile_origin(origin: FieldOrigin) -> Getter:
    """Return the function that takes a field's value from a record, converted.

    Raises:
        ZoneInfoNotFoundError: the time zone is not known.
    """
    match origin:
        case Epoch(path=path) | LocalTime(path=path):
            return _converted(_row_path(path), compile_conversion(origin))
        case Constant(value=value):
            return lambda _: value
        case RecordTimestamp():
            return _timestamp
        case RecordKey():
            return _key_text
        case Coordinates():
            return lambda sent: coordinates_text(sent.position)
        case EnvelopeField(path=path):
            parts = path.split(".")
            return lambda sent: find(sent.envelope, parts)
    return _row_path(origin)


def compile_conversion(origin: Epoch | LocalTime) -> Convert:
    """Return the conversion of the values at the path of an origin; null stays null."""
    if isinstance(origin, Epoch):
        return convert_epoch(origin.unit)
    return convert_local_time(ZoneInfo(origin.zone))


def _row_path(path: str) -> Getter:
    parts = path.split(".")
    if len(parts) == 1:
        return lambda sent: sent.row.get(path, MISSING)
    return lambda sent: find(sent.row, parts)


def _converted(get: Getter, convert: Convert) -> Getter:
    def get_converted(sent: SentRecord) -> Any:
        value = get(sent)
        return value if value is MISSING or type(value) is Problem else convert(value)

    return get_converted


def _timestamp(sent: SentRecord) -> Any:
    timestamp = sent.position.timestamp
    # Kafka's value for no timestamp is -1.
    return MISSING if timestamp < 0 else timestamp


def _key_text(sent: SentRecord) -> Any:
    if sent.key is None:
        return MISSING
    if sent.key[:1] == b"\0":
        # Such a key may be UTF-8, but with the id of its schema it is another one for each schema.
        return Problem("begins with byte 0, as Avro and binary numbers do, and is no text")
    try:
        return sent.key.decode()
    except UnicodeDecodeError:
        return Problem("is not UTF-8")


def coordinates_text(position: SourcePosition) -> str:
    """Return the coordinates of a record as text.

    >>> coordinates_text(SourcePosition("orders", 3, 1234, 0))
    'orders/3/1234'
    """
    return f"{position.source}/{position.partition}/{position.offset}"


def convert_epoch(unit: str) -> Convert:
    """Return the conversion of numbers since 1970 to Unix milliseconds; null stays null.

    >>> convert_epoch("s")(1_700_000_000.25), convert_epoch("ns")(1_700_000_000_250_999_999)
    (1700000000250, 1700000000250)
    >>> convert_epoch("s")(1_700_000_000_250).text
    'is after the year 9999 in UTC, read as seconds'
    """
    factor, divisor = _MILLISECONDS.get(unit, 0), _PER_MILLISECOND.get(unit, 1)
    expected = f"is not a number of {UNIT_NAMES[unit]} since 1970"

    def convert(value: Any) -> Any:
        if type(value) is int:
            time = value * factor if factor else value // divisor
        elif type(value) is float:
            scaled = value * factor if factor else value / divisor
            if not isfinite(scaled):
                return Problem(f"{expected} but not finite")
            # To the nearest: most fractions of seconds have no exact float.
            time = round(scaled) if factor else floor(scaled)
        elif value is None:
            return None
        elif isinstance(value, int) and type(value) is not bool:
            return convert(int(value))
        else:
            return Problem(f"{expected} but {mismatch('', value).actual}")
        if FIRST_MS <= time <= LAST_MS:
            return time
        return Problem(f"{time_problem(time)}, read as {UNIT_NAMES[unit]}")

    return convert


def convert_local_time(zone: ZoneInfo) -> Convert:
    """Return the conversion of ISO 8601 text in a zone to Unix milliseconds; null stays null.

    >>> convert_local_time(ZoneInfo("Europe/Berlin"))("2023-07-01T02:00:00")
    1688169600000
    """

    def convert(value: Any) -> Any:
        if value is None:
            return None
        if type(value) is not str:
            return Problem(f"is not text in ISO 8601 but {mismatch('', value).actual}")
        try:
            time = datetime.fromisoformat(value)
            if time.tzinfo is None:
                offset = time.replace(tzinfo=zone).utcoffset()
                assert offset is not None
                passed = time.replace(tzinfo=UTC) - _UNIX_EPOCH - offset
            else:
                passed = time - _UNIX_EPOCH
        except (ValueError, OverflowError):
            return Problem("is not ISO 8601")
        milliseconds = passed // _MILLISECOND
        if to_unix_ms(milliseconds) is None:
            return Problem(time_problem(milliseconds))
        return milliseconds

    return convert


def origin_path(origin: FieldOrigin) -> str | None:
    """Return the path of an origin in the row, None for one that has none."""
    match origin:
        case str():
            return origin
        case Epoch(path=path) | LocalTime(path=path):
            return path
    return None


def origin_text(origin: FieldOrigin) -> str:
    """Return an origin as text for messages.

    >>> origin_text(Epoch("payment.ts", "s")), origin_text(RecordKey())
    ('payment.ts', 'the key of the record')
    """
    match origin:
        case Constant():
            return "a constant"
        case RecordTimestamp():
            return "the timestamp of the record"
        case RecordKey():
            return "the key of the record"
        case Coordinates():
            return "the coordinates of the record"
        case EnvelopeField(path=path):
            return f"{path} of the envelope"
    return origin_path(origin) or ""
