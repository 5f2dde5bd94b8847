"""Reasons why a model cannot learn an example, for the person who wrote the pipeline."""

from pathlib import PurePath
from traceback import walk_tb
from typing import NamedTuple

from stream_app.core.example import Example
from stream_app.core.learning.finite_learning import NotFiniteError
from stream_app.core.learning.learner_state import LearnedModel

_CORE = f"{PurePath(__file__).parent.parent / 'core'}"


class LearningFailure(NamedTuple):
    """Failure to learn an example.

    Attributes:
        message: exception, method of the model that raised it, and features at fault.
        where: file and line, for example "scale.py:139"; None outside the model.
    """

    message: str
    where: str | None


def explain_learning_failure(learned: LearnedModel, example: Example) -> LearningFailure | None:
    """Return why a model does not learn an example, None if it does; the model is unchanged.

    Features at fault are those with which alone a copy of the model fails in the same way.
    """
    error = _error(learned, example)
    if error is None:
        return None
    features = example.features
    at_fault = [
        f"{name} ({type(value).__name__})"
        for name, value in features.items()
        if type(_error(learned, example._replace(features={name: value}))) is type(error)
    ]
    if isinstance(error, NotFiniteError):
        message, where = "after it the model or its score would not be finite", None
    else:
        method, where = _place(error)
        message = f"{type(error).__name__} in {method}"
    if at_fault and (len(at_fault) < len(features) or len(features) == 1):
        message += f", feature{'s' if len(at_fault) > 1 else ''} {', '.join(at_fault)}"
    return LearningFailure(message, where)


def _error(learned: LearnedModel, example: Example) -> Exception | None:
    try:
        learned.copied().learn(0, example)
    except Exception as error:  # a model may raise anything
        return error
    return None


def _place(error: Exception) -> tuple[str, str | None]:
    """Return the method of the model, and the file and line, in which an exception was raised."""
    method, where = "learn_one", None
    for frame, line in walk_tb(error.__traceback__):
        code = frame.f_code
        if code.co_filename.startswith((_CORE, __file__)):
            continue
        where = f"{PurePath(code.co_filename).name}:{line}"
        owner = frame.f_locals.get("self")
        if owner is not None:
            method = f"{type(owner).__name__}.{code.co_name}"
    return method, where
