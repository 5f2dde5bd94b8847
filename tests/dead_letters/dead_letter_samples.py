"""Dead letters as scorers write them, and a producer that writes them to a pipeline's topics."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from stream_app.core.scoring.dead_letter import FailureContext, dead_letter
from stream_app.records import Failure, Output, Record
from stream_app.settings import Settings
from stream_app.topic_kinds import DeadLetterKind, InputKind
from tests.small_pipeline import event
from tests.transfer.clusters import PARTITIONS, producer

# Time of the first dead letter in Unix milliseconds. The broker would soon delete older ones.
SINCE = int(time.time() * 1000) - 1_800_000

CONTEXT = FailureContext("score", "7", "abc", "1.0")
FAILURES = (
    Failure("wrong-type", "field amount is string, not double"),
    Failure("missing-field", "field at is missing"),
    Failure("invalid-json", "unexpected character, line 1 column 17"),
)


def sample(
    name: str,
    number: int,
    failure: Failure,
    *,
    kind: InputKind = "raw",
    value: Mapping[str, Any] | bytes | None = None,
    key: bytes | None = None,
    at: int = SINCE,
    context: FailureContext = CONTEXT,
) -> tuple[Output, int]:
    """Return the dead letter of record `number` and its time; partitions take turns."""
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
    topic: DeadLetterKind = "labels.dlq" if kind == "labels" else "raw.dlq"
    return dead_letter(topic, record, failure, context, at), at


def write(settings: Settings, name: str, dead_letters: Iterable[tuple[Output, int]]) -> None:
    """Write dead letters to their topics."""
    sender = producer(settings, compression_type="lz4")
    sender.list_topics(timeout=60)
    errors: list[object] = []

    def on_delivery(error: object, _: object) -> None:
        if error is not None:
            errors.append(error)

    for output, at in dead_letters:
        topic, headers = f"{name}.{output.topic}", list(output.headers)
        while True:
            try:
                sender.produce(
                    topic,
                    output.value,
                    output.key,
                    output.partition,
                    on_delivery,
                    timestamp=at,
                    headers=headers,
                )
                break
            except BufferError:
                sender.poll(0.1)
    assert sender.flush(60) == 0
    assert errors == []
