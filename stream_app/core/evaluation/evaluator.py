"""Prequential evaluation with delayed labels: each served prediction is judged when its label comes."""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from stream_app.core.evaluation.prediction_task import PredictionTask
from stream_app.core.example import Example, ExampleOffsets


@dataclass(slots=True)
class Window:
    """Labels that became known from `start` to `end` (epoch milliseconds), and who had served the newest of them.

    `card` is of predictions by versions that count now, `former` by those that a decision has led away from. `first` is
    the offset of the first example that was counted in it.
    """

    start: int
    end: int
    card: Any
    former: Any
    model_version: int = 0
    first: int = 0


class WindowReport(NamedTuple):
    """What `n` predictions of a window come to; `values` has every metric and baseline that is defined.

    `examples` are those of the log from the first one that was counted in it to the one that closed it.
    """

    start: int
    end: int
    n: int
    model_version: int
    values: dict[str, float]
    examples: ExampleOffsets


class ClosedWindow(NamedTuple):
    """A finished window, and everything since the start up to and including it.

    `window` is of the versions that count; `former` of the others, if they have served any of it.
    """

    window: WindowReport
    total: WindowReport
    former: WindowReport | None = None


@dataclass(slots=True)
class Evaluator:
    """Tumbling windows of label time, `length` milliseconds each, aligned to the epoch.

    A window closes when the largest label time passes its end by a quarter of `length`, so labels may arrive that much
    out of order; those still later count in the oldest open window. Every example counts exactly once.

    The baselines see labels in the order of the log. Gama, Sebastião, Rodrigues (2013), "On evaluating stream learning
    algorithms", Machine Learning 90.
    """

    length: int
    task: PredictionTask
    known: Any = field(init=False)
    watermark: int = -1
    closes_at: int = -1
    closed_to: int = 0
    open: dict[int, Window] = field(default_factory=dict)
    total: Window | None = None
    latest: WindowReport | None = None

    def __post_init__(self) -> None:
        self.known = self.task.known()

    def add(self, example: Example, offset: int = 0, *, former: bool = False) -> list[ClosedWindow]:
        """Judge a prediction, perhaps by a `former` version, whose example has this offset in the log; return the
        windows that this closes, oldest first.
        """
        time = example.label_time
        window = self.open.get(time - time % self.length) or self._open(time, offset)
        self.task.judge(
            self.known, window.former if former else window.card, example.label, example.score
        )
        window.model_version = example.model_version
        if time > self.watermark:
            self.watermark = time
        return self._close(offset) if self.watermark >= self.closes_at else []

    def error(self, example: Example) -> float:
        """How wrong the prediction was, from 0 to 1, of the example that was added last."""
        return self.task.error(self.known, example.label, example.score)

    def turn(self) -> None:
        """Other versions count from now on: all that is open is of former ones."""
        for window in self.open.values():
            window.former.merge(window.card)
            window.card = self.task.card()

    def metrics(self) -> dict[str, float]:
        """Every defined metric and baseline of the last closed window, or of all so far before one has closed."""
        return self._measure(self._everything()) if self.latest is None else self.latest.values

    def _open(self, time: int, offset: int) -> Window:
        start = max(time - time % self.length, self.closed_to)
        window = self.open.get(start)
        if window is None:
            end = start - start % self.length + self.length
            window = self.open[start] = Window(
                start, end, self.task.card(), self.task.card(), first=offset
            )
            self.closes_at = min(map(self._closing, self.open.values()))
        return window

    def _closing(self, window: Window) -> int:
        return window.end + self.length // 4

    def _close(self, offset: int) -> list[ClosedWindow]:
        due = [window for window in self.open.values() if self.watermark >= self._closing(window)]
        closed = [
            self._finish(window, offset) for window in sorted(due, key=lambda window: window.start)
        ]
        self.closes_at = min(map(self._closing, self.open.values()), default=-1)
        return closed

    def _finish(self, window: Window, offset: int) -> ClosedWindow:
        del self.open[window.start]
        card = self.task.card(cumulative=True)
        total = self.total or Window(window.start, window.end, card, None, first=window.first)
        total.end, total.model_version = window.end, window.model_version
        total.card.merge(window.card)
        total.card.merge(window.former)
        former = replace(window, card=window.former)
        of_former = self._report(former, offset) if former.card.n else None
        closed = ClosedWindow(self._report(window, offset), self._report(total, offset), of_former)
        self.total, self.latest, self.closed_to = total, closed.window, window.end
        return closed

    def _everything(self) -> Any:
        card = self.task.card()
        for window in self.open.values():
            card.merge(window.card)
            card.merge(window.former)
        return card

    def _report(self, window: Window, last: int) -> WindowReport:
        values, examples = self._measure(window.card), ExampleOffsets(window.first, last)
        return WindowReport(
            window.start, window.end, window.card.n, window.model_version, values, examples
        )

    def _measure(self, card: Any) -> dict[str, float]:
        if card.n == 0:
            return {}
        values = {
            name: metric(card)
            for name, metric in {**self.task.metrics, **self.task.baselines}.items()
        }
        return {name: value for name, value in values.items() if value is not None}
