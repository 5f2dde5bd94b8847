"""Exported record counts of a scorer's partition."""

from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from stream_app.core.scoring.partition_state import PartitionState
from stream_app.resilience import Retry
from stream_app.worker.roles.reporting import ExportedMetrics

HOUR_MS = timedelta(hours=1) // timedelta(milliseconds=1)


def exported(topic: str, outcome: str) -> float:
    labels = {"role": "score", "topic": topic, "outcome": outcome}
    return REGISTRY.get_sample_value("stream_app_records_total", labels) or 0.0


@pytest.mark.parametrize(
    ("topic", "other", "outcome"),
    [("raw", "labels", "scored"), ("labels", "raw", "joined"), ("labels", "raw", "label_expired")],
)
def test_an_outcome_is_counted_under_the_topic_of_its_records(
    topic: str, other: str, outcome: str
) -> None:
    state = PartitionState(0, HOUR_MS, 0, Retry())
    metrics = ExportedMetrics()
    setattr(state.counts, outcome, 7)
    metrics.start(state)
    before = exported(topic, outcome)
    setattr(state.counts, outcome, 10)
    metrics.update(state)
    assert exported(topic, outcome) - before == 3
    labels = {"role": "score", "topic": other, "outcome": outcome}
    assert REGISTRY.get_sample_value("stream_app_records_total", labels) is None
