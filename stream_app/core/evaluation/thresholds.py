"""Declared thresholds: evaluated for each closed window, with the action that a breach triggers."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from stream_app.core.evaluation.evaluator import WindowReport
from stream_app.core.published_records import LOSSES, ExampleOffsets, LimitCheck
from stream_app.core.reading.event_time import NEVER
from stream_app.formatting import iso_time
from stream_app.pipeline import Threshold, Thresholds

MetricValues = Mapping[str, float]
_MILLISECOND = timedelta(milliseconds=1)

# Prefix of the names of threshold alarms.
ALARM_PREFIX = "threshold-"


class Breach(NamedTuple):
    """Consecutive windows beyond a limit.

    Attributes:
        threshold: the threshold.
        value: value of the metric in the last window.
        limit: limit in the last window.
        windows: number of windows.
        start, end: span of the windows in Unix milliseconds, `end` exclusive.
        n: number of labels in the windows.
        examples: offsets of the examples learned in that time.
        model_version: version that made the newest prediction of the last window.
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
        """Description of the breach: metric, value and limit."""
        beyond = "above" if self.threshold.metric in LOSSES else "below"
        row = "a window" if self.windows == 1 else f"{self.windows} windows in a row"
        return f"{self.threshold.metric} {self.value:.4g} is {beyond} {self.limit:.4g} in {row}"

    @property
    def where(self) -> str:
        """Description of the windows and examples."""
        first, last = self.examples
        return f"{iso_time(self.start)} to {iso_time(self.end)}, examples {first} to {last}"


class ThresholdFindings(NamedTuple):
    """Thresholds after a closed window.

    Attributes:
        breaches: thresholds that are breached in enough consecutive windows.
        within: names of the alarms of thresholds that are not breached.
        triggered: breach whose action must be taken, or None.
    """

    breaches: list[Breach]
    within: list[str]
    triggered: Breach | None = None


def alarm_name(threshold: Threshold) -> str:
    """Return the name of the alarm of a threshold, unique in its pipeline.

    >>> alarm_name(Threshold(metric="log_loss", limit=0.1, against="prior", action="rollback"))
    'threshold-log_loss-prior-rollback'
    """
    parts = (threshold.metric, threshold.against, threshold.action)
    return ALARM_PREFIX + "-".join(part for part in parts if part)


def check_threshold(
    threshold: Threshold, values: MetricValues, n: int, offline: MetricValues
) -> LimitCheck | None:
    """Compare a metric of a window with a threshold.

    Args:
        threshold: the threshold.
        values: metrics and baselines of the window.
        n: number of labels in the window.
        offline: metrics of the trained version that the model descends from.

    Returns:
        The check, or None if a value is missing or the window has too few labels.

    >>> check_threshold(Threshold(metric="accuracy", limit=0.7), {"accuracy": 0.6}, 500, {})
    LimitCheck(threshold=0.7, breached=True)
    >>> relative = Threshold(metric="log_loss", limit=0.1, against="offline")
    >>> check_threshold(relative, {"log_loss": 0.6}, 500, {"log_loss": 0.5})
    LimitCheck(threshold=0.6, breached=False)
    """
    value, limit = values.get(threshold.metric), _limit(threshold, values, offline)
    if value is None or limit is None or n < threshold.min_labels:
        return None
    return LimitCheck(limit, value > limit if threshold.metric in LOSSES else value < limit)


def _limit(threshold: Threshold, values: MetricValues, offline: MetricValues) -> float | None:
    metric, against = threshold.metric, threshold.against
    if against is None:
        return threshold.limit
    reference = offline.get(metric) if against == "offline" else values.get(f"{against}_{metric}")
    if reference is None:
        return None
    return reference + threshold.limit if metric in LOSSES else reference - threshold.limit


def check_metric(
    thresholds: Iterable[Threshold], metric: str, report: WindowReport, offline: MetricValues
) -> LimitCheck:
    """Return the check of a metric of a window: a breached one, else the first."""
    checks = [
        check_threshold(one, report.values, report.n, offline)
        for one in thresholds
        if one.metric == metric
    ]
    found = sorted((one for one in checks if one is not None), key=lambda one: not one.breached)
    return found[0] if found else LimitCheck()


