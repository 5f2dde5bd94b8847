"""Event-driven streaming scoring on Kafka: exactly once, learning from delayed labels.

For the authors of pipelines:
    pipeline: `Pipeline`, `Label`, `Threshold`, `Thresholds`, `Alarms`.
    sources: `Source`, and origins of its fields.
    resilience: `Retry`, `Breaker`, `Fallback`, `Limits`, `TransientError`.
    cleaning: ready-made cleaning steps, and `Rejected`.
    transformers: additional transformers for River models.
    testing: test harness and pytest plugin for pipelines.

The flow of a record is in `core`; `worker` runs it on Kafka.
"""

from stream_app.compiled_core import use_compiled_core
from stream_app.deferred_imports import defer_imports
from stream_app.pipeline import Alarms, Label, Pipeline, Threshold, Thresholds
from stream_app.resilience import Breaker, Fallback, Limits, Retry, TransientError
from stream_app.sources import (
    Constant,
    Coordinates,
    EnvelopeField,
    Epoch,
    LocalTime,
    RecordKey,
    RecordTimestamp,
    Source,
)

defer_imports()
use_compiled_core()

__all__ = [
    "Alarms",
    "Breaker",
    "Constant",
    "Coordinates",
    "EnvelopeField",
    "Epoch",
    "Fallback",
    "Label",
    "Limits",
    "LocalTime",
    "Pipeline",
    "RecordKey",
    "RecordTimestamp",
    "Retry",
    "Source",
    "Threshold",
    "Thresholds",
    "TransientError",
]
