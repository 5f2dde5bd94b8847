"""Pickles of models, read by an unpickler that knows what it may build.

Pickle is the only sound way to store River models, but a pickle can name and call any importable
object. This unpickler allows the names that models of one pipeline consist of, each exactly, and
classes of the learner's state and of the pipeline's own modules. It allows no function that could
run a command, `getattr` for a few methods only, and no path through a module that River happens to
import. It is the last line of defence: signature, size and SHA-256 are checked first.
"""

import io
import pickle
import sys
from typing import Any, NamedTuple

from stream_app.errors import ModelError
from stream_app.model_store.river_names import METHODS, Name

FORMAT = "pickle-5"

# Modules whose classes a learner's state consists of.
_STATE_MODULES = frozenset(
    {
        "stream_app.core.example",
        "stream_app.core.evaluation.classification_metrics",
        "stream_app.core.evaluation.evaluator",
        "stream_app.core.evaluation.prediction_tasks",
        "stream_app.core.evaluation.regression_metrics",
        "stream_app.core.evaluation.roc_auc",
        "stream_app.core.evaluation.thresholds",
        "stream_app.core.learning.learner_state",
        "stream_app.core.monitoring.constant_score",
        "stream_app.core.monitoring.drift",
    }
)
_GETATTR = ("builtins", "getattr")


class AllowedNames(NamedTuple):
    """Names that artifacts of a pipeline may contain.

    Attributes:
        family: family of models that has these names.
        exact: modules and qualified names.
        modules: the pipeline's own modules, whose classes are allowed as well.
    """

    family: str
    exact: frozenset[Name]
    modules: frozenset[str] = frozenset()


def dump(model: Any) -> bytes:
    """Return the pickle of a model or learner state.

    Raises:
        ModelError: it contains something without a name, such as a lambda.
    """
    try:
        return pickle.dumps(model, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError, RecursionError) as error:
        raise ModelError(
            f"the model cannot be stored: {error}",
            "Use classes and top-level names in it, no lambda and no open file",
        ) from error


def load(data: bytes, names: AllowedNames) -> Any:
    """Return the object of a pickle made by `dump`.

    Raises:
        ModelError: the pickle is damaged or contains a name that is not allowed.
    """
    try:
        return _Unpickler(data, names).load()
    except ModelError:
        raise
    # A damaged pickle can make the unpickler raise any exception.
    except Exception as error:
        raise ModelError(
            f"the model cannot be read back: {type(error).__name__}: {error}",
            "Roll back to another version",
        ) from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, names: AllowedNames) -> None:
        super().__init__(io.BytesIO(data))
        self._names = names
        self._modules = names.modules | _STATE_MODULES

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed object. The decision precedes every import."""
        if (module, name) in self._names.exact:
            return super().find_class(module, name)
        if (module, name) == _GETATTR:
            return _get_method
        if "." not in name and module in self._modules and module in sys.modules:
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise ModelError(
            f"the model names {module}.{name}, which models of the family {self._names.family} "
            "may not contain",
            "Use another River model, or put a class of your own into the pipeline's module",
        )


def _get_method(owner: Any, name: str) -> Any:
    """Return a method that instances of River's classes hold; replaces `getattr` in artifacts."""
    kind = owner if isinstance(owner, type) else type(owner)
    if name not in METHODS.get((kind.__module__, kind.__name__), ()):
        raise ModelError(
            f"the model gets {kind.__name__}.{name}, which no model needs", "Find out who made it"
        )
    return getattr(owner, name)
