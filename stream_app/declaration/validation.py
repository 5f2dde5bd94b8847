"""Rules of a pipeline's declaration: types, names, schemas, label, cleaning steps, model."""

import re
from dataclasses import fields
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from river import compose

from stream_app.cleaning import Between, Clip, Impute, Normalise, NullIf, Rename
from stream_app.core.evaluation.prediction_tasks import BinaryTask, task_of
from stream_app.core.reading.identity import id_fields, key_fields
from stream_app.declaration.label_rules import TIME_TYPES, check_label, require_id_fields
from stream_app.declaration.passed_schema import passed_schema
from stream_app.declaration.policy_rules import check_alarms, check_resilience, check_thresholds
from stream_app.declaration.requirements import (
    field_types,
    is_finite,
    require,
    require_field,
    require_type,
)
from stream_app.declaration.source_rules import START_FORM, check_sources
from stream_app.errors import PipelineError
from stream_app.pipeline import Alarms, Label, Pipeline, Threshold, Thresholds, parsed
from stream_app.resilience import Breaker, Fallback, Limits, Retry
from stream_app.sources import ORIGIN_CLASSES, Source

_CLASSES: tuple[Any, ...] = (
    Pipeline, Label, Threshold, Thresholds, Alarms, Retry, Breaker, Fallback, Limits,
    Between, Clip, Impute, Normalise, NullIf, Rename,
    Source, *ORIGIN_CLASSES,
)  # fmt: skip
_FIELDS = {one.__name__: [field.name for field in fields(one)] for one in _CLASSES}

# Messages of Python 3.11 to 3.13.
_UNKNOWN = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")
_MISSING = re.compile(r"(\w+)\.__init__\(\) missing \d+ required [a-z -]*arguments?: (.+)")
_UNNAMED = re.compile(r"(\w+)\.__init__\(\) takes 1 positional argument but \d+ were given")


def validate_pipeline(pipeline: Pipeline) -> None:
    """Check a pipeline whose schemas have been read.

    Raises:
        PipelineError: a rule is violated; the first one is reported.
    """
    for rule in (
        _check_types,
        _check_names,
        _check_numbers,
        _check_schema,
        check_label,
        _check_clean,
        _check_pass_through,
    ):
        rule(pipeline)
    check_sources(pipeline)
    _check_task(pipeline)
    check_resilience(pipeline)
    check_thresholds(pipeline)
    check_alarms(pipeline)


def require_parts(pipeline: Pipeline) -> None:
    """Check that each part of the declaration has its type.

    Raises:
        PipelineError: a part has another type.
    """
    require_type(Label, {"label": pipeline.label}, "stream_app.Label(...)")
    require_type(Thresholds, {"thresholds": pipeline.thresholds}, "stream_app.Thresholds(...)")
    require_type(Retry, {"retry": pipeline.retry}, "stream_app.Retry(...)")
    require_type(Limits, {"limits": pipeline.limits}, "stream_app.Limits(...)")
    if pipeline.breaker is not None:
        require_type(Breaker, {"breaker": pipeline.breaker}, "stream_app.Breaker(...) or None")
    if pipeline.fallback is not None:
        require_type(Fallback, {"fallback": pipeline.fallback}, "stream_app.Fallback(...) or None")


def _check_types(pipeline: Pipeline) -> None:
    label = pipeline.label
    texts = {name: getattr(pipeline, name) for name in ("name", "event_time")}
    texts |= {"label.field": label.field, "label.time": label.time}
    for role in ("event_id", "key"):
        _check_field_names(role, getattr(pipeline, role))
    lengths = {"label.horizon": label.horizon, "label.allowed_lateness": label.allowed_lateness}
    require_type(str, texts, "a string")
    if label.idle_after is not None:
        lengths["label.idle_after"] = label.idle_after
    require_type(timedelta, {**lengths, "window": pipeline.window}, "a datetime.timedelta")
    require_type(
        tuple,
        {name: getattr(pipeline, name) for name in ("clean", "metrics", "pass_through")},
        "a tuple, as in (one,) or (one, two)",
    )
    for name in ("features", "model"):
        require(
            callable(getattr(pipeline, name)),
            f"{name} is not callable",
            f"Give {name} a function, not its result",
        )


