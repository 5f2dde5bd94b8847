"""Small pipeline for tests, and records for it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
from river import linear_model, preprocessing

from stream_app.pipeline import Label, Pipeline, Thresholds
from stream_app.records import Features, Fields, Headers, Record, Target

HOUR = 3_600_000  # milliseconds
NOW = 1_700_000_000_000  # time of the tests, Unix milliseconds

EVENT_SCHEMA = {
    "type": "record",
    "name": "Payment",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "amount", "type": "double"},
        {"name": "country", "type": ["null", "string"], "default": None},
    ],
}
LABEL_SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Verdict",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "fraud", "type": "boolean"},
        {"name": "known_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}


def features(fields: Fields) -> Features:
    """Return the features."""
    return {"amount": fields["amount"], "domestic": fields["country"] == "NL"}


def model() -> Any:
    """Return a new model."""
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


def small_pipeline(name: str = "payments", **changes: Any) -> Pipeline:
    """Return the pipeline, with changes to its declaration."""
    declared: dict[str, Any] = {
        "name": name,
        "schema": EVENT_SCHEMA,
        "event_id": "id",
        "event_time": "at",
        "features": features,
        "model": model,
        "label": Label(
            schema=LABEL_SCHEMA,
            field="fraud",
            time="known_at",
            horizon=timedelta(hours=24),
            allowed_lateness=timedelta(hours=6),
        ),
        "thresholds": Thresholds(),
        "untrained": "allowed",
    }
    return Pipeline(**{**declared, **changes})


def labelled(avro_type: Any) -> Label:
    """Return the declaration of a label with a field of another type."""
    fields = [*LABEL_SCHEMA["fields"][::2], {"name": "fraud", "type": avro_type}]
    label: Label = replace(small_pipeline().label, schema={**LABEL_SCHEMA, "fields": fields})
    return label


def event(number: int, at: int = NOW, **changes: Any) -> dict[str, Any]:
    """Return the fields of an event."""
    return {"id": f"e{number}", "at": at, "amount": float(number % 97), "country": "NL", **changes}


def label(
    number: int, known_at: int = NOW + HOUR, fraud: Target = False, **changes: Any
) -> dict[str, Any]:
    """Return the fields of a label."""
    return {"id": f"e{number}", "fraud": fraud, "known_at": known_at, **changes}


def record(
    fields: Mapping[str, Any] | bytes | None,
    offset: int = 0,
    *,
    topic: str = "payments.raw",
    key: bytes | str | None = "auto",
    headers: Headers = (),
) -> Record:
    """Return a Kafka record; its key is the `id` field by default."""
    value = orjson.dumps(fields) if isinstance(fields, Mapping) else fields
    if isinstance(key, str):
        key = str(fields["id"]).encode() if isinstance(fields, Mapping) and "id" in fields else b"k"
    return Record(topic, 0, offset, NOW, key, value, headers)
