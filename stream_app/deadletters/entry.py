"""What the index knows of one dead letter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stream_app.deadletters.letter import KINDS, Origin, Ref

REF_COLUMNS = "kind, partition, offset, error_id, topic, source_partition, source_offset"
REF_TABLES = "letters JOIN contexts ON contexts.id = context"
ENTRY_COLUMNS = (
    f"{REF_COLUMNS}, timestamp, fingerprint, code, class, stage, message, key, event_id, size, attempts, first_failed, "
    "last_failed, source_timestamp, model_version, schema_version, app_version, replay_count, replay_id"
)
ENTRY_TABLES = f"{REF_TABLES} JOIN causes ON causes.id = cause"
_REF = 7  # columns


@dataclass(frozen=True, slots=True)
class Entry:
    """One dead letter. Times are epoch milliseconds; what its headers lack is 0 or empty.

    `event_id` is None if it cannot be told; `size` is that of the value in bytes.
    """

    ref: Ref
    timestamp: int
    group: str
    code: str
    error_class: str
    stage: str
    message: str
    key: bytes | None
    event_id: str | None
    size: int
    attempts: int
    first_failed: int
    last_failed: int
    original_timestamp: int
    model_version: str
    schema_version: str
    app_version: str
    replay_count: int
    replay_id: str


def ref_of(row: Sequence[Any]) -> Ref:
    """From `REF_COLUMNS`."""
    kind, partition, offset, error_id, *origin = row
    return Ref(KINDS[kind], partition, offset, error_id, Origin(*origin))


def entry_of(row: Sequence[Any]) -> Entry:
    """From `ENTRY_COLUMNS`."""
    return Entry(ref_of(row[:_REF]), *row[_REF:])