def _check_field_names(role: str, declared: object) -> None:
    """Check that a role is the name of a field, or a tuple of names."""
    if isinstance(declared, str):
        return
    form = f'Give {role} as the name of a field, or a tuple of names, as in ("bank", "account")'
    is_tuple = isinstance(declared, tuple)
    require(is_tuple, f"{role} is of type {type(declared).__name__}", form)
    assert isinstance(declared, tuple)
    require(bool(declared), f"{role} is an empty tuple", form)
    for name in declared:
        require(isinstance(name, str), f"{role} has a value of type {type(name).__name__}", form)
        require(declared.count(name) == 1, f"{role} has {name!r} twice", "Name each field once")


def _check_names(pipeline: Pipeline) -> None:
    require(
        re.fullmatch("[a-z0-9][a-z0-9-]{0,99}", pipeline.name) is not None,
        f"name {pipeline.name!r} cannot begin the names of topics",
        "Use up to 100 lower-case letters, digits and hyphens for name, the first not a hyphen",
    )
    repeated = sorted({name for name in pipeline.metrics if pipeline.metrics.count(name) > 1})
    require(not repeated, f"metrics has {', '.join(repeated)} twice", "Name each metric once")
    require(
        pipeline.untrained in ("allowed", "rejected"),
        f"untrained is {pipeline.untrained!r}",
        'Set untrained to "allowed" or "rejected"',
    )
    require(
        pipeline.format in ("json", "avro"),
        f"format is {pipeline.format!r}",
        'Set format to "json" or "avro"',
    )


def _check_numbers(pipeline: Pipeline) -> None:
    label, limits = pipeline.label, pipeline.thresholds
    zero = timedelta(0)
    require(
        label.horizon > zero,
        "label.horizon is not positive",
        "Give the longest time until a label becomes known",
    )
    require(
        label.allowed_lateness >= zero, "label.allowed_lateness is negative", "Give zero or more"
    )
    require(
        label.idle_after is None or label.idle_after > zero,
        "label.idle_after is not positive",
        "Give the longest outage of the label source that must lose nothing",
    )
    require(
        pipeline.window > zero,
        "window is not positive",
        "Give the length of a window in event time",
    )
    decision = is_finite(limits.decision) and 0 <= limits.decision <= 1
    require(decision, "thresholds.decision is not a probability", "Give a number from 0 to 1")


def _check_schema(pipeline: Pipeline) -> None:
    fields = field_types("schema", pipeline.schema)
    require_id_fields(fields, "schema", "event_id", id_fields(pipeline))
    require_id_fields(fields, "schema", "key", key_fields(pipeline))
    require_field(fields, "schema", "event_time", pipeline.event_time, TIME_TYPES)


def _check_task(pipeline: Pipeline) -> None:
    """Check that metrics, threshold and fallback fit the prediction task."""
    task, thresholds = task_of(pipeline), pipeline.thresholds
    absent = pipeline.label.absent
    require(
        absent is None or task.is_declared_label(absent),
        f"label.absent {absent!r} is no value of label.field {pipeline.label.field!r}",
        f"Give a label of {task.name}, as its records contain it"
        if pipeline.label.positive is None
        else "Give True or False: what the label means, as positive is declared",
    )
    for name in pipeline.metrics:
        known = name in task.metrics
        require(
            known,
            f"metrics: {name!r} is not a metric of {task.name}",
            f"Choose from {', '.join(task.metrics)}",
        )
    require(
        isinstance(task, BinaryTask) or thresholds.decision == Thresholds().decision,
        f"thresholds.decision is declared, but the label is one of {task.name}",
        "Leave it out; it is for boolean labels and those with positive",
    )
    rule = pipeline.fallback.score if pipeline.fallback is not None else None
    require(
        rule is None or callable(rule) or task.valid_score(rule) is not None,
        f"fallback.score is not {task.score_type}",
        f"Give {task.score_type}, or a function of the features",
    )


