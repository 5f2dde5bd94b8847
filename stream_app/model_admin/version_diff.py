"""Differences between two versions: in their manifests, or in every number of their models."""

from collections.abc import Iterable, Mapping
from functools import cache
from random import Random
from types import FunctionType
from typing import Any, NamedTuple

from stream_app.model_store.manifest import Manifest

_COMPARED_FIELDS = (
    "parent", "created_at", "created_by", "origin", "sha256", "size", "fingerprint", "learned",
    "learned_through", "python", "river", "numpy", "format", "family", "seed", "decision", "key_id",
)  # fmt: skip
_SIMPLE_TYPES = (int, str, bytes, type(None), set, frozenset)


class Pair(NamedTuple):
    """One value of both versions; None where a version has none."""

    a: Any
    b: Any


class Shift(NamedTuple):
    """Means of a distribution, and their distance in standard deviations of the first.

    The distance is None where that deviation is 0.
    """

    a: float
    b: float
    distance: float | None


class VersionDiff(NamedTuple):
    """Differences from version `a` to version `b`.

    `metrics`, `offline_metrics` and `profile` contain equal values too.
    """

    a: int
    b: int
    fields: dict[str, Pair]
    metrics: dict[str, Pair]
    offline_metrics: dict[str, Pair]
    features_added: list[str]
    features_removed: list[str]
    parameters: dict[str, Pair]
    thresholds: dict[str, Pair]
    profile: dict[str, Shift]

    def as_dict(self) -> dict[str, Any]:
        """Return the differences as JSON values."""
        return {
            name: {key: pair._asdict() for key, pair in value.items()}
            if isinstance(value, dict)
            else value
            for name, value in self._asdict().items()
        }


def compare(a: Manifest, b: Manifest) -> VersionDiff:
    """Return the differences between the manifests of two versions."""
    fields = {name: Pair(getattr(a, name), getattr(b, name)) for name in _COMPARED_FIELDS}
    return VersionDiff(
        a.version,
        b.version,
        {name: pair for name, pair in fields.items() if pair.a != pair.b},
        _pairs(a.metrics, b.metrics),
        _pairs(a.offline_metrics, b.offline_metrics),
        sorted(set(b.features) - set(a.features)),
        sorted(set(a.features) - set(b.features)),
        _changed(a.parameters, b.parameters),
        _changed(a.thresholds, b.thresholds),
        {name: _shift(a.profile[name], b.profile[name]) for name in a.profile if name in b.profile},
    )


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    return {name: Pair(a.get(name), b.get(name)) for name in {**a, **b}}


def _changed(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    return {name: pair for name, pair in _pairs(a, b).items() if pair.a != pair.b}


def _shift(a: Mapping[str, Any], b: Mapping[str, Any]) -> Shift:
    before, after, deviation = float(a["mean"]), float(b["mean"]), float(a["deviation"])
    return Shift(before, after, (after - before) / deviation if deviation else None)


# Pairs compared so far, by their ids; the objects are kept so that no id is reused.
_Compared = dict[tuple[int, int], tuple[Any, Any]]


def first_difference(a: Any, b: Any, path: str = "model") -> str | None:
    """Return the path of the first difference of two objects, None if they are equal.

    Numbers are compared bit for bit, which neither pickles nor `==` of models allow. Random number
    generators are not compared: without a seed they differ, and different draws show elsewhere.

    >>> first_difference({"weights": [0.1, 0.2]}, {"weights": [0.1, 0.3]})
    "model['weights'][1]"
    >>> first_difference([0.1 + 0.2, float("nan")], [0.30000000000000004, float("nan")])
    """
    return _difference(a, b, path, {})


@cache
def _random_generators() -> tuple[type, ...]:
    # Imported when it is needed: numpy costs a command 0.1 s of CPU.
    from numpy.random import Generator, RandomState

    return Random, Generator, RandomState


def _difference(a: Any, b: Any, path: str, compared: _Compared) -> str | None:
    if type(a) is not type(b):
        return path
    if isinstance(a, float):
        return None if a.hex() == b.hex() else path
    if isinstance(a, _SIMPLE_TYPES):
        return None if a == b else path
    if isinstance(a, type | FunctionType):
        return None if a is b else path
    if isinstance(a, _random_generators()) or (id(a), id(b)) in compared:
        return None
    compared[id(a), id(b)] = a, b
    if isinstance(a, list | tuple):
        a, b = dict(enumerate(a)), dict(enumerate(b))
    elif type(a) is not dict:
        a, b = _pickled_parts(a), _pickled_parts(b)
    return _mapping_difference(a, b, path, compared)


def _mapping_difference(
    a: Mapping[Any, Any], b: Mapping[Any, Any], path: str, compared: _Compared
) -> str | None:
    if a.keys() != b.keys():
        return path
    found: Iterable[str | None] = (
        _difference(value, b[key], f"{path}[{key!r}]", compared) for key, value in a.items()
    )
    return next((one for one in found if one is not None), None)


def _pickled_parts(instance: Any) -> dict[str, Any]:
    """Return what pickle stores of an object."""
    _, arguments, state, items, entries = (*instance.__reduce_ex__(4)[:5], None, None, None)[:5]
    parts = {"arguments": arguments, "items": list(items or ()), "entries": list(entries or ())}
    return parts | state if isinstance(state, dict) else parts | {"state": state}
