"""What single records say about an event."""

from typing import Any

import orjson
from confluent_kafka import Message

from stream_app.core.scoring.prediction_codec import is_packed
from stream_app.error_codes import ERROR_CODES
from stream_app.explain.event_finder import EventRecords
from stream_app.explain.event_trace import FailedAttempt, ReplaySent
from stream_app.formatting import iso_time
from stream_app.headers import (
    ERROR_CODE,
    ERROR_MESSAGE,
    ORIGINAL_OFFSET,
    ORIGINAL_PARTITION,
    ORIGINAL_TOPIC,
)
from stream_app.records import Fields
from stream_app.transfer.record_rendering import json_text


def label_state(traces: EventRecords, *, joined: bool) -> str:
    """How it stands with an event's label, in words."""
    if joined:
        return "joined"
    entry = traces.of("score.state")[-1].value() if traces.of("score.state") else None
    if entry is not None and is_packed(entry):
        return "awaited"
    if entry is not None and orjson.loads(entry)[0] == "w":
        return "waiting for its event"
    return "none in time" if traces.of("scored") else "none"


def was_scored(traces: EventRecords) -> bool:
    """Whether the scorer's state has, or had, a prediction or a joined label."""
    values = [entry.value() or b"" for entry in traces.of("score.state")]
    return any(is_packed(value) or value.startswith(b'["j"') for value in values)


def dead_letter(letters: list[Message], record: Message) -> FailedAttempt | None:
    """Why this record is a dead letter, if it is."""
    for letter in letters:
        headers: Any = letter.headers() or ()
        facts = {name: (content or b"").decode("utf-8", "replace") for name, content in headers}
        origin = (
            facts.get(ORIGINAL_TOPIC),
            facts.get(ORIGINAL_PARTITION),
            facts.get(ORIGINAL_OFFSET),
        )
        if origin == tuple(map(str, place(record))):
            code = facts.get(ERROR_CODE, "unknown")
            known = ERROR_CODES.get(code)
            return FailedAttempt(code, facts.get(ERROR_MESSAGE, ""), known.remedy if known else "")
    return None


def sent(record: Message, became: str, failed: FailedAttempt | None) -> ReplaySent:
    """A record that became that, with why if it failed."""
    return ReplaySent(
        *place(record), iso_time(record.timestamp()[1]), became, failed, json_text(record.value())
    )


def place(record: Message) -> tuple[str, int, int]:
    """Topic, partition and offset."""
    return record.topic() or "", record.partition() or 0, record.offset() or 0


def source(scored: Fields) -> tuple[str, int, int]:
    """Where the raw record of a scored one stood."""
    found = scored["source"]
    return found["topic"], found["partition"], found["offset"]
