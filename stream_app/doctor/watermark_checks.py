"""Checks of the watermarks that scorers publish for the monitor."""

from collections.abc import Iterator

from stream_app.clock import now_ms
from stream_app.doctor.context import CheckResult, DoctorContext, ok, skipped, warning
from stream_app.formatting import duration
from stream_app.status.problems import OLD_WATERMARK_SECONDS
from stream_app.status.window_status import Watermarks


def check_watermarks(context: DoctorContext) -> Iterator[CheckResult]:
    """Check that scorers publish the watermarks by which windows of the monitor close."""
    if not context.record_counts:
        yield skipped("watermarks: no scorer has committed anything yet")
        return
    watermarks = context.view.watermarks(context.view.offset_bounds())
    running = bool(context.groups["score"].members)
    found = [*evaluate_watermarks(watermarks, now_ms(), running=running)]
    yield from found or [ok("every partition has a watermark, so windows of the monitor close")]


def evaluate_watermarks(
    watermarks: Watermarks, now: int, *, running: bool
) -> Iterator[CheckResult]:
    """Yield a warning for each partition without a present watermark.

    Args:
        watermarks: newest watermark of each partition.
        now: Unix milliseconds.
        running: True if scorers run, which write each watermark every 15 minutes.
    """
    for partition, written in watermarks.items():
        if written is None:
            yield warning(
                f"partition {partition} has no watermark, so no window of the monitor closes",
                "Start its scorer, which writes it within seconds; see its log if it runs",
            )
        elif running and now - written.at > OLD_WATERMARK_SECONDS * 1000:
            yield warning(
                f"the watermark of partition {partition} is "
                f"{duration((now - written.at) / 1000)} old, so no window of the monitor closes",
                "See the log of its scorer",
            )
