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
from collections.abc import Callable, Collection
from functools import cache, partial
from typing import Any, NamedTuple

from stream_app.errors import ModelError
from stream_app.model_store.river_names import (
    FAMILIES,
    GROUPS,
    METHODS,
    REJECTED,
    REQUIRED_PARTS,
    Name,
)

FORMAT = "pickle-5"

# Modules whose classes a learner's state consists of.
_STATE_MODULES = frozenset(
    {
        "stream_app.core.evaluation.classification_metrics",
        "stream_app.core.evaluation.evaluator",
        "stream_app.core.evaluation.prediction_tasks",
        "stream_app.core.evaluation.regression_metrics",
        "stream_app.core.evaluation.roc_auc",
        "stream_app.core.evaluation.thresholds",
        "stream_app.core.learning.control_commands",
        "stream_app.core.learning.learner_state",
        "stream_app.core.learning.learning_rules",
        "stream_app.core.monitoring.constant_score",
        "stream_app.core.published_records",
    }
)
_GETATTR = ("builtins", "getattr")
# Family of a class in the pipeline's module, which may use models of every family.
OWN = "own"
# Groups that every artifact may name.
_COMMON_GROUPS = ("values", "transformers", "statistics")


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


class UnsoundModelError(ModelError):
    """A model that cannot be stored and loaded safely, or does not come back unchanged."""


def pipeline_names(model: Callable[[], Any], *functions: Callable[..., Any]) -> AllowedNames:
    """Return the names that artifacts of a pipeline may contain.

    Follows the declaration, not what a manifest says.

    Args:
        model: function of the declaration that makes the model.
        functions: other functions of the declaration.

    Raises:
        UnsoundModelError: the model is rejected.
        ModelError: the model cannot be stored.
    """
    modules = pipeline_modules(model, *functions)
    family = family_of(model(), modules)
    return AllowedNames(family, allowed_names(family), modules)


def family_of(model: Any, modules: Collection[str] = ()) -> str:
    """Return the family of a model, such as "linear" or "bagging+hoeffding-tree".

    Args:
        model: River model.
        modules: the pipeline's own modules.

    Raises:
        UnsoundModelError: the model is rejected.
        ModelError: the model cannot be stored.
    """
    found = pickled_names(model)
    for name in sorted(found):
        _reject_unsound(name, found)
    parts = {part for part, family in FAMILIES.items() if found & _names(family.models)}
    if any(module in modules for module, _ in found):
        parts.add(OWN)
    family = "+".join(sorted(parts)) or OWN
    for module, attribute in sorted(found - allowed_names(family) - {("builtins", "getattr")}):
        if module not in modules:
            raise UnsoundModelError(
                f"the model has {module}.{attribute}, "
                "which is not known to come back from storage unchanged",
                "Use a model of docs/families.md, "
                "or put a class of your own into the pipeline's module",
            )
    return family


@cache
def allowed_names(family: str) -> frozenset[Name]:
    """Return all names that artifacts of a family may contain."""
    parts = family.split("+")
    families = [*FAMILIES.values()] if OWN in parts else [FAMILIES[part] for part in parts]
    groups = {*_COMMON_GROUPS, *(group for one in families for group in one.uses)}
    found = [_names(table) for one in families for table in (one.models, one.parts)]
    return frozenset().union(*found, *(_names(GROUPS[group]) for group in groups))


def pickled_names(model: Any) -> set[Name]:
    """Return the names in the pickle of a model that this process made.

    Raises:
        ModelError: the model cannot be stored.
    """
    found: set[Name] = set()

    class NameReader(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            found.add((module, name))
            return super().find_class(module, name)

    NameReader(io.BytesIO(dump(model))).load()
    return found


def pipeline_modules(*functions: Any) -> frozenset[str]:
    """Return the modules that define a pipeline's functions, without Python's own."""
    plain = [function.func if isinstance(function, partial) else function for function in functions]
    modules = {str(getattr(function, "__module__", "")) for function in plain}
    return frozenset(
        module for module in modules if module.split(".")[0] not in {"", *sys.stdlib_module_names}
    )


def _reject_unsound(name: Name, found: set[Name]) -> None:
    required = REQUIRED_PARTS.get(name)
    rejection = REJECTED.get(name) or (
        required.otherwise if required is not None and required.part not in found else None
    )
    if rejection is not None:
        reason, remedy = rejection
        raise UnsoundModelError(f"River's {name[1]} is rejected: {reason}", remedy)


def _names(table: dict[str, str]) -> frozenset[Name]:
    return frozenset((module, name) for module, names in table.items() for name in names.split())
