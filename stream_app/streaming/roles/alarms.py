"""Measurements among the outputs, as metrics."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import orjson

from stream_app.core.monitoring import Kind, lasts
from stream_app.core.records import Output
from stream_app.metrics import ALARMS, ALARMS_OPEN, MEASUREMENT

for _kind in get_args(Kind):
    if _kind != "corrective_action":
        ALARMS.labels(_kind)  # from 0 on, or the first alarm would be no increase


def show_measurements(outputs: Iterable[Output]) -> None:
    """Show the newest values, count those that breach their threshold by kind, and show which alarms last."""
    for output in outputs:
        if output.topic == "monitoring" and output.value is not None:
            measurement = orjson.loads(output.value)
            if lasts(measurement):
                ALARMS_OPEN.labels(measurement["name"], measurement["source"] or "").set(measurement["breached"])
            else:
                _show(measurement)


def _show(measurement: Mapping[str, Any]) -> None:
    kind, value = measurement["kind"], measurement["value"]
    if value is not None:
        MEASUREMENT.labels(kind, measurement["name"], measurement["reference"] or "").set(value)
    if measurement["breached"]:
        ALARMS.labels(kind).inc()
