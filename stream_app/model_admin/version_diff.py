"""What differs between two model versions."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from stream_app.model_store.manifest import Manifest

_PLAIN = (
    "parent", "created_at", "created_by", "origin", "sha256", "size", "fingerprint", "learned", "learned_through",
    "python", "river", "numpy", "format", "family", "seed", "epoch", "key_id",
)  # fmt: skip


class Pair(NamedTuple):
    """The same of both versions; None where one has none."""

    a: Any
    b: Any


class Shift(NamedTuple):
    """How far a distribution has moved: its means, and their distance in standard deviations of the first.

    The distance is None where that deviation is 0.
    """

    a: float
    b: float
    distance: float | None


class VersionDiff(NamedTuple):
    """From version `a` to version `b`; of `metrics`, `laboratory` and `profile` all that either has."""

    a: int
    b: int
    fields: dict[str, Pair]
    metrics: dict[str, Pair]
    laboratory: dict[str, Pair]
    features_added: list[str]
    features_removed: list[str]
    parameters: dict[str, Pair]
    thresholds: dict[str, Pair]
    profile: dict[str, Shift]

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        found: dict[str, Any] = {}
        for name, value in self._asdict().items():
            plain = not isinstance(value, dict)
            found[name] = value if plain else {key: pair._asdict() for key, pair in value.items()}
        return found


def compare(a: Manifest, b: Manifest) -> VersionDiff:
    """What the manifests of two versions say differently, with their metrics side by side."""
    fields = {name: Pair(getattr(a, name), getattr(b, name)) for name in _PLAIN}
    return VersionDiff(
        a.version,
        b.version,
        {name: pair for name, pair in fields.items() if pair.a != pair.b},
        _pairs(a.metrics, b.metrics),
        _pairs(a.laboratory, b.laboratory),
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
