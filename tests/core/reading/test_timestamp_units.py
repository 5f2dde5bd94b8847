"""A schema declares the unit of its times; every unit gives Unix milliseconds."""

from typing import Any

import pytest

from stream_app.core.reading.avro_reader import compile_reader
from stream_app.core.reading.avro_writer import compile_writer
from stream_app.core.reading.typed_decoding import compile_fast_decoder
from stream_app.core.reading.validator import compile_validator
from stream_app.records import Failure

MS = 1_740_992_400_000
TEXT = "2025-03-03T09:00:00"


def schema(logical_type: str) -> dict[str, Any]:
    kind = {"type": "long", "logicalType": logical_type}
    return {"type": "record", "name": "R", "fields": [{"name": "at", "type": kind}]}


def validated(logical_type: str, value: object) -> Any:
    found = compile_validator(schema(logical_type), "at")({"at": value})
    return found if isinstance(found, Failure) else found["at"]


@pytest.mark.parametrize(
    ("logical_type", "value"),
    [
        ("timestamp-seconds", MS // 1000),
        ("timestamp-millis", MS),
        ("timestamp-micros", MS * 1000),
        ("timestamp-nanos", MS * 1_000_000),
        ("local-timestamp-millis", MS),
        ("local-timestamp-millis", TEXT),
        ("local-timestamp-micros", TEXT.replace("T", " ")),
        ("local-timestamp-seconds", "2025-03-03T10:00:00+01:00"),
        ("timestamp-seconds", f"{TEXT}Z"),
    ],
)
def test_each_unit_gives_unix_milliseconds(logical_type: str, value: Any) -> None:
    assert validated(logical_type, value) == MS


def test_seconds_may_have_a_fraction() -> None:
    assert validated("timestamp-seconds", MS / 1000 + 0.25) == MS + 250
    assert validated("timestamp-seconds", float("nan")).code == "not-finite"
    assert validated("timestamp-millis", MS + 0.5).code == "event-time-invalid"


@pytest.mark.parametrize(
    ("logical_type", "value", "expected"),
    [
        ("timestamp-seconds", MS, "integer that seems to be in milliseconds, not in seconds"),
        ("timestamp-millis", MS * 1000, "seems to be in microseconds, not in milliseconds"),
        ("timestamp-micros", MS * 10**6, "seems to be in nanoseconds, not in microseconds"),
        ("timestamp-millis", TEXT, "string that has no offset from UTC"),
        ("local-timestamp-millis", "soon", "string that is not ISO 8601"),
    ],
)
def test_a_wrong_unit_is_named(logical_type: str, value: Any, expected: str) -> None:
    failure = validated(logical_type, value)
    assert isinstance(failure, Failure)
    assert failure.code == "event-time-invalid"
    assert failure.message.endswith(expected)


@pytest.mark.parametrize(
    "logical_type",
    ["timestamp-seconds", "timestamp-nanos", "local-timestamp-millis", "local-timestamp-micros"],
)
def test_the_fast_decoder_and_avro_agree_with_the_validator(logical_type: str) -> None:
    declared = schema(logical_type)
    validate = compile_validator(declared)
    sent = f'{{"at": "{TEXT}Z"}}'.encode()
    assert compile_fast_decoder(declared, validate)(sent) in (None, {"at": MS})
    written = compile_writer(declared, 1)({"at": MS})
    fields = compile_reader(declared)(written, 5)
    assert isinstance(fields, dict)
    assert validate(fields) == {"at": MS}
    # A reader with another unit gets the same time.
    assert compile_validator(schema("timestamp-millis"))(fields) == {"at": MS}
