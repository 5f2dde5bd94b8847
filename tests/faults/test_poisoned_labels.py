"""A fifth of the labels of three days is wrong: it is found, the learner goes back and holds, and recovers afterwards."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import orjson
import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.core.control import LEARNER, Control, decode_control
from stream_app.core.events import EventReader
from stream_app.core.records import Failure, RawRecord
from stream_app.core.scorecard import log_loss
from stream_app.examples.nycflights import Item, read_flights, timeline
from stream_app.loading import load_pipeline
from stream_app.models.loaded import LoadedModel
from tests.management.deciding import Versioned

pytestmark = pytest.mark.faults

HOUR, DAY = 3_600_000, 86_400_000
START, END = datetime(2013, 1, 8), datetime(2013, 1, 28)
POISONED = int(datetime(2013, 1, 22, tzinfo=UTC).timestamp() * 1000)
MENDED = POISONED + 3 * DAY
DECLARED = """
from dataclasses import replace
from datetime import timedelta
from stream_app import Threshold, Thresholds
from stream_app.loading import load_pipeline

limit = Threshold(metric="log_loss", limit=0.6, windows=5, action="rollback", cool_down=timedelta(days=1))
pipeline = replace(
    load_pipeline("stream_app.examples.flights:pipeline"),
    name="NAME",
    window=timedelta(hours=12),
    thresholds=Thresholds(decision=0.3, metrics=(limit,)),
)
"""
ALARM = "threshold-log_loss-rollback"


class Flights(Versioned):
    """Flights in event time, no faster than the learner learns from them; `truth` are the labels as they should be."""

    def __init__(self, broker: EmbeddedBroker, folder: Path, items: Iterable[Item]) -> None:
        super().__init__(broker, folder, DECLARED)
        self.truth = {record["event_id"]: record["late"] for kind, _, record in items if kind == "labels"}
        self.label_times = {record["event_id"]: time for kind, time, record in items if kind == "labels"}

    def replay(self, items: Iterable[Item]) -> None:
        """Send them, and wait until all have an outcome and the learner has read every example."""
        for kind, _, record in items:
            self.send(kind, orjson.dumps(record), record["event_id"].encode())
        self.settle()
        self.until(self._read, 30, "the learner does not keep up")

    def controls(self) -> list[Control]:
        """The decisions in the log."""
        found = [decode_control(message.value()) for message in self.read("examples")]
        return [control for control in found if control is not None]

    def measured(self, kind: str) -> list[dict[str, Any]]:
        return [value for value in self.values("monitoring") if value["kind"] == kind]

    def clean_loss(self, start: int, end: int) -> float:
        """Mean log loss of what was served, against the true labels that became known in that time."""
        scores = {value["event_id"]: value["score"] for value in self.values("scored")}
        known = [name for name, time in self.label_times.items() if start <= time < end and name in scores]
        return sum(log_loss(self.truth[name], scores[name]) for name in known) / len(known)

    def _read(self) -> bool:
        last = self.read("examples")[-1:]
        learned_to = self.desk.learned_to() or 0
        held = self.desk.registry().held
        return all((message.offset() or 0) < learned_to for message in last) and (held or self._published())

    def _published(self) -> bool:
        """Whether what has been learned is served: nothing was learned since the newest version came out."""
        status = self.registry
        return status.served == max(status.versions)


def poisoned(items: Iterable[Item], seed: int = 1) -> Iterator[Item]:
    """A fifth of the labels that become known in three days say the opposite."""
    chance = Random(seed)
    for kind, time, record in items:
        wrong = kind == "labels" and POISONED <= time < MENDED and chance.random() < 0.2
        yield kind, time, {**record, "late": not record["late"]} if wrong else record


def chunks(items: Iterable[Item], start: int, hours: int, end: int) -> Iterator[list[Item]]:
    """The items of [start, end), so many hours at a time."""
    items = list(items)
    for first in range(start, end, hours * HOUR):
        yield [item for item in items if first <= item[1] < min(first + hours * HOUR, end)]
