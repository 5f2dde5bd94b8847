"""Pipeline of the score role, with all its default features."""

import json
from datetime import timedelta

from benchmarks.peers.work import WORKLOAD, features_of, trained_model
from benchmarks.workload import EXAMPLES, schema
from stream_app import Label, Pipeline


def make(name: str) -> Pipeline:
    """Returns the pipeline with this name."""
    label = json.loads((EXAMPLES / "flights_label.avsc").read_text())
    return Pipeline(
        name=name,
        schema=schema(WORKLOAD.payload),
        event_id="event_id",
        event_time="scheduled_departure",
        features=features_of,
        model=trained_model,
        label=Label(schema=label, field="late", time="known_at", horizon=timedelta(hours=36)),
        untrained="allowed",
    )
