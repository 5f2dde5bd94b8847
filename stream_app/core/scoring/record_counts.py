"""Record counts: how many input records had which outcome."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class RecordCounts:
    """Exact record counts of one partition, written in the same transactions as the outcomes.

    Attributes:
        scored: events that were scored.
        degraded: scored events that the served version did not score.
        duplicates: events that were seen before.
        retrying: events that wait for a retry.
        dead: events that became dead letters, by error code.
        joined: predictions that got their label.
        expired: predictions whose label did not come in time.
        pending: predictions that wait for their label.
        waiting: labels that wait for their event.
        label_duplicates: labels of events that had one before.
        label_expired: labels that came too late.
        label_dead: labels that became dead letters, by error code.
        unlearned: joined predictions that must not be learned.
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
        """Number of raw records that have an outcome or wait for a retry."""
        return self.scored + self.duplicates + self.retrying + self.dead.total()

    @property
    def labels(self) -> int:
        """Number of label records that have an outcome or wait for their event."""
        return (
            self.joined
            + self.waiting
            + self.label_duplicates
            + self.label_expired
            + self.label_dead.total()
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for the changelog."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"dead": dict(self.dead), "label_dead": dict(self.label_dead)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RecordCounts":
        """Return the counts of `as_dict`."""
        counters = {name: Counter(values[name]) for name in ("dead", "label_dead")}
        return cls(**{**values, **counters})

    def add(self, other: "RecordCounts") -> "RecordCounts":
        """Return the sum of the counts of two partitions."""
        return RecordCounts(
            **{name: getattr(self, name) + getattr(other, name) for name in self.__slots__}
        )
