"""What a threshold must be: every rule of `stream_app.Threshold`, each with its remedy."""

from datetime import timedelta

from stream_app.core.evaluation.prediction_tasks import PredictionTask, task_of
from stream_app.core.evaluation.thresholds import alarm_name
from stream_app.declaration.requirements import is_finite, require, require_type
from stream_app.pipeline import Pipeline, Threshold

_ACTIONS = ("alarm", "pause", "rollback")
_OFFLINE = "offline"


def check_thresholds(pipeline: Pipeline) -> None:
    """Raise the `PipelineError` of the first rule that a threshold breaks."""
    declared, task = pipeline.thresholds.metrics, task_of(pipeline)
    require_type(tuple, {"thresholds.metrics": declared}, "a tuple, as in (Threshold(...),)")
    for number, threshold in enumerate(declared):
        where = f"thresholds.metrics[{number}]"
        require_type(Threshold, {where: threshold}, "stream_app.Threshold(...)")
        _check_meaning(where, threshold, pipeline.metrics or task.default_metrics, task)
        _check_numbers(where, threshold)
    names = [alarm_name(threshold) for threshold in declared]
    repeated = sorted({name for name in names if names.count(name) > 1})
    require(
        not repeated,
        f"thresholds.metrics has two like {', '.join(repeated)}",
        "Give thresholds of one metric another action, or something else to be held against",
    )


def _check_meaning(
    where: str, threshold: Threshold, metrics: tuple[str, ...], task: PredictionTask
) -> None:
    metric, against = threshold.metric, threshold.against
    require(
        metric in metrics,
        f"{where} is of {metric!r}, which metrics has not",
        f"Choose from {', '.join(metrics)}",
    )
    baselines = [
        name.removesuffix(f"_{metric}") for name in task.baselines if name.endswith(f"_{metric}")
    ]
    references = [*baselines, _OFFLINE]
    require(
        against is None or against in references,
        f"{where} holds {metric} against {against!r}",
        f"Choose from {', '.join(references)}, or leave it out for an absolute limit",
    )
    require(
        threshold.action in _ACTIONS,
        f"{where} has the action {threshold.action!r}",
        f"Choose from {', '.join(_ACTIONS)}",
    )


def _check_numbers(where: str, threshold: Threshold) -> None:
    require(is_finite(threshold.limit), f"{where} has no finite limit", "Give a number")
    for name in ("min_labels", "windows"):
        value = getattr(threshold, name)
        require(
            type(value) is int and value >= 1,
            f"{where}.{name} is {value!r}",
            "Give a whole number from 1 on",
        )
    require_type(timedelta, {f"{where}.cool_down": threshold.cool_down}, "a datetime.timedelta")
    require(
        threshold.cool_down >= timedelta(0), f"{where}.cool_down is negative", "Give zero or more"
    )
