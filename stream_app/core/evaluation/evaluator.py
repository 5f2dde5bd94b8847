"""Prequential evaluation with delayed labels: a prediction is evaluated when its label comes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from stream_app.core.evaluation.intervals import intervals_of
from stream_app.core.evaluation.prediction_tasks import PredictionTask
from stream_app.core.examples import Example
from stream_app.core.published_records import ExampleOffsets, ValueInterval
from stream_app.core.reading.event_time import NEVER
from stream_app.core.slots_state import SlotsState

_NO_INTERVALS: Mapping[str, ValueInterval] = {}


@dataclass(slots=True)
class Window(SlotsState):
    """Metrics of the labels that became known in a span of time.

    Attributes:
        start, end: span of label time in Unix milliseconds, `end` exclusive.
        metrics: sums over predictions of versions that are not superseded.
        assumed: the same of predictions whose label was assumed, None without any; they are no part
            of `metrics` before the window closes.
        superseded: sums over predictions of versions that a decision moved away from.
        model_version: version that made the newest prediction.
        first: offset of the first example counted.
    """

    start: int
    end: int
    metrics: Any
    superseded: Any
    model_version: int = 0
    first: int = 0
    assumed: Any = None


class WindowReport(NamedTuple):
    """Metrics of a window.

    Attributes:
        start, end: span of label time in Unix milliseconds, `end` exclusive.
        n: number of labelled predictions.
        model_version: version that made the newest prediction.
        values: every metric and baseline that is defined, by name.
        examples: offsets from the first example counted to the one that closed the window.
        failed: names of the exceptions of metrics that could not be computed, by metric.
        intervals: confidence intervals of metrics that have a simple one.
    """

    start: int
    end: int
    n: int
    model_version: int
    values: dict[str, float]
    examples: ExampleOffsets
    failed: dict[str, str]
    intervals: Mapping[str, ValueInterval] = _NO_INTERVALS


class ClosedWindow(NamedTuple):
    """Reports at the close of a window.

    Attributes:
        window: predictions of the window, without those of superseded versions.
        total: all predictions since the start, up to and including the window.
        superseded: predictions of the window by superseded versions, None without any.
        labelled: predictions of `window` without those whose label was assumed, None without any.
    """

    window: WindowReport
    total: WindowReport
    superseded: WindowReport | None = None
    labelled: WindowReport | None = None


@dataclass(slots=True)
class Evaluator(SlotsState):
    """Evaluates examples in tumbling windows of label time, aligned to the Unix epoch.

    A window closes when the watermark passes its end by a quarter of its length, so labels may be
    that much out of order; later ones count in the oldest open window. The watermark is the largest
    label time, without a single one that is more than two windows after the one before it: it may
    be wrong. Every example counts exactly once. The baselines see labels in the order of the log.

    Gama, Sebastião, Rodrigues (2013), "On evaluating stream learning algorithms", Machine Learning
    90.

    Attributes:
        length: length of a window in milliseconds.
        task: prediction task.
        baseline: predictions without a model.
        watermark: Unix milliseconds, `NEVER` before the second label.
        previous: time of the last label.
        closes_at: label time at which the next window closes.
        closed_to: end of the last closed window.
        open: open windows by start.
        total: everything in closed windows.
        latest: report of the last closed window.
    """

    length: int
    task: PredictionTask
    baseline: Any = field(init=False)
    watermark: int = NEVER
    previous: int = NEVER
    closes_at: int = NEVER
    closed_to: int = NEVER
    open: dict[int, Window] = field(default_factory=dict)
    total: Window | None = None
    latest: WindowReport | None = None

    def __post_init__(self) -> None:
        self.baseline = self.task.new_baseline()

    def add(
        self, example: Example, offset: int = 0, *, superseded: bool = False
    ) -> list[ClosedWindow]:
        """Evaluate a served prediction.

        Args:
            example: event, prediction and label.
            offset: offset of the example in the log.
            superseded: True if a decision has moved away from the version that made the prediction.

        Returns:
            The windows that this closes, oldest first.
        """
        self.count(example, offset, superseded=superseded)
        return self.close(offset) if self.is_due else []

    def count(self, example: Example, offset: int, *, superseded: bool) -> None:
        """Count a served prediction, without closing windows; arguments as for `add`."""
        time = example.label_time
        window = self.open.get(time - time % self.length) or self._open(time, offset)
        metrics = self._metrics(window, superseded=superseded, assumed=example.assumed)
        self.task.evaluate(self.baseline, metrics, example.label, example.score)
        window.model_version = example.model_version
        previous = self.previous
        reached = time if time <= previous + 2 * self.length else previous
        self.previous = time
        if reached > self.watermark:
            self.watermark = reached

    @property
    def is_due(self) -> bool:
        """True if a window can be closed."""
        return self.watermark >= self.closes_at

    def supersede(self) -> None:
        """Count the predictions in open windows as those of superseded versions."""
        for window in self.open.values():
            window.superseded.merge(window.metrics)
            if window.assumed is not None:
                window.superseded.merge(window.assumed)
            window.metrics, window.assumed = self.task.new_metrics(), None

    def metrics(self) -> dict[str, float]:
        """Return the defined metrics and baselines of the last closed window.

        Before a window has closed, those of all examples so far.
        """
        return self._values(self._everything())[0] if self.latest is None else self.latest.values

    def _metrics(self, window: Window, *, superseded: bool, assumed: bool) -> Any:
        """Return the sums of a window that a prediction is added to."""
        if superseded:
            return window.superseded
        if not assumed:
            return window.metrics
        if window.assumed is None:
            window.assumed = self.task.new_metrics()
        return window.assumed

    def _open(self, time: int, offset: int) -> Window:
        start = max(time - time % self.length, self.closed_to)
        window = self.open.get(start)
        if window is None:
            end = start - start % self.length + self.length
            metrics, superseded = self.task.new_metrics(), self.task.new_metrics()
            window = self.open[start] = Window(start, end, metrics, superseded, first=offset)
            self.closes_at = min(map(self._closing_time, self.open.values()))
        return window

    def _closing_time(self, window: Window) -> int:
        return window.end + self.length // 4

    def close(self, offset: int) -> list[ClosedWindow]:
        """Close the windows that are due, oldest first; `offset` is that of the last example."""
        due = [one for one in self.open.values() if self.watermark >= self._closing_time(one)]
        closed = [self._finish(one, offset) for one in sorted(due, key=lambda one: one.start)]
        self.closes_at = min(map(self._closing_time, self.open.values()), default=NEVER)
        return closed

    def _finish(self, window: Window, offset: int) -> ClosedWindow:
        del self.open[window.start]
        labelled = None
        if window.assumed is not None:
            labelled = self._report(window, offset)
            window.metrics.merge(window.assumed)
        metrics = self.task.new_metrics(cumulative=True)
        total = self.total or Window(window.start, window.end, metrics, None, first=window.first)
        total.end, total.model_version = window.end, window.model_version
        total.metrics.merge(window.metrics)
        total.metrics.merge(window.superseded)
        superseded = None
        if window.superseded.n:
            superseded = self._report(replace(window, metrics=window.superseded), offset)
        closed = ClosedWindow(
            self._report(window, offset), self._report(total, offset), superseded, labelled
        )
        self.total, self.latest, self.closed_to = total, closed.window, window.end
        return closed

    def _everything(self) -> Any:
        metrics = self.task.new_metrics()
        for window in self.open.values():
            metrics.merge(window.metrics)
            metrics.merge(window.superseded)
            if window.assumed is not None:
                metrics.merge(window.assumed)
        return metrics

    def _report(self, window: Window, last: int) -> WindowReport:
        values, failed = self._values(window.metrics)
        return WindowReport(
            window.start,
            window.end,
            window.metrics.n,
            window.model_version,
            values,
            ExampleOffsets(window.first, last),
            failed,
            intervals_of(window.metrics, values),
        )

    def _values(self, metrics: Any) -> tuple[dict[str, float], dict[str, str]]:
        """Return the defined metrics, and the exceptions of those that could not be computed."""
        values: dict[str, float] = {}
        failed: dict[str, str] = {}
        functions = {**self.task.metrics, **self.task.baselines} if metrics.n else {}
        for name, function in functions.items():
            try:
                value = function(metrics)
            # A metric that fails must not stop learning; it is reported as failed.
            except Exception as error:
                failed[name] = type(error).__name__
            else:
                if value is not None:
                    values[name] = value
        return values, failed
