"""Rules of policies: retries, breaker, fallback, limits, metric thresholds and alarms."""

from datetime import date, timedelta
from zoneinfo import ZoneInfoNotFoundError

from stream_app.core.alarms.alarm_budget import MAX_FALSE_PER_YEAR
from stream_app.core.alarms.week_hours import WeekHours
from stream_app.core.evaluation.prediction_tasks import PredictionTask, task_of
from stream_app.core.evaluation.thresholds import alarm_name
from stream_app.declaration.requirements import (
    is_count,
    is_finite,
    require,
    require_positive_counts,
    require_positive_durations,
    require_type,
)
from stream_app.pipeline import Alarms, Pipeline, Threshold

_ACTIONS = ("alarm", "pause", "rollback")
_ALARM_ACTIONS = ("alarm", "pause")
_OFFLINE = "offline"
_MAX_SECONDS = 3600
_MAX_MIB = 1 << 20


def check_resilience(pipeline: Pipeline) -> None:
    """Check `retry`, `breaker`, `fallback` and `limits`.

    Raises:
        PipelineError: a rule is violated.
    """
    _check_retry(pipeline)
    _check_breaker(pipeline)
    _check_fallback(pipeline)
    _check_limits(pipeline)


def check_alarms(pipeline: Pipeline) -> None:
    """Check the declaration of alarms.

    Raises:
        PipelineError: a rule is violated; the first one is reported.
    """
    alarms = pipeline.alarms
    if alarms is None:
        return
    require_type(Alarms, {"alarms": alarms}, "stream_app.Alarms(...), or None for no alarms")
    for name in ("false_per_year", "input_drift_per_year"):
        value = getattr(alarms, name)
        require(
            is_finite(value) and 0 < value <= MAX_FALSE_PER_YEAR,
            f"alarms.{name} is {value!r}",
            f"Give a number above 0, up to {MAX_FALSE_PER_YEAR}, or alarms=None for no alarms",
        )
    require(
        alarms.action in _ALARM_ACTIONS,
        f"alarms.action is {alarms.action!r}",
        f"Choose from {', '.join(_ALARM_ACTIONS)}",
    )
    require(
        alarms.action == "alarm" or bool(pipeline.label.sources),
        "alarms.action is 'pause', but no source of labels is declared, so none can be paused",
        "Declare the topics of the labels in label.sources, or remove alarms.action",
    )
    require_type(str, {"alarms.zone": alarms.zone}, 'a name, as in "America/New_York"')
    require_type(
        tuple, {"alarms.holidays": alarms.holidays}, "a tuple, as in (date(2026, 12, 25),)"
    )
    for number, day in enumerate(alarms.holidays):
        name = f"alarms.holidays[{number}]"
        require(type(day) is date, f"{name} is {day!r}", "Give datetime.date(year, month, day)")
    try:
        WeekHours(alarms.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        require(
            False,
            f"there is no time zone {alarms.zone!r} on this machine",
            "Give a name of the IANA database, such as America/New_York, or install tzdata",
        )


def check_thresholds(pipeline: Pipeline) -> None:
    """Check the metric thresholds.

    Raises:
        PipelineError: a rule is violated.
    """
    declared, task = pipeline.thresholds.metrics, task_of(pipeline)
    require_type(tuple, {"thresholds.metrics": declared}, "a tuple, as in (Threshold(...),)")
    for number, threshold in enumerate(declared):
        where = f"thresholds.metrics[{number}]"
        require_type(Threshold, {where: threshold}, "stream_app.Threshold(...)")
        _check_names(where, threshold, pipeline.metrics or task.default_metrics, task)
        _check_numbers(where, threshold)
    names = [alarm_name(threshold) for threshold in declared]
    repeated = sorted({name for name in names if names.count(name) > 1})
    require(
        not repeated,
        f"thresholds.metrics contains {', '.join(repeated)} twice",
        "Give thresholds of one metric different actions or references",
    )


def _check_retry(pipeline: Pipeline) -> None:
    retry = pipeline.retry
    require_positive_counts({"retry.max_attempts": retry.max_attempts})
    require(
        is_count(retry.max_waiting, least=0),
        "retry.max_waiting must be a whole number of 0 or more",
        "Correct it",
    )
    require_positive_durations(
        {
            "retry.initial_delay": retry.initial_delay,
            "retry.max_delay": retry.max_delay,
            "retry.give_up_after": retry.give_up_after,
        }
    )
    require(
        retry.initial_delay <= retry.max_delay,
        "retry.initial_delay is longer than retry.max_delay",
        "Increase retry.max_delay",
    )


def _check_limits(pipeline: Pipeline) -> None:
    limits = pipeline.limits
    seconds = is_finite(limits.seconds) and 0.1 <= limits.seconds <= _MAX_SECONDS
    require(seconds, "limits.seconds is out of range", f"Give seconds from 0.1 to {_MAX_SECONDS}")
    memory = is_count(limits.memory_mb, least=16) and limits.memory_mb <= _MAX_MIB
    require(memory, "limits.memory_mb is out of range", f"Give whole MiB from 16 to {_MAX_MIB}")
    budget = limits.predict_seconds is None or (
        is_finite(limits.predict_seconds) and limits.predict_seconds > 0
    )
    require(budget, "limits.predict_seconds is not positive", "Give seconds above zero, or None")


def _check_breaker(pipeline: Pipeline) -> None:
    breaker = pipeline.breaker
    if breaker is None:
        return
    require_positive_counts(
        {
            "breaker.consecutive": breaker.consecutive,
            "breaker.window": breaker.window,
            "breaker.probe": breaker.probe,
        }
    )
    require_positive_durations(
        {"breaker.pause": breaker.pause, "breaker.max_pause": breaker.max_pause}
    )
    require(
        breaker.pause <= breaker.max_pause,
        "breaker.pause is longer than breaker.max_pause",
        "Increase breaker.max_pause",
    )
    ratio = is_finite(breaker.ratio) and 0 < breaker.ratio <= 1
    require(ratio, "breaker.ratio must be in (0, 1]", "Correct it")


def _check_fallback(pipeline: Pipeline) -> None:
    fallback = pipeline.fallback
    if fallback is None:
        return
    require_type(bool, {"fallback.last_good": fallback.last_good}, "True or False")
    require(
        fallback.last_good or fallback.score is not None,
        "fallback declares no replacement",
        "Set last_good=True or give a score, or remove the fallback",
    )


def _check_names(
    where: str, threshold: Threshold, metrics: tuple[str, ...], task: PredictionTask
) -> None:
    metric, against = threshold.metric, threshold.against
    require(
        metric in metrics,
        f"{where}: unknown metric {metric!r}",
        f"Choose from {', '.join(metrics)}",
    )
    baselines = [
        name.removesuffix(f"_{metric}") for name in task.baselines if name.endswith(f"_{metric}")
    ]
    references = [*baselines, _OFFLINE]
    require(
        against is None or against in references,
        f"{where}: {metric} cannot be compared with {against!r}",
        f"Choose from {', '.join(references)}, or remove `against` for an absolute limit",
    )
    require(
        threshold.action in _ACTIONS,
        f"{where}: unknown action {threshold.action!r}",
        f"Choose from {', '.join(_ACTIONS)}",
    )


def _check_numbers(where: str, threshold: Threshold) -> None:
    require(is_finite(threshold.limit), f"{where}.limit is not a finite number", "Give a number")
    for name in ("min_labels", "windows"):
        value = getattr(threshold, name)
        require(
            is_count(value, least=1),
            f"{where}.{name} is {value!r}",
            "Give a whole number of 1 or more",
        )
    require_type(timedelta, {f"{where}.cool_down": threshold.cool_down}, "a datetime.timedelta")
    require(
        threshold.cool_down >= timedelta(0), f"{where}.cool_down is negative", "Give zero or more"
    )
