"""Families of models: their names in artifacts, and the models that are rejected."""

import io
import pickle
import sys
from collections.abc import Callable, Collection
from functools import cache, partial
from typing import Any

from stream_app.errors import ModelError
from stream_app.model_store.pickling import AllowedNames, dump
from stream_app.model_store.river_names import FAMILIES, GROUPS, REJECTED, REQUIRED_PARTS, Name

# Family of a class in the pipeline's module, which may use models of every family.
OWN = "own"
# Groups that every artifact may name; learner states contain a drift detector.
_COMMON_GROUPS = ("values", "transformers", "statistics", "detectors")


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
