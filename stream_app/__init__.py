"""Event-driven streaming scoring on Kafka."""

from stream_app.pipeline import Label, Pipeline, Threshold, Thresholds
from stream_app.resilience import Breaker, Fallback, Limits, Retry, TransientError

__all__ = [
    "Breaker",
    "Fallback",
    "Label",
    "Limits",
    "Pipeline",
    "Retry",
    "Threshold",
    "Thresholds",
    "TransientError",
]
