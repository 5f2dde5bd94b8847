"""Calibration of thresholds: how often each would have alarmed over the log of examples."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from math import ceil, floor, log10
from typing import NamedTuple

from stream_app.core.evaluation.evaluator import Evaluator, WindowReport
from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.evaluation.thresholds import (
    MetricValues,
    ThresholdState,
    alarm_name,
    check_threshold,
)
from stream_app.core.examples import Example
from stream_app.core.learning.control_commands import VERSION_CHANGES, Control, ControlState
from stream_app.core.published_records import LOSSES
from stream_app.model_store.manifest import Manifest
from stream_app.pipeline import Pipeline, Threshold

YEAR_MS = 365 * 86_400_000
# Windows that a threshold needs to be calibrated.
MIN_WINDOWS = 20
# Digits of a proposed limit.
_DIGITS = 3

LogEntry = tuple[int, Example | Control]
"""Offset in the log of examples, and the record there."""


class EvaluatedWindow(NamedTuple):
    """Window that closed, and metrics of the trained version that the model descended from."""

    report: WindowReport
    offline: MetricValues


class ThresholdsReset(NamedTuple):
    """Decision with which thresholds start over, at a label time in Unix milliseconds."""

    now: int


ThresholdStep = EvaluatedWindow | ThresholdsReset


class Opening(NamedTuple):
    """Alarm of a threshold: the span of the windows that opened it, in Unix milliseconds."""

    start: int
    end: int


class CalibratedThreshold(NamedTuple):
    """Threshold, and what it would have done over the log.

    Values are those that the limit is about: the metric, or with `against` how much worse it is
    than the reference.

    Attributes:
        name: name of its alarm.
        threshold: the threshold.
        windows: number of windows that could be evaluated.
        low, median, high: values of which 5, 50 and 95 % of the windows are at most that large;
            None without windows.
        alarms: alarms that it would have raised, oldest first.
        per_year: number of them by the years of the log.
        proposed: tightest limit with few enough alarms; None if there are too few windows.
        proposed_alarms: number of alarms with that limit.
    """

    name: str
    threshold: Threshold
    windows: int
    low: float | None
    median: float | None
    high: float | None
    alarms: list[Opening]
    per_year: float
    proposed: float | None
    proposed_alarms: int | None


def threshold_steps(
    pipeline: Pipeline, log: Iterable[LogEntry], versions: Mapping[int, Manifest]
) -> Iterator[ThresholdStep]:
    """Yield the windows of a log, and the decisions in it, as the learner's thresholds see them.

    Args:
        pipeline: loaded pipeline.
        log: examples and control records in order.
        versions: manifests, for the offline metrics of the versions that decisions selected.
    """
    evaluator = Evaluator(pipeline.window // timedelta(milliseconds=1), task_of(pipeline))
    state, offline = ControlState(), dict[str, float]()
    is_first = True
    for offset, entry in log:
        if is_first:
            state.decision, offline = _before(versions, offset)
            is_first = False
        if isinstance(entry, Example):
            superseded = state.is_superseded(entry.model_version)
            try:
                closed = evaluator.add(entry, offset, superseded=superseded)
            except Exception:  # as for the learner, which counts it and reads on
                continue
            yield from (EvaluatedWindow(one.window, offline) for one in closed)
            continue
        if entry.resets_thresholds:
            yield ThresholdsReset(evaluator.watermark)
        if state.is_void(entry):
            continue
        state.apply(offset, entry)
        if entry.command in VERSION_CHANGES and entry.version is not None:
            selected = versions.get(entry.version)
            offline = {} if selected is None else dict(selected.offline_metrics)
            evaluator.supersede()


def _before(versions: Mapping[int, Manifest], offset: int) -> tuple[int, dict[str, float]]:
    """Return decision number and offline metrics of the newest version from before an offset."""
    learned = [one for one in versions.values() if one.origin == "learned"]
    before = [one for one in learned if one.version <= offset]
    if not before:
        return 0, {}
    newest = max(before, key=lambda one: one.version)
    return newest.decision, dict(newest.offline_metrics)


def windows_of(steps: Iterable[ThresholdStep]) -> list[WindowReport]:
    """Return the windows among the steps."""
    return [step.report for step in steps if isinstance(step, EvaluatedWindow)]


def calibrate(
    thresholds: Iterable[Threshold], steps: Sequence[ThresholdStep], per_year: float
) -> list[CalibratedThreshold]:
    """Return what thresholds would have done, and limits that alarm at most so often.

    Args:
        thresholds: the thresholds.
        steps: closed windows and decisions in order.
        per_year: alarms per year that are acceptable.
    """
    reports = windows_of(steps)
    years = (reports[-1].end - reports[0].start) / YEAR_MS if reports else 0.0
    return [_calibrated(threshold, steps, years, int(years * per_year)) for threshold in thresholds]


def openings(threshold: Threshold, steps: Iterable[ThresholdStep]) -> list[Opening]:
    """Return the alarms that a threshold raises over closed windows."""
    state, found, is_open = ThresholdState(), list[Opening](), False
    for step in steps:
        if isinstance(step, ThresholdsReset):
            # An alarm that is open lasts until a window is within the limit.
            state.reset((threshold,), step.now)
            continue
        # While learning is paused, a breach triggers no action, whose effect is not known here.
        findings = state.close((threshold,), step.report, step.offline, paused=True)
        for breach in findings.breaches:
            if not is_open:
                found.append(Opening(breach.start, breach.end))
            is_open = True
        if findings.within:
            is_open = False
    return found


def _calibrated(
    threshold: Threshold, steps: Sequence[ThresholdStep], years: float, allowed: int
) -> CalibratedThreshold:
    values = list(_values(threshold, steps))
    alarms = openings(threshold, steps)
    proposed = None
    if len(values) >= MIN_WINDOWS:
        proposed = _tightest(threshold, values, steps, allowed)
    low, median, high = (_quantile(values, share) for share in (0.05, 0.5, 0.95))
    count = None
    if proposed is not None:
        count = len(openings(replace(threshold, limit=proposed), steps))
    per_year = len(alarms) / years if years else 0.0
    return CalibratedThreshold(
        alarm_name(threshold), threshold, len(values), low, median, high, alarms, per_year,
        proposed, count,
    )  # fmt: skip


def _values(threshold: Threshold, steps: Iterable[ThresholdStep]) -> Iterator[float]:
    """Yield the value of each window that can be evaluated, in the sense of the limit."""
    for step in steps:
        if isinstance(step, ThresholdsReset):
            continue
        report, offline = step
        check = check_threshold(replace(threshold, limit=0.0), report.values, report.n, offline)
        if check is not None and check.threshold is not None:
            value = report.values[threshold.metric] - check.threshold
            yield value if threshold.against is None or _is_loss(threshold) else -value


def _tightest(
    threshold: Threshold, values: Sequence[float], steps: Sequence[ThresholdStep], allowed: int
) -> float:
    """Return the tightest limit, with few digits, that alarms seldom enough.

    It goes from the widest limit on: a limit that nearly every window breaches alarms only once,
    and would be no better.
    """
    is_upper = threshold.against is not None or _is_loss(threshold)
    extreme = min if is_upper else max
    # Only the best of so many windows in a row decides whether they open an alarm.
    length = threshold.windows
    runs = {extreme(values[end - length : end]) for end in range(length, len(values) + 1)}
    found = _rounded(max(values) if is_upper else min(values), up=is_upper)
    for value in sorted(runs, reverse=is_upper):
        limit = _rounded(value, up=is_upper)
        if len(openings(replace(threshold, limit=limit), steps)) > allowed:
            break
        found = limit
    return found


def _is_loss(threshold: Threshold) -> bool:
    return threshold.metric in LOSSES


def _rounded(value: float, *, up: bool) -> float:
    """Round to three digits, away from the values that are within the limit.

    >>> _rounded(0.62341, up=True), _rounded(0.62341, up=False), _rounded(-1234.5, up=False)
    (0.624, 0.623, -1240.0)
    """
    if value == 0:
        return 0.0
    decimals = _DIGITS - 1 - floor(log10(abs(value)))
    # Without the error of the multiplication, which would round to the next digit.
    scaled = round(value * 10.0**decimals, 6)
    return round((ceil(scaled) if up else floor(scaled)) / 10.0**decimals, max(decimals, 0))


def _quantile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that so many are at most as large as; None of none."""
    return sorted(values)[max(ceil(share * len(values)) - 1, 0)] if values else None
