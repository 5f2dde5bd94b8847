"""Whether two models are the same in every number, which neither their pickles nor their `==` can tell."""

from collections.abc import Iterable, Mapping
from random import Random
from types import FunctionType
from typing import Any

import numpy

_LEFT_OUT = (Random, numpy.random.Generator, numpy.random.RandomState)
_PLAIN = (int, str, bytes, type(None), set, frozenset)
_Seen = dict[
    tuple[int, int], tuple[Any, Any]
]  # what was met already; kept alive, for an id may be given again


def first_difference(a: Any, b: Any, path: str = "model") -> str | None:
    """Where two objects differ first; None if they are the same, bit for bit.

    Generators of random numbers are left out: those without a seed differ, and what another has done shows elsewhere.

    >>> first_difference({"weights": [0.1, 0.2]}, {"weights": [0.1, 0.3]})
    "model['weights'][1]"
    >>> first_difference([0.1 + 0.2, float("nan")], [0.30000000000000004, float("nan")])
    """
    return _difference(a, b, path, {})


def _difference(a: Any, b: Any, path: str, seen: _Seen) -> str | None:
    if type(a) is not type(b):
        return path
    if isinstance(a, float):
        return None if a.hex() == b.hex() else path
    if isinstance(a, _PLAIN):
        return None if a == b else path
    if isinstance(a, type | FunctionType):
        return None if a is b else path
    if isinstance(a, _LEFT_OUT) or (id(a), id(b)) in seen:
        return None
    seen[id(a), id(b)] = a, b
    if isinstance(a, list | tuple):
        a, b = dict(enumerate(a)), dict(enumerate(b))
    elif type(a) is not dict:
        a, b = _parts(a), _parts(b)
    return _first(a, b, path, seen)


def _first(a: Mapping[Any, Any], b: Mapping[Any, Any], path: str, seen: _Seen) -> str | None:
    if a.keys() != b.keys():
        return path
    found: Iterable[str | None] = (
        _difference(value, b[key], f"{path}[{key!r}]", seen) for key, value in a.items()
    )
    return next((one for one in found if one is not None), None)


def _parts(one: Any) -> dict[str, Any]:
    """What pickle would store of an object of any other type."""
    _, arguments, state, items, entries = (*one.__reduce_ex__(4)[:5], None, None, None)[:5]
    parts = {"arguments": arguments, "items": list(items or ()), "entries": list(entries or ())}
    return parts | state if isinstance(state, dict) else parts | {"state": state}
