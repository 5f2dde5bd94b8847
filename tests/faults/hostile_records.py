"""Generator of records that break the rules of a pipeline in every way that Kafka allows."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from stream_app.topic_kinds import TopicKind
from tests.faults.hostile_values import (
    HEADER_NAMES,
    HEADER_VALUES,
    OTHER_TYPES,
    VALUES,
    Encode,
    FieldPairs,
    any_bytes,
    any_text,
    any_time,
    other_value,
    to_json,
)

Fields = Mapping[str, Any]
# Largest number of records between two of one hostile event.
SPREAD = 400


class ForeignRecord(NamedTuple):
    """Record for a producer that is not the program's; header names are bytes."""

    kind: TopicKind
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[bytes, bytes | None]] = ()


class HostileRecords:
    """Generator of hostile events and of labels for them: before, after, twice and for nobody.

    Each record copies an honest one under another id, and then breaks some rules, or none.

    Args:
        seed: makes the records reproducible.
        time_field: names of the time of an event and of a label, of which each has one.
        label_value: returns any label.
        encode: returns the value of a record.
        borrowed: share of records with the id of an honest event.

    Attributes:
        touched: ids of honest events that hostile records use.
        ids: ids of hostile events, in the order of their first records.
        ahead: True for times between the honest ones and 2025, too.
    """

    def __init__(
        self,
        seed: int,
        time_field: Sequence[str],
        label_value: Callable[[Random], Any],
        encode: Encode = to_json,
        *,
        borrowed: float = 0.02,
        ahead: bool = False,
    ) -> None:
        self.touched: set[str] = set()
        self.ids: list[str] = []
        self.ahead = ahead
        self._chance = Random(seed)
        self._time_fields = tuple(time_field)
        self._label_value = label_value
        self._encode = encode
        self._borrowed = borrowed
        self._later: list[list[ForeignRecord]] = []

    def take(
        self, count: int, event: Fields, label: Fields, latest: int, honest: Sequence[str]
    ) -> list[ForeignRecord]:
        """Returns records.

        Args:
            count: their number.
            event: an honest event.
            label: an honest label.
            latest: time of the honest records in Unix milliseconds.
            honest: ids of honest events of about that time.
        """
        found: list[ForeignRecord] = []
        while len(found) < count:
            due = self._later.pop(0) if self._later else []
            found += due or self._start(event, label, latest, honest)
        left = found[count:]
        if left:
            self._later.insert(0, left)
        return found[:count]

    def _start(
        self, event: Fields, label: Fields, latest: int, honest: Sequence[str]
    ) -> list[ForeignRecord]:
        """Returns the first records of an event, and queues the others."""
        chance = self._chance
        if chance.random() < self._borrowed and honest:
            event_id = chance.choice(honest)
            self.touched.add(event_id)
        else:
            event_id = f"x{len(self.ids)}{any_text(chance) if chance.random() < 0.5 else ''}"
            self.ids.append(event_id)
        number = chance.choices((0, 1, 2, 3), (2, 6, 2, 1))[0]
        labels = [self._record("labels", label, event_id, latest) for _ in range(number)]
        if chance.random() < 0.1:
            return labels
        events = [self._record("raw", event, event_id, latest)]
        events *= 2 if chance.random() < 0.1 else 1
        records = [*events, *labels]
        if chance.random() < 0.3:
            chance.shuffle(records)
        cut = chance.randint(1, len(records))
        self._queue(records[cut:])
        return records[:cut]

    def _queue(self, records: list[ForeignRecord]) -> None:
        for record in records:
            place = self._chance.randrange(SPREAD)
            while len(self._later) <= place:
                self._later.append([])
            self._later[place].append(record)

    def _record(
        self, kind: TopicKind, template: Fields, event_id: str, latest: int
    ) -> ForeignRecord:
        chance = self._chance
        fields: FieldPairs = list({**template, "event_id": event_id}.items())
        if kind == "labels":
            fields = [
                (name, value if type(value) is str and name in (*self._time_fields, "event_id")
                 else self._label_value(chance))
                for name, value in fields
            ]  # fmt: skip
        key: bytes | None = event_id.encode()
        if chance.random() < 0.15:
            key = chance.choice((None, b"", any_bytes(chance), b"k" * 50_000, key))
        value: bytes | None
        if chance.random() < 0.2:
            value = chance.choice((*VALUES[:-1], *[any_bytes(chance)] * 5))
            value = VALUES[-1] if chance.random() < 0.02 else value
        else:
            value = self._encode(kind, self._broken(fields, latest))
        return ForeignRecord(kind, key, value, self._headers())

    def _broken(self, fields: FieldPairs, latest: int) -> FieldPairs:
        """Returns fields of which some are changed, absent, doubled or unknown."""
        chance = self._chance
        choice = chance.random()
        at = chance.randrange(len(fields))
        name, value = fields[at]
        if choice < 0.3:
            return fields
        if choice < 0.6:
            for _ in range(chance.randint(1, 3)):
                at = chance.randrange(len(fields))
                name, value = fields[at]
                if name in self._time_fields:
                    fields[at] = name, any_time(chance, latest, ahead=self.ahead)
                elif name != "event_id":
                    fields[at] = name, other_value(chance, value)
        elif choice < 0.75:
            fields[at] = name, chance.choice(OTHER_TYPES)
        elif choice < 0.82:
            del fields[at]
        elif choice < 0.9:
            fields.append((name, other_value(chance, value)))
        else:
            fields.append((any_text(chance), chance.choice(OTHER_TYPES)))
            chance.shuffle(fields)
        return fields

    def _headers(self) -> list[tuple[bytes, bytes | None]]:
        chance = self._chance
        if chance.random() < 0.7:
            return []
        if chance.random() < 0.01:
            return [(any_bytes(chance), any_bytes(chance)) for _ in range(1000)]
        return [
            (
                chance.choice(HEADER_NAMES) if chance.random() < 0.7 else any_bytes(chance),
                chance.choice(HEADER_VALUES) if chance.random() < 0.7 else any_bytes(chance),
            )
            for _ in range(chance.randint(1, 5))
        ]
