"""Completeness records on a broker: predictions close and labels are assumed, exactly once."""

import signal
import time
from pathlib import Path
from uuid import uuid4

import orjson

from stream_app.broker import EmbeddedBroker
from stream_app.core.reading.completeness import Completeness
from stream_app.formatting import iso_time
from tests.patience import PATIENCE
from tests.running_system import System

HOUR = 3_600_000
DECLARED = """
from dataclasses import replace
from tests.small_pipeline import small_pipeline

pipeline = small_pipeline("NAME", label=replace(small_pipeline().label, absent=False))
"""
COUNT, LATER, PARTITIONS = 300, 100, 3


def test_labels_complete_closes_predictions_once_although_workers_are_killed(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    now = int(time.time() * 1000)
    old, later = now - 60 * HOUR, now - 20 * HOUR
    name = f"complete-{uuid4().hex[:8]}"
    with System(
        broker.bootstrap_servers, tmp_path, name, DECLARED, partitions=PARTITIONS
    ) as system:
        system.start_all()
        for number in range(COUNT):
            system.send_event(number, old + number)
            if number % 5 == 0:
                system.send_label(number, old + number + HOUR, fraud=True)
        for number in range(COUNT, COUNT + LATER):
            system.send_event(number, later)
        counts = system.await_outcomes(90)
        assert (counts.joined, counts.assumed, counts.expired) == (COUNT // 5, 0, 0)

        command = system.start_command("labels", "complete", "PIPELINE", "--until", iso_time(later))
        system.sent["labels"] += PARTITIONS
        while system.record_counts().label_completeness == 0 and command.poll() is None:
            time.sleep(0.01)
        system.workers["score-0"].send_signal(signal.SIGKILL)
        system.workers["score-0"].wait()
        assert command.wait(60 * PATIENCE) == 0
        system.start("score")
        system.until(
            lambda: system.record_counts().assumed == COUNT - COUNT // 5, 90, "labels are missing"
        )
        system.kill("score-0")
        system.start("score")
        # Again, and by another source that knows less; neither changes anything.
        system.complete_labels(later)
        garbled = [(header, b"{") for header, _ in Completeness("x", 1).headers()]
        system.send("labels", None, None, headers=garbled)
        counts = system.await_outcomes(90)
        assert (counts.label_completeness, counts.label_dead) == (
            2 * PARTITIONS,
            {"completeness-invalid": 1},
        )
        assert (counts.pending, counts.expired, counts.absent_unproven) == (LATER, 0, 0)
        system.check_outcomes()
        examples = [one for one in system.values("examples") if one["kind"] == "example"]
        assert sum(one["assumed"] for one in examples) == counts.assumed == COUNT - COUNT // 5
        assert all(one["label"] is not one["assumed"] for one in examples)
        status = orjson.loads(system.command("status", "PIPELINE", "--json").stdout)
        assert {one["held_by"] for one in status["partitions"]} <= {"labels", "events"}
        assert status["record_counts"]["balanced"]
