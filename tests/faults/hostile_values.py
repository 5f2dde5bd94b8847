"""Values that Kafka, JSON, Avro and text allow, and that few producers send on purpose."""

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

import orjson

from stream_app.topic_kinds import TopicKind

FieldPairs = list[tuple[str, Any]]
"""Names and values of a record, in which a name may stand twice."""

Encode = Callable[[TopicKind, FieldPairs], bytes]
"""Returns the value of a record of a kind."""


class JsonToken(bytes):
    """Bytes that stand in a JSON text as they are, whether valid or not."""


NUMBERS: tuple[Any, ...] = (
    0, -1, 1e308, -1e308, 5e-324, 1e200, -1e155, 1e30, 2**31, 2**53 + 1, 2**63 - 1, -(2**63),
    *map(JsonToken, (
        b"-0", b"-0.0", b"1E5", b"1e999", b"-1e999", b"1e-400", b"9" * 400, b"-" + b"7" * 400,
        b"0." + b"3" * 400, b"18446744073709551615", b"NaN", b"Infinity", b"-Infinity", b"nan",
        b"0x10", b"01", b"1.", b".5", b"+1", b"1_000",
    )),
)  # fmt: skip
TEXTS = (
    "", " ", "\0", "a\0b", "\x1b[31mred\x1b[0m", "\x07\x08\r\n\t", "\u2028\u2029", "\ufeffbom",
    "\u202eabc", "e\u0301", "\U0001f9ff" * 20, "NaN", "null", "true", "None", "-1", "' OR 1=1 --",
    "{{7*7}}", "%s%n", "../../etc/passwd", "\ud7ff\ue000\uffff", "\U0010ffff", "x" * 20_000,
    "\\u0000", '"', "\\", "<script>", "$(reboot)", "[bold]x[/bold]", "[/]", "İıſß",
)  # fmt: skip
OTHER_TYPES: tuple[Any, ...] = (
    None, True, False, 0, 1.5, "text", [], {}, [None], {"a": {"b": [1, {}]}},
    *map(JsonToken, (
        b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\xff\xfe"', b'"\xed\xa0\x80"',
        b'"\t"', b"", b"undefined", b"[" * 200 + b"]" * 200, b'{"a":' * 200 + b"1" + b"}" * 200,
        b"[" * 100_000 + b"]" * 100_000, b"/* x */ 1", b"'x'",
    )),
)  # fmt: skip
VALUES: tuple[bytes | None, ...] = (
    None, b"", b" ", b"\0", b"\0\0\0\0\7{}", b"\0\xff\xff\xff\xff", b"\1" * 20, b"null", b"1",
    b'"x"', b"[]", b"{}", b"[{}]", b"{", b"{}{}", b"{} x", b"\xff\xfe{\0}\0", b"\xef\xbb\xbf{}",
    b"\xc3\x28", b"\xf8\x88\x80\x80\x80", b"NaN", b"-", b'{"event_id":NaN}',
    b'{"event_id":"\\ud800"}',
    b"[" * 100_000, b'{"a":' * 100_000, b"[" * 1000 + b"]" * 1000, b"9" * 5000, b"<xml/>",
    b"\x80\x04N.", b"cos\nsystem\n(S'true'\ntR.", b"Obj\x01\x04", b"\x1f\x8b\x08\0", b"x" * 800_000,
)  # fmt: skip
HEADER_NAMES = (
    b"", b"a", b"\0", b"n\xe4me", b"\xff\xfe", b"\xed\xa0\x80", b"traceparent", b"error-code",
    b"original-topic", b"replay-id", b"__value_schema_id", b"__key_schema_id", b"\x1b[2J",
    b"x" * 3000,
    b"stream-app-error-code", b"stream-app-replay-learn", b"stream-app-replay-id",
    b"stream-app-replay-count", b"stream-app-replay-model", b"stream-app-original-offset",
    b"stream-app-error-attempts", "日本".encode(),
)  # fmt: skip
HEADER_VALUES: tuple[bytes | None, ...] = (
    None, b"", b"no", b"\0", b"\xff" * 9, b"\0\0\0\0\7", b"\1" + bytes(16), b"9" * 30, b"-1",
    b"y" * 5000, b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)  # fmt: skip
TIMES = (
    "0001-01-01T00:00:00+01:00", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z",
    "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z", "+275760-09-13T00:00:00Z",
    "-0001-01-01T00:00:00Z", "2013-02-30T00:00:00Z", "2012-12-31T23:59:60Z", "2012-12-31",
    "2012-12-31T10:00:00", "2012-366T00:00:00Z", "2012-W01-1T00:00:00Z", "20121231T235959Z",
    "2012-12-31T10:00:00.123456789Z", "2012-12-31T10:00:00+00:00:30", "2012-12-31T24:00:00Z",
    "٢٠١٢-12-31T10:00:00Z", "2012-12-31T10:00:00\0Z", "now", "", "1356998400", 1356998400,
    1356998400000, -62135596800000, -62135596800001, 253402300799999, 2**63 - 1, -(2**63), 1e18,
)  # fmt: skip


def any_text(chance: Random) -> str:
    """Returns a text, without code points that UTF-8 cannot express."""
    if chance.random() < 0.5:
        return chance.choice(TEXTS)
    points = (chance.choice((0x80, 0x800, 0xD800, 0x10FFFF)) for _ in range(chance.randrange(30)))
    found = (chance.randrange(limit) for limit in points)
    return "".join(chr(point) for point in found if not 0xD800 <= point < 0xE000)


def any_bytes(chance: Random) -> bytes:
    """Returns up to 60 bytes."""
    return chance.randbytes(chance.randrange(60))


def any_time(chance: Random, latest: int, *, ahead: bool) -> Any:
    """Returns a time of any year, or what is none.

    Args:
        chance: source of the choice.
        latest: end of the times up to now, in Unix milliseconds.
        ahead: True for times between `latest` and 2025, too.
    """
    if chance.random() < 0.3:
        return chance.choice(TIMES)
    first = datetime(1, 1, 2, tzinfo=UTC)
    end = datetime.fromtimestamp(latest / 1000, UTC)
    if chance.random() < 0.1:
        first, end = datetime(2200, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
    elif ahead and chance.random() < 0.5:
        first, end = end, datetime(2025, 1, 1, tzinfo=UTC)
    moment = first + chance.random() * (end - first)
    return moment.isoformat(timespec=chance.choice(("seconds", "milliseconds", "microseconds")))


def other_value(chance: Random, value: Any) -> Any:
    """Returns a value of the same kind, a text or a number."""
    if isinstance(value, str):
        return any_text(chance)
    return chance.choice(NUMBERS)


def to_json(_: TopicKind, fields: FieldPairs) -> bytes:
    """Returns a JSON object, in which a name may stand twice and a value be any bytes."""
    written = (
        orjson.dumps(name) + b":" + (value if isinstance(value, JsonToken) else orjson.dumps(value))
        for name, value in fields
    )
    return b"{" + b",".join(written) + b"}"
