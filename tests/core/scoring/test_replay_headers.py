"""Headers of a replay are believed as a replay writes them, and else not at all."""

import pytest

from stream_app.core.scoring.replay_headers import replay_headers
from stream_app.headers import (
    ERROR_ATTEMPTS,
    ERROR_FIRST_FAILED_AT,
    ORIGINAL_OFFSET,
    ORIGINAL_PARTITION,
    ORIGINAL_TIMESTAMP,
    ORIGINAL_TOPIC,
    REPLAY_COUNT,
    REPLAY_ID,
    SOURCE,
)
from tests.small_pipeline import record


def as_replayed(topic: str, **changes: bytes | None) -> list[tuple[str, bytes]]:
    """Return the headers that a replay writes for a record of an input."""
    written = {
        ERROR_ATTEMPTS: b"1",
        ERROR_FIRST_FAILED_AT: b"2023-11-14T22:13:20.000+00:00",
        ORIGINAL_TOPIC: topic.encode(),
        ORIGINAL_PARTITION: b"0",
        ORIGINAL_OFFSET: b"7",
        ORIGINAL_TIMESTAMP: b"-1",
        REPLAY_ID: b"0123456789",
        REPLAY_COUNT: b"1",
    }
    changed = {f"stream-app-{name.replace('_', '-')}": content for name, content in changes.items()}
    return [(name, content) for name, content in (written | changed).items() if content is not None]


@pytest.mark.parametrize(
    ("topic", "origin"),
    [
        ("payments.raw.replay", "payments.raw"),
        ("payments.raw", "payments.raw"),
        ("payments.labels", "payments.labels"),
    ],
)
def test_headers_as_a_replay_writes_them_are_believed(topic: str, origin: str) -> None:
    headers = [("team", b"a"), *as_replayed(origin)]
    found = replay_headers(record(b"?", topic=topic, headers=headers))
    assert found == {name: content.decode() for name, content in headers[1:]}


@pytest.mark.parametrize("content", [b"", b"\xff", b"X/" * 5, b"0" * 5000, b" 1", b"-1\n", None])
@pytest.mark.parametrize(
    "name",
    ["replay_id", "replay_count", "error_attempts", "error_first_failed_at", "original_topic",
     "original_partition", "original_offset", "original_timestamp"],
)  # fmt: skip
def test_nothing_is_believed_if_one_header_is_of_another_form(
    name: str, content: bytes | None
) -> None:
    headers = as_replayed("payments.raw", **{name: content})
    assert replay_headers(record(b"?", headers=headers)) == {}


def test_an_origin_in_another_input_or_pipeline_is_not_believed() -> None:
    for origin in ("payments.labels", "orders.raw"):
        assert replay_headers(record(b"?", headers=as_replayed(origin))) == {}


def test_the_name_that_an_operator_gives_a_replay_is_believed() -> None:
    headers = as_replayed("payments.raw", replay_id=b"schema-fixed-2")
    found = replay_headers(record(b"?", headers=headers))
    assert found["stream-app-replay-id"] == "schema-fixed-2"


def test_a_record_of_a_source_may_have_failed_in_any_topic_that_is_no_input() -> None:
    source = (SOURCE, b"orders/3/7/0")
    for topic in ("payments.raw", "payments.raw.replay", "payments.ingest.replay"):
        for origin in ("shop.orders", "payments.shop.orders", "shop.raw", "labels"):
            headers = [source, *as_replayed(origin)]
            assert replay_headers(record(b"?", topic=topic, headers=headers)) != {}
            assert replay_headers(record(b"?", topic=topic, headers=headers[1:])) == {}
        headers = [source, *as_replayed("payments.labels")]
        assert replay_headers(record(b"?", topic=topic, headers=headers)) == {}
