"""A dead letter for lateness says if the time seems to have another unit."""

from stream_app.core.reading.event_time import SUSPICION
from stream_app.testing import PipelineHarness
from tests.small_pipeline import HOUR, NOW, event, label, small_pipeline


def test_a_late_event_and_a_late_label_in_seconds_are_suspected() -> None:
    harness = PipelineHarness(small_pipeline(), now=NOW)
    harness.event(event(1))
    late = harness.event(event(2, NOW // 1000))
    assert late.error_code == "event-too-late"
    assert (late.error_message or "").endswith(f"; the time of the event {SUSPICION}")
    lost = harness.label(label(3, known_at=NOW // 1000))
    assert lost.error_code == "label-too-late"
    assert SUSPICION in (lost.error_message or "")


def test_an_event_that_is_only_late_is_not() -> None:
    harness = PipelineHarness(small_pipeline(), now=NOW)
    harness.event(event(1))
    late = harness.event(event(2, NOW - 1000 * HOUR))
    assert late.error_code == "event-too-late"
    assert "unit" not in (late.error_message or "")
