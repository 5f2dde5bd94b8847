"""Pickle, which is the only sound way to store River models, with an unpickler that knows what it may build.

A pickle can name any importable object and call it. This one may name what the models of one pipeline consist of, each
by its exact name, and real classes of this package's core and of the pipeline's own modules: no function that could run
a command, no `getattr` but for a few methods, no path through a module that River happens to import. It is the last
line of defence: signature, size and SHA-256 come first.
"""

import io
import pickle
import sys
from typing import Any, NamedTuple

from stream_app.errors import ModelError
from stream_app.model_store.river_names import METHODS, Name

FORMAT = "pickle-5"

_CORE = frozenset(
    f"stream_app.core.{module}"
    for module in [
        "classes",
        "drift",
        "evaluate",
        "learn",
        "offsets",
        "ranks",
        "scorecard",
        "tasks",
        "thresholds",
        "values",
    ]
)
_GETATTR = ("builtins", "getattr")


class Names(NamedTuple):
    """What artifacts of a pipeline may name: these, and classes of its own modules. `family` says of which models."""

    family: str
    exact: frozenset[Name]
    modules: frozenset[str] = frozenset()


def dump(model: Any) -> bytes:
    """A model or learner state as bytes; ModelError if it holds something without a name, such as a lambda."""
    try:
        return pickle.dumps(model, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError, RecursionError) as error:
        raise ModelError(
            f"the model cannot be stored: {error}",
            "Use classes and top-level names in it, no lambda and no open file",
        ) from error


def load(data: bytes, names: Names) -> Any:
    """What `dump` made, ModelError if it names anything else than it may."""
    try:
        return _Unpickler(data, names).load()
    except ModelError:
        raise
    except Exception as error:  # a damaged pickle can make the unpickler raise anything
        raise ModelError(
            f"the model cannot be read back: {type(error).__name__}: {error}",
            "Roll back to another version",
        ) from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, names: Names) -> None:
        super().__init__(io.BytesIO(data))
        self._names = names
        self._modules = names.modules | _CORE

    def find_class(self, module: str, name: str) -> Any:
        """The object of that name if it is allowed; decided before anything is imported."""
        if (module, name) in self._names.exact:
            return super().find_class(module, name)
        if (module, name) == _GETATTR:
            return _method
        if "." not in name and module in self._modules and module in sys.modules:
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise ModelError(
            f"the model names {module}.{name}, which models of the family {self._names.family} may not contain",
            "Use another River model, or put a class of your own into the pipeline's module",
        )


def _method(owner: Any, name: str) -> Any:
    """Stands for `getattr` in artifacts: gets an instance, or its class, one of its methods that instances hold."""
    kind = owner if isinstance(owner, type) else type(owner)
    if name not in METHODS.get((kind.__module__, kind.__name__), ()):
        raise ModelError(
            f"the model gets {kind.__name__}.{name}, which no model needs", "Find out who made it"
        )
    return getattr(owner, name)