def allows_rollback_to(
    thresholds: Iterable[Threshold], values: MetricValues, n: int, offline: MetricValues
) -> bool:
    """Return True if metrics of `n` labels breach no threshold whose action is a rollback."""
    checks = (
        check_threshold(one, values, n, offline) for one in thresholds if one.action == "rollback"
    )
    return not any(one.breached for one in checks if one is not None)


def thresholds_as_dict(thresholds: Thresholds) -> dict[str, Any]:
    """Return the thresholds as in a manifest: limits of metrics by the names of their alarms."""
    limits = {alarm_name(one): _plain(one) for one in thresholds.metrics}
    return {**asdict(thresholds), "metrics": limits}


def _plain(threshold: Threshold) -> dict[str, Any]:
    return {**asdict(threshold), "cool_down": threshold.cool_down.total_seconds()}


@dataclass(slots=True)
class BreachRun:
    """Consecutive windows beyond a limit.

    Attributes:
        windows: number of windows.
        start: start of the first window in Unix milliseconds.
        first: offset of its first example.
        n: number of labels.
    """

    windows: int
    start: int
    first: int
    n: int


@dataclass(slots=True)
class ThresholdState:
    """State of the thresholds by alarm name; part of the learner's state, a function of the log.

    Attributes:
        runs: consecutive breached windows.
        quiet_until: end of the cool-down in Unix milliseconds.
        action_pending: True from the trigger of an action until the log has its control record; no
            other action is triggered in between.
    """

    runs: dict[str, BreachRun] = field(default_factory=dict)
    quiet_until: dict[str, int] = field(default_factory=dict)
    action_pending: bool = False

    def close(
        self,
        thresholds: Iterable[Threshold],
        report: WindowReport,
        offline: MetricValues,
        *,
        paused: bool,
    ) -> ThresholdFindings:
        """Check the thresholds of a closed window; a pause of learning triggers no action."""
        found = ThresholdFindings([], [])
        for threshold in thresholds:
            check = check_threshold(threshold, report.values, report.n, offline)
            if check is not None and check.breached:
                found.breaches.extend(self._breached(threshold, report, check))
            elif check is not None:
                found.within.append(self._within(threshold, report))
        return found._replace(triggered=None if paused else self._trigger(found.breaches))

    def reset(self, thresholds: Iterable[Threshold], now: int) -> None:
        """Start over after a version was selected or learning was resumed, at event time `now`."""
        self.runs.clear()
        self.action_pending = False
        for threshold in thresholds:
            self.quiet_until[alarm_name(threshold)] = now + threshold.cool_down // _MILLISECOND

    def _breached(
        self, threshold: Threshold, report: WindowReport, check: LimitCheck
    ) -> list[Breach]:
        """Count a breached window; return the breach if there are enough consecutive ones."""
        name, metric = alarm_name(threshold), threshold.metric
        if report.start < self.quiet_until.get(name, NEVER):
            return []
        run = self.runs.setdefault(name, BreachRun(0, report.start, report.examples.first, 0))
        run.windows += 1
        run.n += report.n
        if run.windows < threshold.windows:
            return []
        examples = ExampleOffsets(run.first, report.examples.last)
        value, limit = report.values[metric], float(check.threshold or 0.0)
        span = (run.windows, run.start, report.end, run.n)
        return [Breach(threshold, value, limit, *span, examples, report.model_version)]

    def _within(self, threshold: Threshold, report: WindowReport) -> str:
        name = alarm_name(threshold)
        run = self.runs.pop(name, None)
        if run is not None and run.windows >= threshold.windows:
            self.quiet_until[name] = report.end + threshold.cool_down // _MILLISECOND
        return name

    def _trigger(self, breaches: list[Breach]) -> Breach | None:
        """Return the breach with the strongest action, or None, also while an action is pending."""
        if self.action_pending:
            return None
        actions: tuple[Literal["rollback", "pause"], ...] = ("rollback", "pause")
        found = [
            breach for action in actions for breach in breaches if breach.threshold.action == action
        ]
        self.action_pending = bool(found)
        return found[0] if found else None
