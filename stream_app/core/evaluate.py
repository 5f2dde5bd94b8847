"""Prequential evaluation with delayed labels: each served prediction is judged when its label comes."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from stream_app.core.example import Example
from stream_app.core.ranks import Ranks
from stream_app.core.scorecard import BASELINES, METRICS, Outcome, Scorecard

_CUMULATIVE_SCORES = 10_000  # kept exactly for the ROC AUC since the start, which is in every checkpoint


@dataclass(slots=True)
class Window:
    """Labels that became known from `start` to `end` (epoch milliseconds), and who had served the newest of them.

    `card` is of predictions by versions that count now, `former` by those that a decision has led away from.
    """

    start: int
    end: int
    card: Scorecard = field(default_factory=Scorecard)
    model_version: int = 0
    former: Scorecard = field(default_factory=Scorecard)


class Report(NamedTuple):
    """What `n` predictions of a window come to; `values` has every metric and baseline that is defined."""

    start: int
    end: int
    n: int
    model_version: int
    values: dict[str, float]


class Closed(NamedTuple):
    """A finished window, and everything since the start up to and including it.

    `window` is of the versions that count; `former` of the others, if they have served any of it.
    """

    window: Report
    total: Report
    former: Report | None = None


@dataclass(slots=True)
class Evaluator:
    """Tumbling windows of label time, `length` milliseconds each, aligned to the epoch.

    A window closes when the largest label time passes its end by a quarter of `length`, so labels may arrive that much
    out of order; those still later count in the oldest open window. Every example counts exactly once.

    The baselines see labels in the order of the log. Gama, Sebastião, Rodrigues (2013), "On evaluating stream learning
    algorithms", Machine Learning 90.
    """

    length: int
    decision: float = 0.5
    seen: int = 0
    positives: int = 0
    last: bool | None = None
    watermark: int = -1
    closes_at: int = -1
    closed_to: int = 0
    open: dict[int, Window] = field(default_factory=dict)
    total: Window | None = None
    latest: Report | None = None

    def add(self, example: Example, *, former: bool = False) -> list[Closed]:
        """Judge a prediction, perhaps by a `former` version; return the windows that this closes, oldest first."""
        label, score, time = example.label, example.score, example.label_time
        prior = (self.positives + 1.0) / (self.seen + 2.0)  # Laplace's rule of succession
        majority = self.positives * 2 > self.seen
        window = self.open.get(time - time % self.length) or self._open(time)
        card = window.former if former else window.card
        card.add(Outcome(label, score, score >= self.decision, prior, majority, self.last))
        window.model_version = example.model_version
        self.seen += 1
        self.positives += label
        self.last = label
        if time > self.watermark:
            self.watermark = time
        return self._close() if self.watermark >= self.closes_at else []

    def turn(self) -> None:
        """Other versions count from now on: all that is open is of former ones."""
        for window in self.open.values():
            window.former.merge(window.card)
            window.card = Scorecard()

    def metrics(self) -> dict[str, float]:
        """Every defined metric and baseline of the last closed window, or of all so far before one has closed."""
        return _measure(self._everything()) if self.latest is None else self.latest.values

    def _open(self, time: int) -> Window:
        start = max(time - time % self.length, self.closed_to)
        window = self.open.get(start)
        if window is None:
            window = self.open[start] = Window(start, start - start % self.length + self.length)
            self.closes_at = min(map(self._closing, self.open.values()))
        return window

    def _closing(self, window: Window) -> int:
        return window.end + self.length // 4

    def _close(self) -> list[Closed]:
        due = [window for window in self.open.values() if self.watermark >= self._closing(window)]
        closed = [self._finish(window) for window in sorted(due, key=lambda window: window.start)]
        self.closes_at = min(map(self._closing, self.open.values()), default=-1)
        return closed

    def _finish(self, window: Window) -> Closed:
        del self.open[window.start]
        total = self.total or Window(window.start, window.end, Scorecard(ranks=Ranks(_CUMULATIVE_SCORES)))
        total.end, total.model_version = window.end, window.model_version
        total.card.merge(window.card)
        total.card.merge(window.former)
        former = replace(window, card=window.former)
        closed = Closed(_report(window), _report(total), _report(former) if former.card.n else None)
        self.total, self.latest, self.closed_to = total, closed.window, window.end
        return closed

    def _everything(self) -> Scorecard:
        card = Scorecard()
        for window in self.open.values():
            card.merge(window.card)
            card.merge(window.former)
        return card


def _report(window: Window) -> Report:
    return Report(window.start, window.end, window.card.n, window.model_version, _measure(window.card))


def _measure(card: Scorecard) -> dict[str, float]:
    if card.n == 0:
        return {}
    values = {name: metric(card) for name, metric in (METRICS | BASELINES).items()}
    return {name: value for name, value in values.items() if value is not None}
