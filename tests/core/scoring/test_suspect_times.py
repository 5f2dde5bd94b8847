"""A dead letter for lateness says if the time seems to have another unit, as `try` does."""

from datetime import timedelta

import pytest

from stream_app.core.reading.event_time import SUSPICION
from stream_app.testing import PipelineHarness
from tests.small_pipeline import HOUR, NOW, event, label, small_pipeline


@pytest.fixture
def harness() -> PipelineHarness:
    """Return a harness whose clock several events and labels have moved."""
    found = PipelineHarness(small_pipeline(), now=NOW)
    for number in range(10):
        found.event(event(number))
        found.label(label(number, known_at=NOW))
    found.advance(timedelta(0))
    return found


def test_a_late_event_and_a_late_label_in_seconds_are_suspected(harness: PipelineHarness) -> None:
    late = harness.event(event(20, NOW // 1000))
    assert late.error_code == "event-too-late"
    assert f"the time of the event {SUSPICION}" in (late.error_message or "")
    lost = harness.label(label(30, known_at=NOW // 1000))
    assert lost.error_code == "label-too-late"
    assert f"the time of the label {SUSPICION}" in (lost.error_message or "")


def test_an_event_that_is_only_late_is_not(harness: PipelineHarness) -> None:
    late = harness.event(event(20, NOW - 1000 * HOUR))
    assert late.error_code == "event-too-late"
    assert "unit" not in (late.error_message or "")
