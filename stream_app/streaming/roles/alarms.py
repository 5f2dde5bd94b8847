"""Measurements among the outputs, as metrics."""

from collections.abc import Iterable
from typing import get_args

import orjson

from stream_app.core.monitoring import Kind
from stream_app.core.records import Output
from stream_app.metrics import ALARMS, MEASUREMENT

for _kind in get_args(Kind):
    ALARMS.labels(_kind)  # from 0 on, or the first alarm would be no increase


def show_measurements(outputs: Iterable[Output]) -> None:
    """Show the newest values, and count those that breach their threshold, by kind."""
    for output in outputs:
        if output.topic == "monitoring" and output.value is not None:
            measurement = orjson.loads(output.value)
            kind, value = measurement["kind"], measurement["value"]
            if value is not None:
                MEASUREMENT.labels(kind, measurement["name"], measurement["reference"] or "").set(value)
            if measurement["breached"]:
                ALARMS.labels(kind).inc()
