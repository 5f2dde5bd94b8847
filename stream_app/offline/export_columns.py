"""The columns of an export: a field of the examples each, and of what a field holds by name, such as features."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from stream_app.core.example import Example

Kind = Literal["boolean", "integer", "number", "text", "time"]
Row = Mapping[str, Any]

TIMES = frozenset({"event_time", "label_time"})
_KINDS: dict[type, Kind] = {bool: "boolean", int: "integer", float: "number", str: "text"}
_FEATURES = "features"


def flat(offset: int, example: Example) -> dict[str, Any]:
    """The example as one row: `feature.NAME` for each feature, and its offset in the log.

    >>> row = flat(7, Example("e1", 0, 5, True, 0.5, 3, {"amount": 1.5}, "f1"))
    >>> row["offset"], row["label"], row["feature.amount"]
    (7, True, 1.5)
    """
    return {"offset": offset, **dict(_cells(example))}


def _cells(example: Example) -> Iterator[tuple[str, Any]]:
    for name, value in example._asdict().items():
        if isinstance(value, dict):
            prefix = "feature" if name == _FEATURES else name
            yield from ((f"{prefix}.{key}", item) for key, item in value.items())
        else:
            yield name, value


class Columns:
    """Finds out which columns rows have, in the order in which they first come, features last, and of which kind."""

    def __init__(self) -> None:
        self._kinds: dict[str, set[type]] = {}

    def add(self, row: Row) -> None:
        """Look at a row."""
        for name, value in row.items():
            kinds = self._kinds.setdefault(name, set())
            if value is not None:
                kinds.add(type(value))

    def kinds(self) -> dict[str, Kind]:
        """Of each column what all of its values can be written as: numbers if they are all numbers, else text."""
        names = sorted(self._kinds, key=lambda name: name.startswith("feature."))
        return {name: "time" if name in TIMES else _common(self._kinds[name]) for name in names}


def _common(kinds: Iterable[type]) -> Kind:
    found = {_KINDS[kind] for kind in kinds}
    if len(found) <= 1:
        return next(iter(found), "text")
    return "number" if found == {"integer", "number"} else "text"
