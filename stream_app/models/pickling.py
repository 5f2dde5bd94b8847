"""Pickle, which is the only sound way to store River models, with an unpickler that knows what it may build.

A pickle can name any importable object and call it. This one may only name real classes of River, of this package and
of the pipeline's own module, and a few others by exact name: no function that could run a command, no `getattr`, no
path through a module that River happens to import. It is the last line of defence: size and SHA-256 come first.
"""

import io
import pickle
import sys
from collections.abc import Collection
from functools import partial
from typing import Any

from stream_app.errors import ModelError

FORMAT = "pickle-5"

_EXACT = frozenset(
    {("builtins", name) for name in ("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int")}
    | {("builtins", name) for name in ("list", "object", "range", "set", "slice", "str", "tuple")}
    | {("collections", name) for name in ("Counter", "OrderedDict", "defaultdict", "deque")}
    | {("datetime", name) for name in ("date", "datetime", "time", "timedelta", "timezone")}
    | {
        ("functools", "partial"),  # calls only what it could name: the entries of this list
        ("random", "Random"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("river.naive_bayes.gaussian", "GaussianNB._make_gaussian"),
    }
)
_CORE = ("drift", "evaluate", "learn", "offsets", "ranks", "scorecard", "thresholds")
_OURS = ("stream_app.transformers", *(f"stream_app.core.{module}" for module in _CORE))
# River modules whose classes open files and addresses; no model needs them.
_OUTSIDE = ("river.api", "river.checks", "river.datasets", "river.stream")


def dump(model: Any) -> bytes:
    """A model or learner state as bytes; ModelError if it holds something without a name, such as a lambda."""
    try:
        return pickle.dumps(model, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ModelError(
            f"the model cannot be stored: {error}", "Use classes and top-level names in it, no lambda and no open file"
        ) from error


def load(data: bytes, modules: Collection[str] = ()) -> Any:
    """What `dump` made; `modules` are those of the pipeline, whose classes may occur. Otherwise ModelError."""
    try:
        return _Unpickler(data, frozenset((*_OURS, *modules))).load()
    except ModelError:
        raise
    except Exception as error:  # a damaged pickle can make the unpickler raise anything
        raise ModelError(
            f"the model cannot be read back: {type(error).__name__}: {error}", "Roll back to another version"
        ) from error


def pipeline_modules(*functions: Any) -> frozenset[str]:
    """Modules in which the functions of a pipeline are defined, other than those of Python itself."""
    plain = [function.func if isinstance(function, partial) else function for function in functions]
    modules = {str(getattr(function, "__module__", "")) for function in plain}
    return frozenset(module for module in modules if module.split(".")[0] not in {"", *sys.stdlib_module_names})


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, modules: frozenset[str]) -> None:
        super().__init__(io.BytesIO(data))
        self._modules = modules

    def find_class(self, module: str, name: str) -> Any:
        """The object of that name if it is allowed; decided before anything is imported."""
        if (module, name) in _EXACT:
            return super().find_class(module, name)
        if "." not in name and (_is_river(module) or (module in self._modules and module in sys.modules)):
            found = super().find_class(module, name)
            if isinstance(found, type) and (found.__module__ == module or _is_river(found.__module__)):
                return found
        raise ModelError(
            f"the model names {module}.{name}, which models may not contain",
            "Use another River model, or put a class of your own into the pipeline's module",
        )


def _is_river(module: str) -> bool:
    return module.startswith("river.") and not any(
        module == outside or module.startswith(f"{outside}.") for outside in _OUTSIDE
    )
