"""Imports that few processes use, deferred until they are used, or left out.

River imports `scipy.stats`, its trees and other packages at the top of its modules, for functions
that few models call. Faust imports the HTTP client of aiohttp to name a type. They take more than
half of a worker's start and 70 MB of its memory. After `defer_imports`, these modules get a
`DeferredImport` in their place, which imports the real package when it is first used. All other
imports of them are untouched: neither `sys.modules` nor `builtins` changes.

Most commands read a pipeline's file, which imports River, and never build the model. After
`defer_river`, each package of River runs when one of its names is first used.
"""

import builtins
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import LazyLoader
from types import ModuleType, SimpleNamespace
from typing import Any

DEFERRED = frozenset(
    {
        "aiohttp.client",
        "river.tree.padded",
        "scipy.integrate",
        "scipy.io.arff",
        "scipy.io.arff._arffread",
        "scipy.ndimage",
        "scipy.sparse",
        "scipy.special",
        "scipy.stats",
    }
)


class DeferredImport:
    """Stands for a module, or for a callable of it, that is imported when it is first used.

    Args:
        module: full name of the module.
        name: name of an attribute of the module; empty for the module itself.
    """

    def __init__(self, module: str, name: str = "") -> None:
        self._module = module
        self._name = name

    def _resolve(self) -> Any:
        module = import_module(self._module)
        return getattr(module, self._name) if self._name else module

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._resolve(), name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._resolve()(*arguments, **options)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._resolve())


def _import(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    """Import for the import statements of the modules that defer."""
    if name in DEFERRED:
        if not fromlist:
            return import_module(name.partition(".")[0])
        return SimpleNamespace(**{one: DeferredImport(name, one) for one in fromlist})
    if name == "scipy" and fromlist:
        modules = {one: f"scipy.{one}" for one in fromlist}
        return SimpleNamespace(
            **{
                one: DeferredImport(module) if module in DEFERRED else import_module(module)
                for one, module in modules.items()
            }
        )
    return builtins.__import__(name, globals, locals, fromlist or (), level)


# An import statement calls the `__import__` of its module's own builtins.
_BUILTINS = {**vars(builtins), "__import__": _import}


class DeferringLoader(SourceFileLoader):
    """Runs a module with the deferring import."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module."""
        vars(module)["__builtins__"] = _BUILTINS
        super().exec_module(module)


class DeferringFinder(MetaPathFinder):
    """Finds modules that defer where Python would, and has them run by `DeferringLoader`.

    Attributes:
        is_lazy: True if packages of River run when they are first used.
    """

    def __init__(self) -> None:
        self.is_lazy = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module that defers and is Python source, None for all others."""
        if not fullname.startswith("river.") and fullname != "faust.types.web":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        spec.loader = DeferringLoader(spec.loader.name, spec.loader.path)
        if self.is_lazy and spec.submodule_search_locations and fullname.count(".") == 1:
            spec.loader = LazyLoader(spec.loader)
        return spec


_FINDER = DeferringFinder()


def defer_imports() -> None:
    """Defer the imports of `DEFERRED`; modules already imported stay as they are."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def defer_river() -> None:
    """Defer packages of River from now on.

    For commands only: two threads must not use a package for the first time at the same moment,
    which Python's lazy loader does not guard against before 3.12.
    """
    _FINDER.is_lazy = True


@contextmanager
def missing(package: str) -> Iterator[None]:
    """Let imports fail as if a package were not installed.

    For a package that another one imports if it is there, and does not need.
    """
    imported = sys.modules.get(package)
    sys.modules[package] = None  # type: ignore[assignment]  # Python's mark of a missing module
    try:
        yield
    finally:
        del sys.modules[package]
        if imported is not None:
            sys.modules[package] = imported
