"""Measurements among the outputs, as metrics; alarms that last also to the log."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import orjson

from stream_app.core.measurement import Kind, lasts
from stream_app.records import Output
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import ALARMS, ALARMS_OPEN, MEASUREMENT

log = get_logger(__name__)

_UNCOUNTED = frozenset({"corrective_action", "performance"})
"""Kinds that are no alarm: what thresholds make of the windows' performance, alarms that last say."""

for _kind in get_args(Kind):
    if _kind not in _UNCOUNTED:
        ALARMS.labels(_kind)  # from 0 on, or the first alarm would be no increase


def show_measurements(outputs: Iterable[Output]) -> None:
    """Show the newest values, count those that breach their limit by kind, and show and log which alarms last."""
    for output in outputs:
        if output.topic == "monitoring" and output.value is not None:
            measurement = orjson.loads(output.value)
            if lasts(measurement):
                ALARMS_OPEN.labels(measurement["name"], measurement["source"] or "").set(
                    measurement["breached"]
                )
                _log(measurement)
            else:
                _show(measurement)


def _show(measurement: Mapping[str, Any]) -> None:
    kind, value = measurement["kind"], measurement["value"]
    if value is not None:
        MEASUREMENT.labels(kind, measurement["name"], measurement["reference"] or "").set(value)
    if measurement["breached"] and kind not in _UNCOUNTED:
        ALARMS.labels(kind).inc()


def _log(alarm: Mapping[str, Any]) -> None:
    """Once for each report of it: raised, lasting, ended."""
    window, breached = alarm["window"], alarm["breached"]
    tell = log.warning if breached else log.info
    tell(
        "alarm" if breached else "alarm has ended",
        source=alarm["source"],
        name=alarm["name"],
        cause=alarm["reference"],
        times=alarm["n"],
        value=alarm["value"],
        limit=alarm["threshold"],
        lasts_seconds=round((window["end"] - window["start"]) / 1000, 1),
    )
