"""Flights pipeline under test, whose records are sent in steps of event time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from stream_app.broker import EmbeddedBroker
from stream_app.core.learning.control_commands import Control, decode_control
from stream_app.examples.nycflights import Item
from stream_app.model_admin.model_admin import ModelAdmin
from tests.running_system import System

HOUR, DAY = 3_600_000, 86_400_000


class ReplayedFlights(System):
    """Flights in event time, sent no faster than the learner learns from them."""

    def __init__(self, broker: EmbeddedBroker, folder: Path, declared: str) -> None:
        super().__init__(broker.bootstrap_servers, folder, f"flights-{uuid4().hex[:8]}", declared)
        self.admin = ModelAdmin(self.settings, self.name)
        self.environment = {
            "STREAM_APP_LEARN__PUBLISH_SECONDS": "0.02",
            "STREAM_APP_LEARN__PUBLISH_SHARE": "0.5",
        }

    def __enter__(self) -> "ReplayedFlights":
        return self

    def replay(self, items: Sequence[Item], start: int, end: int, hours: int) -> None:
        """Sends the items of [start, end) in steps of some hours of event time.

        Waits after each step until its examples are learned and published.
        """
        for first in range(start, end, hours * HOUR):
            for kind, time, record in items:
                if first <= time < min(first + hours * HOUR, end):
                    self.send(kind, orjson.dumps(record), record["event_id"].encode())
            self.await_outcomes()
            self.until(self._has_published, 30, "the learner does not keep up")

    def _has_published(self) -> bool:
        """Return True if every example is learned and, unless learning is paused, published."""
        last = max((message.offset() or 0 for message in self.read("examples")[-1:]), default=-1)
        registry = self.admin.registry()
        return (self.admin.learned_to() or 0) > last and (
            registry.paused or max(registry.versions, default=-1) > last
        )

    def decided(self) -> list[Control]:
        """Returns the control records of the log."""
        found = [decode_control(message.value()) for message in self.read("examples")]
        return [control for control in found if control is not None]

    def measured(self, kind: str) -> list[dict[str, Any]]:
        """Returns the measurements of a kind."""
        return [value for value in self.values("monitoring") if value["kind"] == kind]

    def scores(self) -> dict[str, float]:
        """Returns the served scores by event id."""
        return {value["event_id"]: value["score"] for value in self.values("scored")}
