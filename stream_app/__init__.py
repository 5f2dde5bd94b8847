"""Event-driven streaming scoring on Kafka."""

from stream_app.pipeline import Label, Pipeline, Thresholds

__all__ = ["Label", "Pipeline", "Thresholds"]
