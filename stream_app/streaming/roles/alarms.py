"""Alarms among the outputs, as a metric."""

from collections.abc import Iterable

import orjson

from stream_app.core.records import Output
from stream_app.metrics import ALARMS


def count_alarms(outputs: Iterable[Output]) -> None:
    """Count the measurements that breach their threshold, by kind."""
    for output in outputs:
        if output.topic == "monitoring" and output.value is not None:
            measurement = orjson.loads(output.value)
            if measurement["breached"]:
                ALARMS.labels(measurement["kind"]).inc()
