"""Envelopes around records of a source: Debezium's change events, and Connect's JSON converter."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from stream_app.records import Failure, Fields
from stream_app.sources import Source

Skipped = Literal["filtered", "tombstone"]
"""Outcome of a record of a source that is neither forwarded nor a dead letter."""

INVALID_ENVELOPE = "invalid-envelope"

# Operations of Debezium that say nothing of a row: truncated tables and messages of the log.
_WITHOUT_ROW = ("t", "m")


class Unwrapped(NamedTuple):
    """Row of a record, and the envelope that it came in."""

    row: Fields
    envelope: Fields


Unwrap = Callable[[Fields], Unwrapped | Skipped | Failure]


def compile_envelope(source: Source) -> Unwrap:
    """Return the function that takes the row out of a decoded record of a source.

    Failure: `invalid-envelope`.
    """
    if source.envelope == "debezium":
        with_updates = source.updates == "events"
        return lambda record: _unwrap_debezium(record, with_updates)
    return _unwrap_connect if source.envelope == "connect" else _without_envelope


def _without_envelope(record: Fields) -> Unwrapped:
    return Unwrapped(record, record)


def _unwrap_connect(record: Fields) -> Unwrapped | Skipped | Failure:
    if not _has_schema(record):
        return Failure(INVALID_ENVELOPE, "the record has no schema and payload")
    row = record["payload"]
    return "tombstone" if row is None else _unwrapped(row, record, "payload")


def _unwrap_debezium(record: Fields, with_updates: bool) -> Unwrapped | Skipped | Failure:
    # The JSON converter of Connect may have wrapped the change event.
    envelope: Any = record["payload"] if _has_schema(record) else record
    if envelope is None:
        return "tombstone"
    operation = envelope.get("op") if type(envelope) is dict else None
    if operation == "d":
        return "tombstone"
    if operation in _WITHOUT_ROW or (operation == "u" and not with_updates):
        return "filtered"
    if operation not in ("c", "r", "u"):
        return Failure(INVALID_ENVELOPE, "the record has no op of Debezium: c, r, u, d, t or m")
    return _unwrapped(envelope.get("after"), envelope, "after")


def _unwrapped(row: Any, envelope: Fields, name: str) -> Unwrapped | Failure:
    if type(row) is not dict:
        return Failure(INVALID_ENVELOPE, f"{name} of the envelope is not a record")
    return Unwrapped(row, envelope)


def _has_schema(record: Fields) -> bool:
    return record.keys() == {"schema", "payload"}
