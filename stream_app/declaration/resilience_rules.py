"""The rules of what a pipeline declares about failures."""

from datetime import timedelta

from stream_app.declaration.requirements import is_finite, require, require_type
from stream_app.pipeline import Pipeline

_ZERO = timedelta(0)


def check_resilience(pipeline: Pipeline) -> None:
    """Raise the `PipelineError` of the first rule that `retry`, `breaker` or `fallback` breaks."""
    _check_retry(pipeline)
    _check_breaker(pipeline)
    _check_fallback(pipeline)
    _check_limits(pipeline)


def _check_retry(pipeline: Pipeline) -> None:
    retry = pipeline.retry
    _require_counts({"retry.max_attempts": retry.max_attempts})
    require(_is_count(retry.max_waiting, least=0), "retry.max_waiting is no count", "Give zero or more")
    _require_lengths(
        {
            "retry.initial_delay": retry.initial_delay,
            "retry.max_delay": retry.max_delay,
            "retry.give_up_after": retry.give_up_after,
        }
    )
    require(
        retry.initial_delay <= retry.max_delay,
        "retry.initial_delay is longer than retry.max_delay",
        "Give the longest delay between two tries",
    )


def _check_limits(pipeline: Pipeline) -> None:
    limits = pipeline.limits
    seconds = is_finite(limits.seconds) and 0.1 <= limits.seconds <= 3600
    require(seconds, "limits.seconds is out of range", "Give seconds from 0.1 to 3600")
    memory = _is_count(limits.memory_mb, least=16) and limits.memory_mb <= 1 << 20
    require(memory, "limits.memory_mb is out of range", "Give whole MiB from 16 to 1048576")
    budget = limits.predict_seconds is None or (
        is_finite(limits.predict_seconds) and limits.predict_seconds > 0
    )
    require(budget, "limits.predict_seconds is not positive", "Give seconds above zero, or None")


def _check_breaker(pipeline: Pipeline) -> None:
    breaker = pipeline.breaker
    if breaker is None:
        return
    _require_counts(
        {
            "breaker.consecutive": breaker.consecutive,
            "breaker.window": breaker.window,
            "breaker.probe": breaker.probe,
        }
    )
    _require_lengths(
        {"breaker.pause": breaker.pause, "breaker.max_pause": breaker.max_pause}
    )
    require(
        breaker.pause <= breaker.max_pause,
        "breaker.pause is longer than breaker.max_pause",
        "Give the longest pause between two probes",
    )
    share = is_finite(breaker.ratio) and 0 < breaker.ratio <= 1
    require(share, "breaker.ratio is no share", "Give a number above 0, and at most 1")


def _check_fallback(pipeline: Pipeline) -> None:
    fallback = pipeline.fallback
    if fallback is None:
        return
    require_type(bool, {"fallback.last_good": fallback.last_good}, "True or False")
    require(
        fallback.last_good or fallback.score is not None,
        "fallback declares nothing to fall back on",
        "Set last_good=True or give a score, or leave the fallback out",
    )


def _require_counts(values: dict[str, object]) -> None:
    for name, value in values.items():
        require(
            _is_count(value, least=1),
            f"{name} is no positive count",
            "Give a whole number of 1 or more",
        )


def _is_count(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def _require_lengths(values: dict[str, timedelta]) -> None:
    require_type(timedelta, values, "a datetime.timedelta")
    for name, value in values.items():
        require(value > _ZERO, f"{name} is not positive", "Give a length of time above zero")
