"""Exact counts of what became of every input record."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class RecordCounts:
    """One partition's books, written in the same transactions as the outcomes.

    Events: `scored`, `dead` (by code), `duplicates`, and `retrying`, which wait to be tried again. Of the scored ones
    `degraded` were not scored by the version that was served. Predictions: `joined`, `expired` and `pending`;
    `unlearned` are those of the joined that are no examples. Labels: `joined`, `waiting`, `label_duplicates`,
    `label_expired` and `label_dead` (by code).
    """

    scored: int = 0
    degraded: int = 0
    duplicates: int = 0
    retrying: int = 0
    dead: Counter[str] = field(default_factory=Counter)
    joined: int = 0
    expired: int = 0
    pending: int = 0
    waiting: int = 0
    label_duplicates: int = 0
    label_expired: int = 0
    label_dead: Counter[str] = field(default_factory=Counter)
    unlearned: int = 0

    @property
    def events(self) -> int:
        """All raw records that have an outcome or wait to be tried again."""
        return self.scored + self.duplicates + self.retrying + self.dead.total()

    @property
    def labels(self) -> int:
        """All label records that have an outcome or wait for their event."""
        return (
            self.joined
            + self.waiting
            + self.label_duplicates
            + self.label_expired
            + self.label_dead.total()
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the changelog."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"dead": dict(self.dead), "label_dead": dict(self.label_dead)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RecordCounts":
        """From `as_dict`."""
        known = {
            **values,
            "dead": Counter(values["dead"]),
            "label_dead": Counter(values["label_dead"]),
        }
        return cls(**known)

    def add(self, other: "RecordCounts") -> "RecordCounts":
        """The sum of two partitions' books."""
        return RecordCounts(
            **{name: getattr(self, name) + getattr(other, name) for name in self.__slots__}
        )
