"""Record counts: how many input records had which outcome."""

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

_COUNTERS = ("dead", "label_dead", "evicted")


@dataclass(slots=True)
class RecordCounts:
    """Exact record counts of one partition, written in the same transactions as the outcomes.

    Attributes:
        scored: events that were scored.
        degraded: scored events that the served version did not score.
        duplicates: events that were seen before.
        filtered: records of a direct source that its filter or envelope leaves out.
        tombstones: records of a direct source without a value, or of deleted rows.
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
        assumed: predictions that got the label that is assumed if none comes.
        absent_unproven: expired predictions for which it was not assumed, as nothing proved that
            the source of labels was alive.
        contradicting: labels of events for which another label had been assumed.
        completeness: completeness records among the events.
        label_completeness: completeness records among the labels.
        evicted: entries that were removed because the state was full, by kind; the predictions
            among them are expired, and the labels dead letters.
    """

    scored: int = 0
    degraded: int = 0
    duplicates: int = 0
    filtered: int = 0
    tombstones: int = 0
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
    assumed: int = 0
    absent_unproven: int = 0
    contradicting: int = 0
    completeness: int = 0
    label_completeness: int = 0
    evicted: Counter[str] = field(default_factory=Counter)

    @property
    def events(self) -> int:
        """Number of raw records that have an outcome or wait for a retry."""
        return (
            self.scored
            + self.duplicates
            + self.filtered
            + self.tombstones
            + self.retrying
            + self.completeness
            + self.dead.total()
        )

    @property
    def labels(self) -> int:
        """Number of label records that have an outcome or wait for their event."""
        return (
            self.joined
            + self.waiting
            + self.label_duplicates
            + self.label_expired
            + self.contradicting
            + self.label_completeness
            + self.label_dead.total()
        )

    @property
    def examples(self) -> int:
        """Number of examples that were written."""
        return self.joined - self.unlearned + self.assumed

    @property
    def closed_or_pending(self) -> int:
        """Number of predictions by what became of them; equals `scored`."""
        return self.joined + self.assumed + self.expired + self.pending

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for the changelog."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return values | {name: dict(getattr(self, name)) for name in _COUNTERS}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RecordCounts":
        """Return the counts of `as_dict`."""
        counters = {name: Counter(values[name]) for name in _COUNTERS}
        return cls(**{**values, **counters})

    def add(self, other: "RecordCounts") -> "RecordCounts":
        """Return the sum of the counts of two partitions."""
        return RecordCounts(
            **{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)}
        )