def _check_clean(pipeline: Pipeline) -> None:
    """Check the fields of bundled steps, up to the first user-defined step, which may add any."""
    fields = set(field_types("schema", pipeline.schema))
    for step in pipeline.clean:
        require(
            callable(step),
            f"clean has a {type(step).__name__}, which is not callable",
            "Give functions or steps",
        )
        if not isinstance(step, Between | Clip | Impute | Normalise | NullIf | Rename):
            return
        name = step.old if isinstance(step, Rename) else step.field
        require(
            name in fields,
            f"clean has {step!r}, but the record has no field {name!r}",
            "Correct the field's name",
        )
        if isinstance(step, Rename):
            fields.add(step.new)


def _check_pass_through(pipeline: Pipeline) -> None:
    names = pipeline.pass_through
    if not names:
        return
    numbered = {f"pass_through[{number}]": name for number, name in enumerate(names)}
    require_type(str, numbered, "the name of a field")
    repeated = sorted({name for name in names if names.count(name) > 1})
    require(not repeated, f"pass_through has {', '.join(repeated)} twice", "Name each field once")
    known = [field["name"] for field in parsed(pipeline.schema)["fields"]]
    for name in names:
        nearest = get_close_matches(name, known, 1)
        hint = f"; the nearest is {nearest[0]}" if nearest else ""
        require(
            name in known,
            f"pass_through {name!r} is not a field of schema{hint}",
            f"Choose from {', '.join(known)}",
        )
    passed_schema(pipeline)


def check_model(pipeline: Pipeline) -> None:
    """Build the model twice and check that it suits the label.

    Raises:
        PipelineError: it does not, or `model` fails or returns the same object twice.
    """
    try:
        model, another = pipeline.model(), pipeline.model()
    except Exception as error:
        raise PipelineError(
            f"model() raised {type(error).__name__}: {error}", "Correct the function model"
        ) from error
    while isinstance(model, compose.Pipeline) and model.steps:
        model, another = list(model.steps.values())[-1], list(another.steps.values())[-1]
    name = type(model).__name__
    problem = task_of(pipeline).model_problem(model)
    if problem is not None:
        raise PipelineError(f"model() made a {name}, {problem[0]}", problem[1])
    require(
        model is not another,
        "model() returned the same object twice",
        "Return a new model from each call",
    )


def explain_misnamed_field(error: BaseException) -> tuple[str, str] | None:
    """Return message and remedy for a `TypeError` that a declaration class raised, else None.

    >>> explain_misnamed_field(
    ...     TypeError("Label.__init__() got an unexpected keyword argument 'horizn'")
    ... )[0]
    'Label: unknown field horizn; the nearest is horizon'
    """
    if not isinstance(error, TypeError):
        return None
    text = str(error)
    for pattern, explain in (
        (_UNKNOWN, _unknown), (_MISSING, _missing), (_UNNAMED, _unnamed)
    ):  # fmt: skip
        found = pattern.match(text)
        if found is not None and found[1] in _FIELDS:
            return explain(*found.groups())
    return None


def _unknown(name: str, wrong: str) -> tuple[str, str]:
    known = _FIELDS[name]
    nearest = get_close_matches(wrong, known, 1)
    hint = f"; the nearest is {nearest[0]}" if nearest else ""
    return f"{name}: unknown field {wrong}{hint}", f"Choose from {', '.join(known)}"


def _missing(name: str, quoted: str) -> tuple[str, str]:
    missing = re.findall(r"'(\w+)'", quoted)
    remedy = START_FORM if name == "Source" and "start" in missing else "Declare it"
    return f"{name} lacks {', '.join(missing)}", remedy


def _unnamed(name: str) -> tuple[str, str]:
    if not _FIELDS[name]:
        return f"{name} takes no value", f"Write {name}()"
    return f"{name} has a value without the name of its field", "Write field=value for each"
