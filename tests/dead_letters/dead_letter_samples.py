"""Dead letters as the core makes them, written to the topics of a pipeline."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from stream_app.core.scoring.dead_letter import dead_letter
from stream_app.records import Failure, Output, Record
from stream_app.settings import Settings
from tests.small_pipeline import event
from tests.transfer.clusters import PARTITIONS, producer

SINCE = int(time.time() * 1000) - 1_800_000
"""When the first letter was written, epoch milliseconds; the broker would soon delete older ones."""

CONTEXT = {"group": "score", "model-version": "7", "schema-version": "abc", "app-version": "1.0"}
FAILURES = (
    Failure("wrong-type", "field amount is string, not double"),
    Failure("missing-field", "field at is missing"),
    Failure("invalid-json", "unexpected character, line 1 column 17"),
)


def letter(
    name: str,
    number: int,
    failure: Failure,
    *,
    kind: str = "raw",
    value: Mapping[str, Any] | bytes | None = None,
    key: bytes | None = None,
    at: int = SINCE,
    context: Mapping[str, str] = CONTEXT,
) -> tuple[Output, int]:
    """The dead letter of record `number`, and when it was written; records go round the partitions."""
    fields = event(number) if value is None else value
    content = orjson.dumps(fields) if isinstance(fields, Mapping) else fields
    record = Record(
        f"{name}.{kind}",
        number % PARTITIONS,
        number // PARTITIONS,
        at - 1000,
        key or f"e{number}".encode(),
        content,
    )
    return dead_letter(f"{kind}.dlq", record, failure, dict(context), at), at


def write(settings: Settings, name: str, letters: Iterable[tuple[Output, int]]) -> None:
    """Send them to the topics where they belong."""
    sender = producer(settings, compression_type="lz4")
    sender.list_topics(timeout=10)
    lost: list[object] = []

    def note(error: object, _: object) -> None:
        if error is not None:
            lost.append(error)

    for output, at in letters:
        topic, headers = f"{name}.{output.topic}", list(output.headers)
        while True:
            try:
                sender.produce(
                    topic,
                    output.value,
                    output.key,
                    output.partition,
                    note,
                    timestamp=at,
                    headers=headers,
                )
                break
            except BufferError:
                sender.poll(0.1)
    assert sender.flush(60) == 0
    assert lost == []
