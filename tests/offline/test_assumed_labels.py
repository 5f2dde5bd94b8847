"""Simulation and harness assume absent labels as scorers do, if labels are known."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stream_app.core.examples import Example
from stream_app.loading import complete
from stream_app.offline.simulation import open_simulation
from stream_app.offline.simulation_summary import summarise
from stream_app.testing import PipelineHarness
from tests.small_pipeline import HOUR, NOW, event, label, small_pipeline

COUNT = 100
START = NOW - COUNT * HOUR


def assuming() -> Any:
    return small_pipeline(label=replace(small_pipeline().label, absent=False))


@pytest.mark.parametrize("with_labels", [True, False])
def test_a_simulation_assumes_labels_only_if_it_has_some(tmp_path: Path, with_labels: bool) -> None:
    events = [event(number, START + number * HOUR) for number in range(COUNT)]
    # One event has a wrong time, which harms nothing but itself.
    events[50]["at"] = NOW
    labels = [label(n, START + (n + 2) * HOUR, fraud=True) for n in range(0, COUNT, 4)]
    for name, records in (("events", events), ("labels", labels)):
        (tmp_path / name).write_text("".join(json.dumps(one) + "\n" for one in records))
    found: list[Example] = []
    paths = str(tmp_path / "events"), str(tmp_path / "labels") if with_labels else None
    with open_simulation(complete(assuming()), *paths, file_format="json") as (simulation, _):
        simulation.engine.observers.append(found.append)
        list(simulation)
        summary = summarise(simulation, 1.0, complete=True)
        counts = simulation.engine.record_counts
    assumed = {one.event_id for one in found if one.assumed}
    # Event time stands at the twelfth newest event, 30 hours after the newest closed prediction.
    closed = COUNT - 12 - 30
    expected = {f"e{n}" for n in range(closed) if n % 4 and n != 50} if with_labels else set()
    assert assumed == expected
    assert summary["events"]["assumed"] == len(expected) == counts.assumed
    assert counts.absent_unproven == (0 if with_labels else closed - 1)
    assert len(found) == len(assumed) + (25 if with_labels else 0)


def test_a_harness_assumes_labels_as_time_passes() -> None:
    harness = PipelineHarness(assuming())
    harness.event(event(1))
    assert harness.label(label(2, known_at=NOW)).kind == "waiting"
    harness.advance(timedelta(hours=31))
    assert (harness.record_counts.assumed, harness.learned) == (1, 1)
    assert harness.label(label(1, NOW + HOUR, fraud=True)).kind == "contradicting"
    assert harness.label(label(1, NOW + HOUR, fraud=False)).kind == "duplicate"
    assert harness.learned == 1
