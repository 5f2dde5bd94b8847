"""Families of models: of which one a model is, what its artifacts may name, and which models are refused and why."""

import io
import pickle
import sys
from collections.abc import Callable, Collection
from functools import cache, partial
from typing import Any

from stream_app.errors import ModelError
from stream_app.model_store.pickling import Names, dump
from stream_app.model_store.river_names import FAMILIES, GROUPS, NEEDS, REFUSED, Name

OWN = "own"  # a class of the pipeline's module, which may use models of every family
_EVERYWHERE = (
    "values",
    "transformers",
    "statistics",
    "detectors",
)  # learner states have a detector


class UnsoundModelError(ModelError):
    """A model that cannot be stored and loaded with safety, or does not come back as it was."""


def pipeline_names(model: Callable[[], Any], *functions: Callable[..., Any]) -> Names:
    """What artifacts may name of a pipeline that declares this function `model`, and these others.

    Goes by the declaration, not by what a manifest says. UnsoundModelError if the model is refused, ModelError if it
    cannot be stored.
    """
    modules = pipeline_modules(model, *functions)
    family = family_of(model(), modules)
    return Names(family, names_of(family), modules)


def family_of(model: Any, modules: Collection[str] = ()) -> str:
    """What a model consists of, such as "linear" or "bagging+hoeffding-tree"; `modules` are the pipeline's own.

    UnsoundModelError if it is refused, ModelError if it cannot be stored.
    """
    found = named(model)
    for one in sorted(found):
        _refuse_unsound(one, found)
    parts = {part for part, family in FAMILIES.items() if found & _names(family.models)}
    if any(module in modules for module, _ in found):
        parts.add(OWN)
    family = "+".join(sorted(parts)) or OWN
    for module, name in sorted(found - names_of(family) - {("builtins", "getattr")}):
        if module not in modules:
            raise UnsoundModelError(
                f"the model has {module}.{name}, which is not known to come back from storage as it was",
                "Use what docs/families.md has, or put a class of your own into the pipeline's module",
            )
    return family


@cache
def names_of(family: str) -> frozenset[Name]:
    """All that artifacts of a family may name."""
    parts = family.split("+")
    kinds = [*FAMILIES.values()] if OWN in parts else [FAMILIES[part] for part in parts]
    groups = {*_EVERYWHERE, *(group for kind in kinds for group in kind.uses)}
    found = [_names(table) for kind in kinds for table in (kind.models, kind.parts)]
    return frozenset().union(*found, *(_names(GROUPS[group]) for group in groups))


def named(model: Any) -> set[Name]:
    """What the pickle of a model of one's own names; ModelError if it cannot be stored."""
    found: set[Name] = set()

    class Reader(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            found.add((module, name))
            return super().find_class(module, name)

    Reader(io.BytesIO(dump(model))).load()
    return found


def pipeline_modules(*functions: Any) -> frozenset[str]:
    """Modules in which the functions of a pipeline are defined, other than those of Python itself."""
    plain = [function.func if isinstance(function, partial) else function for function in functions]
    modules = {str(getattr(function, "__module__", "")) for function in plain}
    return frozenset(
        module for module in modules if module.split(".")[0] not in {"", *sys.stdlib_module_names}
    )


def _refuse_unsound(name: Name, found: set[Name]) -> None:
    needed = NEEDS.get(name)
    why = REFUSED.get(name) or (
        needed.otherwise if needed is not None and needed.part not in found else None
    )
    if why is not None:
        raise UnsoundModelError(f"River's {name[1]} is refused: {why[0]}", why[1])


def _names(table: dict[str, str]) -> frozenset[Name]:
    return frozenset((module, name) for module, names in table.items() for name in names.split())
