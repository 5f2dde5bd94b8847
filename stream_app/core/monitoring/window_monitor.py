"""Monitors inputs, scores and labels per window of event time, which the learner cannot see."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.examples import Example
from stream_app.core.monitoring.delay_quantiles import DelayQuantiles
from stream_app.core.monitoring.distribution_monitor import DistributionMonitor, DriftFinding
from stream_app.core.published_records import LimitCheck, Measurement, ScoredRecord
from stream_app.core.reading.event_time import NEVER
from stream_app.pipeline import Pipeline
from stream_app.records import Output


@dataclass(slots=True)
class LabelCoverage:
    """Labels of the events of one window.

    Attributes:
        scored: number of events that were scored.
        delays: delays of the labels that came for them.
    """

    scored: int = 0
    delays: DelayQuantiles = field(default_factory=DelayQuantiles)


class WindowMonitor:
    """Monitors tumbling windows of event time, aligned to the Unix epoch and closed by watermarks.

    The watermark of an input is the largest time seen in it, without a single one that is more than
    two windows after the one before it: it may be wrong. The watermark is the least of them, so an
    input that lags behind holds every window open. The distributions of a window are compared
    when the watermark passes its end by a quarter of its length; its labels are counted when the
    watermark passes its end by the label's horizon.

    Args:
        pipeline: loaded pipeline.

    Attributes:
        late: number of records that came after their window had closed; they are left out.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._monitored = task_of(pipeline).monitored
        self._length = pipeline.window // timedelta(milliseconds=1)
        self._horizon = pipeline.label.horizon // timedelta(milliseconds=1)
        self._watermarks: dict[str, int] = {}
        self._watermark = NEVER
        # Time of the last record of each input.
        self._previous: dict[str, int] = {}
        # Model version of the newest record, by window whose distributions are not compared yet.
        self._versions: dict[int, int] = {}
        self._coverage: dict[int, LabelCoverage] = {}
        self._score = DistributionMonitor(pipeline.thresholds.psi_significance)
        self._features = DistributionMonitor(pipeline.thresholds.psi_significance)
        self.late = 0

    def scored(self, source: str, record: ScoredRecord) -> None:
        """Count a scored record of an input."""
        time = record["event_time"]
        version, features = record["model"]["version"], record["features"]
        window = time - time % self._length
        self._move_watermark(source, time)
        if not self._is_past(window + self._horizon):
            self._coverage.setdefault(window, LabelCoverage()).scored += 1
        if self._is_past(window + self._length // 4):
            self.late += 1
            return
        self._versions[window] = version
        self._score.add(window, self._monitored(record))
        if features:
            self._features.add(window, features)

    def example(self, source: str, example: Example) -> None:
        """Count a label of an input; one that was assumed has no delay, and is not covered."""
        self._move_watermark(source, example.label_time)
        if example.assumed:
            return
        window = example.event_time - example.event_time % self._length
        if self._is_past(window + self._horizon):
            self.late += 1
            return
        delay = max(example.label_time - example.event_time, 0)
        self._coverage.setdefault(window, LabelCoverage()).delays.add(delay)

    def close(self, active: Collection[str]) -> list[Output]:
        """Return the measurements of the windows that are complete.

        Args:
            active: inputs that hold windows open. If there is none, all have been read to their
                ends, and the largest of their watermarks is the watermark.
        """
        watermarks = [self._watermarks.get(source, NEVER) for source in active]
        watermark = min(watermarks) if watermarks else max(self._watermarks.values(), default=NEVER)
        self._watermark = max(self._watermark, watermark)
        slack = self._length // 4
        compared = [window for window in self._versions if self._is_past(window + slack)]
        found = [one for window in sorted(compared) for one in self._distributions(window)]
        counted = [window for window in self._coverage if self._is_past(window + self._horizon)]
        found += [one for window in sorted(counted) for one in self._labels(window)]
        return [measurement.output(self._pipeline.name) for measurement in found]

    def to_state(self) -> dict[str, Any]:
        """Return JSON data."""
        return {
            "length": self._length,
            "watermarks": self._watermarks,
            "watermark": self._watermark,
            "previous": self._previous,
            "versions": {str(window): version for window, version in self._versions.items()},
            "coverage": {
                str(window): [c.scored, c.delays.to_state()] for window, c in self._coverage.items()
            },
            "score": self._score.to_state(),
            "features": self._features.to_state(),
            "late": self.late,
        }

    @classmethod
    def from_state(cls, pipeline: Pipeline, state: Mapping[str, Any]) -> "WindowMonitor":
        """Return the monitor of `to_state`.

        Windows of another length are forgotten, with the references made of them.
        """
        monitor = cls(pipeline)
        significance = pipeline.thresholds.psi_significance
        monitor._watermarks = dict(state["watermarks"])
        monitor._watermark = state["watermark"]
        monitor._previous = dict(state["previous"])
        monitor.late = state["late"]
        if state["length"] != monitor._length:
            return monitor
        monitor._versions = {int(window): version for window, version in state["versions"].items()}
        monitor._coverage = {
            int(w): LabelCoverage(n, DelayQuantiles.from_state(d))
            for w, (n, d) in state["coverage"].items()
        }
        monitor._score = DistributionMonitor.from_state(state["score"], significance)
        monitor._features = DistributionMonitor.from_state(state["features"], significance)
        return monitor

    def _move_watermark(self, source: str, time: int) -> None:
        previous = self._previous.get(source, NEVER)
        reached = time if time <= previous + 2 * self._length else previous
        self._previous[source] = time
        if reached > self._watermarks.get(source, NEVER):
            self._watermarks[source] = reached

    def _is_past(self, time: int) -> bool:
        """Return True if the watermark has passed the end of a window that starts at `time`."""
        return self._watermark >= time + self._length

    def _distributions(self, window: int) -> list[Measurement]:
        version = self._versions.pop(window)
        found = [(f.name, f) for f in self._score.close(window)]
        found += [(f"features.{f.name}", f) for f in self._features.close(window)]
        return [self._drift(window, name, finding, version) for name, finding in found]

    def _drift(self, window: int, name: str, finding: DriftFinding, version: int) -> Measurement:
        _, reference, n, psi = finding
        check = LimitCheck(psi.threshold, psi.breached)
        end = window + self._length
        return Measurement("drift", name, window, end, n, psi.value, check, reference, version)

    def _labels(self, window: int) -> list[Measurement]:
        coverage = self._coverage.pop(window)
        delays, end, scored = coverage.delays, window + self._length, coverage.scored
        share = delays.n / scored if scored else None
        found = [
            Measurement("volume", "scored", window, end, scored, float(scored)),
            Measurement("coverage", "label_coverage", window, end, scored, share),
        ]
        if delays.n:
            found += [
                Measurement("delay", name, window, end, delays.n, milliseconds / 1000)
                for name, milliseconds in delays.summary().items()
            ]
        return found
