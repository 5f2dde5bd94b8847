"""Declared thresholds: what closed windows say about them, and when something is to be done."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from stream_app.core.evaluation.evaluator import WindowReport
from stream_app.core.example import ExampleOffsets
from stream_app.core.measurement import LOSSES, LimitCheck
from stream_app.formatting import iso_time
from stream_app.pipeline import Threshold, Thresholds

Metrics = Mapping[str, float]
_MILLISECOND = timedelta(milliseconds=1)
ALARM = "threshold-"
"""How the names of their alarms begin."""


class Breach(NamedTuple):
    """The last `windows` windows in a row, from `start` to `end` (epoch ms) with `n` labels, are beyond a limit.

    `value` and `limit` are of the last of them, of which `model_version` served the newest prediction; `examples` are
    all that were learned meanwhile.
    """

    threshold: Threshold
    value: float
    limit: float
    windows: int
    start: int
    end: int
    n: int
    examples: ExampleOffsets
    model_version: int

    @property
    def why(self) -> str:
        """In words."""
        beyond = "above" if self.threshold.metric in LOSSES else "below"
        row = "a window" if self.windows == 1 else f"{self.windows} windows in a row"
        return f"{self.threshold.metric} {self.value:.4g} is {beyond} {self.limit:.4g} in {row}"

    @property
    def where(self) -> str:
        """Of which windows and examples."""
        return f"{iso_time(self.start)} to {iso_time(self.end)}, examples {self.examples.first} to {self.examples.last}"


class ThresholdFindings(NamedTuple):
    """Of one closed window: the thresholds that are passed, the names of those that are kept, and what has to be done
    about which of them, if anything.
    """

    breaches: list[Breach]
    kept: list[str]
    demand: Breach | None = None


def name_of(threshold: Threshold) -> str:
    """The name of its alarm, which no other threshold of the pipeline has.

    >>> name_of(Threshold(metric="log_loss", limit=0.1, against="prior", action="rollback"))
    'threshold-log_loss-prior-rollback'
    """
    parts = (threshold.metric, threshold.against, threshold.action)
    return ALARM + "-".join(part for part in parts if part)


def judge(threshold: Threshold, values: Metrics, n: int, laboratory: Metrics) -> LimitCheck | None:
    """Whether the metrics and baselines of a window of `n` labels pass the limit; None if that cannot be said.

    >>> judge(Threshold(metric="accuracy", limit=0.7), {"accuracy": 0.6}, 500, {})
    LimitCheck(threshold=0.7, breached=True)
    >>> judge(Threshold(metric="log_loss", limit=0.1, against="offline"), {"log_loss": 0.6}, 500, {"log_loss": 0.5})
    LimitCheck(threshold=0.6, breached=False)
    """
    value, limit = values.get(threshold.metric), _limit(threshold, values, laboratory)
    if value is None or limit is None or n < threshold.min_labels:
        return None
    return LimitCheck(limit, value > limit if threshold.metric in LOSSES else value < limit)


def _limit(threshold: Threshold, values: Metrics, laboratory: Metrics) -> float | None:
    metric, against = threshold.metric, threshold.against
    if against is None:
        return threshold.limit
    reference = (
        laboratory.get(metric) if against == "offline" else values.get(f"{against}_{metric}")
    )
    if reference is None:
        return None
    return reference + threshold.limit if metric in LOSSES else reference - threshold.limit


def verdict(
    thresholds: Iterable[Threshold], metric: str, report: WindowReport, laboratory: Metrics
) -> LimitCheck:
    """What the thresholds say about a metric of one window: of several, one that is passed, else the first."""
    judged = [
        judge(one, report.values, report.n, laboratory)
        for one in thresholds
        if one.metric == metric
    ]
    said = sorted((one for one in judged if one is not None), key=lambda one: not one.breached)
    return said[0] if said else LimitCheck()


def is_within(
    thresholds: Iterable[Threshold], values: Metrics, n: int, laboratory: Metrics
) -> bool:
    """Whether these metrics of `n` labels pass no limit that a rollback depends on."""
    judged = (judge(one, values, n, laboratory) for one in thresholds if one.action == "rollback")
    return not any(one.breached for one in judged if one is not None)


def as_map(thresholds: Thresholds) -> dict[str, Any]:
    """As a manifest has them: the limits of metrics by the names of their alarms."""
    limits = {name_of(one): _plain(one) for one in thresholds.metrics}
    return {**asdict(thresholds), "metrics": limits}


def _plain(threshold: Threshold) -> dict[str, Any]:
    return {**asdict(threshold), "cool_down": threshold.cool_down.total_seconds()}


@dataclass(slots=True)
class BreachRun:
    """Windows in a row beyond a limit: how many, since when, from which offset on, with how many labels."""

    windows: int
    start: int
    first: int
    n: int


@dataclass(slots=True)
class ThresholdState:
    """What is known of the thresholds, by name; a function of the log, and part of the learner's state.

    `quiet_until` (epoch ms) ends a cool-down. `demanded` says that something has to be done and the log does not say
    yet that it was; until then nothing else is demanded.
    """

    runs: dict[str, BreachRun] = field(default_factory=dict)
    quiet_until: dict[str, int] = field(default_factory=dict)
    demanded: bool = False

    def close(
        self,
        thresholds: Iterable[Threshold],
        report: WindowReport,
        laboratory: Metrics,
        *,
        held: bool,
    ) -> ThresholdFindings:
        """Judge a window; while learning is `held` nothing is demanded."""
        found = ThresholdFindings([], [])
        for threshold in thresholds:
            said = judge(threshold, report.values, report.n, laboratory)
            if said is not None and said.breached:
                breach = self._beyond(threshold, report, said)
                found.breaches.extend(breach)
            elif said is not None:
                found.kept.append(self._within(threshold, report))
        return found._replace(demand=None if held else self._demand(found.breaches))

    def decided(self, thresholds: Iterable[Threshold], now: int) -> None:
        """Another version was chosen, or learning was resumed, at event time `now`: what was before does not count."""
        self.runs.clear()
        self.demanded = False
        for threshold in thresholds:
            self.quiet_until[name_of(threshold)] = now + threshold.cool_down // _MILLISECOND

    def _beyond(self, threshold: Threshold, report: WindowReport, said: LimitCheck) -> list[Breach]:
        """The breach, once there are windows enough."""
        name, metric = name_of(threshold), threshold.metric
        if report.start < self.quiet_until.get(name, 0):
            return []
        run = self.runs.setdefault(name, BreachRun(0, report.start, report.examples.first, 0))
        run.windows += 1
        run.n += report.n
        if run.windows < threshold.windows:
            return []
        examples = ExampleOffsets(run.first, report.examples.last)
        value, limit = report.values[metric], float(said.threshold or 0.0)
        span = (run.windows, run.start, report.end, run.n)
        return [Breach(threshold, value, limit, *span, examples, report.model_version)]

    def _within(self, threshold: Threshold, report: WindowReport) -> str:
        name = name_of(threshold)
        run = self.runs.pop(name, None)
        if run is not None and run.windows >= threshold.windows:
            self.quiet_until[name] = report.end + threshold.cool_down // _MILLISECOND
        return name

    def _demand(self, breaches: list[Breach]) -> Breach | None:
        """Of several the one that asks for most."""
        if self.demanded:
            return None
        asked: tuple[Literal["rollback", "pause"], ...] = ("rollback", "pause")
        found = [
            breach for action in asked for breach in breaches if breach.threshold.action == action
        ]
        self.demanded = bool(found)
        return found[0] if found else None
