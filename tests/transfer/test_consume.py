"""Consumption starts and stops where it was told, with committed records only."""

import time
from collections.abc import Iterator
from contextlib import closing

import orjson
import pytest
from confluent_kafka import Message

from stream_app.errors import TopicsError
from stream_app.settings import Settings
from stream_app.transfer.consume import RecordSelection, consume, parse_since
from stream_app.transfer.record_rendering import json_line, text_line
from tests.patience import PATIENCE
from tests.transfer.clusters import producer, read, send, unique_name

pytestmark = pytest.mark.broker


def values(messages: list[Message]) -> list[bytes | None]:
    return [message.value() for message in messages]


def next_records(batches: Iterator[list[Message]], seconds: float = 10.0) -> list[Message]:
    """Return the next batch that is not empty."""
    deadline = time.monotonic() + seconds * PATIENCE
    return next((batch for batch in batches if batch or time.monotonic() > deadline), [])


def test_until_end_stops_after_transaction_markers_with_committed_records_only(
    settings: Settings, name: str
) -> None:
    sender = producer(settings, transactional_id=name)
    sender.init_transactions(20)
    for value, commits in ((b"1", True), (b"2", False), (b"3", True), (b"4", False)):
        sender.begin_transaction()
        sender.produce(f"{name}.raw", value, b"k")
        sender.flush(20)
        (sender.commit_transaction if commits else sender.abort_transaction)(20)
    assert values(read(settings, name, "raw")) == [b"1", b"3"]
    sender.begin_transaction()
    sender.produce(f"{name}.raw", b"open", b"k")
    sender.flush(20)
    assert values(read(settings, name, "raw")) == [b"1", b"3"]
    sender.abort_transaction(20)


def test_until_end_stops_at_the_end_as_of_the_start(settings: Settings, name: str) -> None:
    send(settings, f"{name}.raw", [b"1", b"2"])
    with closing(
        consume(settings, name, RecordSelection(kind="raw", start="beginning", until_end=True))
    ) as batches:
        found = next(batches)
        send(settings, f"{name}.raw", [b"3"])
        for batch in batches:
            found += batch
    assert values(found) == [b"1", b"2"]


def test_an_empty_topic_ends_at_once(settings: Settings, name: str) -> None:
    assert read(settings, name, "raw") == []
    assert read(settings, name, "models") == []


def test_new_records_only_are_the_default(settings: Settings, name: str) -> None:
    send(settings, f"{name}.raw", [b"before"])
    with closing(consume(settings, name, RecordSelection(kind="raw"))) as batches:
        assert next(batches) == []
        send(settings, f"{name}.raw", [b"after"])
        assert values(next_records(batches)) == [b"after"]


def test_since_starts_at_the_first_record_of_a_time(settings: Settings, name: str) -> None:
    now = int(time.time() * 1000)
    for minutes in (30, 20, 10):
        send(settings, f"{name}.raw", [str(minutes).encode()], timestamp=now - minutes * 60_000)

    def since(start: int) -> list[bytes | None]:
        selection = RecordSelection(kind="raw", start=start, until_end=True)
        return [
            message.value() for batch in consume(settings, name, selection) for message in batch
        ]

    assert since(now - 25 * 60_000) == [b"20", b"10"]
    assert since(now - 10 * 60_000) == [b"10"]
    assert since(now) == []
    assert since(-1) == [b"30", b"20", b"10"]


def test_a_limit_stops_within_a_batch(settings: Settings, name: str) -> None:
    send(settings, f"{name}.raw", [str(number).encode() for number in range(10)])
    for limit, until_end in ((3, False), (3, True), (20, True)):
        selection = RecordSelection(kind="raw", start="beginning", limit=limit, until_end=until_end)
        found = [message for batch in consume(settings, name, selection) for message in batch]
        assert values(found) == [str(number).encode() for number in range(min(limit, 10))]


def test_dead_letters_are_those_of_events_and_of_labels(settings: Settings, name: str) -> None:
    sender = producer(settings)
    failed = [
        ("stream-app-error-code", b"invalid-json"),
        ("stream-app-error-message", b"unexpected character"),
        ("original", b"\xff"),
    ]
    sender.produce(f"{name}.raw.dlq", b"\xff\x00{", b"\xfe", headers=failed)
    sender.produce(f"{name}.labels.dlq", None, None)
    assert sender.flush(20) == 0
    found = read(settings, name, "dead-letters")
    lines = {
        orjson.loads(line)["topic"]: orjson.loads(line)
        for line in (json_line(message, message.value()) for message in found)
    }
    event, label = lines[f"{name}.raw.dlq"], lines[f"{name}.labels.dlq"]
    assert event["value"] == {"base64": "/wB7"}
    assert event["key"] == {"base64": "/g=="}
    assert event["headers"] == {
        "stream-app-error-code": "invalid-json",
        "stream-app-error-message": "unexpected character",
        "original": "\ufffd",
    }
    assert (label["value"], label["key"], label["headers"], label["offset"]) == (None, None, {}, 0)
    shown = {bytes(line) for line in (text_line(message, message.value()) for message in found)}
    assert any(rb"\xfe  invalid-json (unexpected character)  \xff\x00{" in line for line in shown)


def test_any_record_is_one_line(settings: Settings, name: str) -> None:
    pretty = b'{\r\n  "a": [1.50, 18446744073709551616000]\n}'
    odd = [
        pretty,
        b"[" * 600 + b"]" * 600,
        b"text \x1b[2J\n\xc2\x9b",
        b"NaN",
        b"",
        b"null",
        b'"x"',
        b"y" * 5000,
    ]
    send(settings, f"{name}.raw", odd)
    found = read(settings, name, "raw")
    lines = [json_line(message, message.value()) for message in found]
    assert b'{    "a": [1.50, 18446744073709551616000] }' in lines[0]
    assert [orjson.loads(line)["value"] for line in lines[2:]] == [
        "text \x1b[2J\n\x9b", "NaN", "", None, "x", "y" * 5000,
    ]  # fmt: skip
    shown = [text_line(message, message.value()).decode() for message in found]
    assert all(b"\n" not in line for line in lines)
    assert all(line.isprintable() for line in shown)
    assert shown[2].endswith(f"{name}.raw[{found[2].partition()}]@2  k  text \\x1b[2J \\x9b")
    assert shown[7].endswith("y… (5,000 bytes)")


def test_the_timestamp_is_in_utc(settings: Settings, name: str) -> None:
    send(settings, f"{name}.raw", [b"1"], timestamp=1_700_000_000_123)
    message = read(settings, name, "raw")[0]
    assert (
        orjson.loads(json_line(message, message.value()))["timestamp"]
        == "2023-11-14T22:13:20.123+00:00"
    )


def test_a_missing_topic_is_an_error(settings: Settings) -> None:
    name = unique_name()
    with pytest.raises(
        TopicsError, match=rf"Topic {name}.raw.dlq, {name}.labels.dlq does not exist"
    ):
        read(settings, name, "dead-letters")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", 400_000),
        ("1d", -85_400_000),
        ("0s", 1_000_000),
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T01:00:01+01:00", 1000),
        ("1970-01-01T00:00:01", 1000),
        ("10", None),
        ("10x", None),
        ("-5m", None),
        ("yesterday", None),
        ("", None),
        ("999999999d", -86_399_999_912_600_000),
    ],
)
def test_durations_and_iso_times_are_parsed(text: str, expected: int | None) -> None:
    assert parse_since(text, now=1000.0) == expected
