"""Pipeline of the score role, with all its default features."""

import json
from datetime import timedelta
from pathlib import Path

import stream_app.examples
from benchmarks.peers.work import numbers, trained_model
from stream_app import Label, Pipeline

EXAMPLES = Path(stream_app.examples.__file__ or "").parent


def make(name: str) -> Pipeline:
    """Returns the pipeline with this name."""
    schema, label = (
        json.loads((EXAMPLES / file).read_text()) for file in ("flights.avsc", "flights_label.avsc")
    )
    return Pipeline(
        name=name,
        schema=schema,
        event_id="event_id",
        event_time="scheduled_departure",
        features=numbers,
        model=trained_model,
        label=Label(schema=label, field="late", time="known_at", horizon=timedelta(hours=36)),
        untrained="allowed",
    )
