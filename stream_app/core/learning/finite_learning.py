"""Learning that keeps a model finite: an example that would break the model is not learned.

Numbers beyond `EXTREME` overflow when they are squared or summed, and then no score is finite ever
again. An example with such a number is learned with a copy of the model at hand. Others cannot
overflow a model: gradients are clipped by River. The result is a function of model and example.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from river import compose, linear_model, stats

from stream_app.records import Features, Fields, Target

# Larger numbers are learned with care. Powers up to the tenth of smaller ones are finite.
EXTREME = 1e30


class NotFiniteError(Exception):
    """Raised instead of learning an example after which the model would not be finite."""


def is_extreme(features: Fields, label: Target) -> bool:
    """Return True if an example has a number beyond `EXTREME`. Called for every example."""
    for value in features.values():
        if type(value) is float and not -EXTREME < value < EXTREME:
            return True
    return type(label) is float and not -EXTREME < label < EXTREME


def learn_extreme(model: Any, features: Features, label: Target) -> Any:
    """Learn an extreme example if the model stays finite.

    Returns:
        None if the model has learned it, else a copy of the model as it was.
    """
    before = deepcopy(model)
    try:
        model.learn_one(features, label)
        finite = _has_finite_score(model, features) and (
            count_non_finite(model) <= count_non_finite(before)
        )
    # A model may raise anything, such as OverflowError.
    except Exception:
        finite = False
    return None if finite else before


def count_non_finite(root: Any) -> int:
    """Return the number of infinite and undefined numbers in a model."""
    count, seen, waiting = 0, set[int](), [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, float):
            count += not math.isfinite(value)
        elif value is not None and not isinstance(value, _ATOMS) and id(value) not in seen:
            seen.add(id(value))
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                count += int(np.count_nonzero(~np.isfinite(value)))
            else:
                waiting.extend(_content(value))
    return count


def unsound_aggregates(model: Any) -> bool:
    """Return True if a model has aggregates of labels without a value before their first label.

    These are `TargetAgg` of a statistic such as the maximum, in the steps of a pipeline. River
    passes the infinite or missing value of a new group on to the next step, and learns the label
    afterwards.
    """
    return any(
        _is_aggregate(part, "TargetAgg") and not _is_finite(_start_value(part.how))
        for step in _transformers(model)
        for part in _parts(step)
    )


def learn_first_of_group(model: Any, features: Features, label: Target) -> bool:
    """Learn the label in aggregates of labels only, if it is the first of a group.

    Later examples of the group are learned by the whole model.

    Returns:
        False if no group is new; nothing was learned then.
    """
    values: Any = features
    learned = False
    steps = list(_transformers(model))
    last = max(index for index, step in enumerate(steps) if _label_aggregates(step))
    for index, step in enumerate(steps[: last + 1]):
        for part in _label_aggregates(step):
            if not _is_finite(_group_value(part, values)):
                part.learn_one(values, label)
                learned = True
        if index < last:
            values = step.transform_one(values)
    return learned


class NoGroupValueError(Exception):
    """Raised instead of scoring with the infinite value of a group that has none yet."""


def needs_group_values(model: Any) -> bool:
    """Return True if a linear model gets an infinite feature for an event of a new group.

    Such a feature makes a probability exactly 0 or 1, whatever the other features are.
    """
    last = list(model.steps.values())[-1] if isinstance(model, compose.Pipeline) else None
    return isinstance(last, linear_model.base.GLM) and any(
        _is_aggregate(part, "Agg") and not _is_finite(_start_value(part.how))
        for step in _transformers(model)
        for part in _parts(step)
    )


def lacks_group_values(model: Any, features: Features) -> bool:
    """Return True if an aggregate of a model has no value yet for the group of an event."""
    values: Any = features
    for step in _transformers(model):
        for part in _parts(step):
            if _is_aggregate(part, "Agg") and not _is_finite(_group_value(part, values)):
                return True
        values = step.transform_one(values)
    return False


_ATOMS = (
    str,
    bytes,
    int,
    complex,
    type,
    FunctionType,
    BuiltinFunctionType,
    ModuleType,
)


def _content(value: Any) -> Iterable[Any]:
    """Return the objects of which another one consists."""
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, list | tuple | set | frozenset | deque):
        return value
    if isinstance(value, MethodType):
        return (value.__self__,)
    if isinstance(value, np.ndarray):
        return value.tolist() if value.dtype.kind == "O" else ()
    if type(value).__name__ == "VectorDict":
        return list(value.values())
    found = [*getattr(value, "__dict__", {}).values()]
    for kind in type(value).__mro__:
        names = kind.__dict__.get("__slots__", ())
        names = (names,) if isinstance(names, str) else names
        found += [getattr(value, name, None) for name in names if name != "__dict__"]
    if isinstance(value, stats.base.Statistic):
        # Statistics written in Rust show their value only.
        found.append(_value_of(value))
    return found


def _has_finite_score(model: Any, features: Features) -> bool:
    predict = getattr(model, "predict_proba_one", None) or model.predict_one
    score = predict(features)
    values = score.values() if isinstance(score, Mapping) else (score,)
    return all(math.isfinite(value) for value in values)


def _transformers(model: Any) -> Iterator[Any]:
    if isinstance(model, compose.Pipeline):
        yield from list(model.steps.values())[:-1]


def _parts(step: Any) -> Iterable[Any]:
    if isinstance(step, compose.TransformerUnion):
        return list(step.transformers.values())
    return (step,)


def _is_aggregate(part: Any, name: str) -> bool:
    """Return True for an instance of a class of River, without importing its package.

    That package takes a tenth of a worker's imports, and few models use it.
    """
    return any(
        base.__name__ == name and base.__module__ == "river.feature_extraction.agg"
        for base in type(part).__mro__
    )


def _label_aggregates(step: Any) -> list[Any]:
    return [part for part in _parts(step) if _is_aggregate(part, "TargetAgg")]


def _group_value(aggregate: Any, features: Any) -> Any:
    """Return the value of an event's group, without making a group."""
    group = aggregate._groups.get(aggregate._make_key(features))
    return _start_value(aggregate.how) if group is None else _value_of(group)


def _start_value(how: Any) -> Any:
    return _value_of(deepcopy(how))


def _value_of(statistic: Any) -> Any:
    try:
        return statistic.get()
    # A statistic may be undefined before its first value, or need more than its value.
    except Exception:
        return None


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
