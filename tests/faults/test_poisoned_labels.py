"""Wrong labels breach a threshold; the learner rolls back, pauses, and recovers afterwards."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import orjson
import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.core.evaluation.classification_metrics import log_loss
from stream_app.core.learning.control_commands import LEARNER
from stream_app.core.reading.record_reader import Event, EventReader
from stream_app.examples.nycflights import Item, read_flights, timeline
from stream_app.loading import load_pipeline
from stream_app.records import Features, Record
from tests.faults.replayed_flights import DAY, HOUR, ReplayedFlights

pytestmark = pytest.mark.faults

START, END = datetime(2013, 1, 8), datetime(2013, 1, 28)
POISONED = int(datetime(2013, 1, 22, tzinfo=UTC).timestamp() * 1000)
CORRECTED = POISONED + 3 * DAY
DECLARED = """
from dataclasses import replace
from datetime import timedelta
from stream_app import Threshold, Thresholds
from stream_app.loading import load_pipeline

limit = Threshold(
    metric="log_loss", limit=0.6, windows=5, action="rollback", cool_down=timedelta(days=1)
)
pipeline = replace(
    load_pipeline("stream_app.examples.flights:pipeline"),
    name="NAME",
    window=timedelta(hours=12),
    thresholds=Thresholds(decision=0.3, metrics=(limit,)),
)
"""


def threshold_alarms(system: ReplayedFlights) -> list[bool]:
    """Returns the reports of the threshold's alarm, True while it is open."""
    return [
        one["breached"]
        for one in system.measured("alarm")
        if one["name"] == "threshold-log_loss-rollback"
    ]


def poisoned(items: Sequence[Item]) -> list[Item]:
    """Inverts a fifth of the labels that become known in three days."""
    chance = Random(2013)
    found = []
    for kind, time, record in items:
        wrong = kind == "labels" and POISONED <= time < CORRECTED and chance.random() < 0.2
        found.append((kind, time, {**record, "late": not record["late"]} if wrong else record))
    return found


def unpoisoned_scores(items: Sequence[Item]) -> dict[str, float]:
    """Returns the scores of a model that has learned every correct label known by then."""
    declared = load_pipeline("stream_app.examples.flights:pipeline")
    reader, model = EventReader(declared), declared.model()
    features: dict[str, Features] = {}
    scores = {}
    for kind, _, record in items:
        name = record["event_id"]
        if kind == "labels":
            model.learn_one(features.pop(name), record["late"])
        else:
            event = reader.read(
                Record("flights.raw", 0, 0, 0, name.encode(), orjson.dumps(record)), 2**53
            )
            assert isinstance(event, Event)
            features[name] = event.features
            scores[name] = model.predict_proba_one(event.features)[True]
    return scores


def clean_loss(scores: dict[str, float], items: Sequence[Item], start: int, end: int) -> float:
    """Returns the mean log loss against the true labels that become known in [start, end)."""
    known = [record for kind, time, record in items if kind == "labels" and start <= time < end]
    return sum(log_loss(record["late"], scores[record["event_id"]]) for record in known) / len(
        known
    )


def test_poisoned_labels_cause_a_rollback_and_a_pause_and_are_recovered_from(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    truth = timeline(read_flights(START, END))
    items, first = poisoned(truth), truth[0][1] // DAY * DAY
    with ReplayedFlights(broker, tmp_path, DECLARED) as system:
        system.start_all()
        system.replay(items, first, POISONED, hours=6)
        assert (system.decided(), threshold_alarms(system)) == ([], [])
        system.replay(items, POISONED, CORRECTED, hours=3)
        check_rollback(system)
        resumed = system.command(
            "learning", "resume", "PIPELINE", "--why", "the labels are correct"
        )
        assert resumed.returncode == 0, resumed.stderr
        system.replay(items, CORRECTED, CORRECTED + DAY, hours=1)
        ratio = clean_loss(system.scores(), truth, CORRECTED, CORRECTED + DAY) / clean_loss(
            unpoisoned_scores(truth), truth, CORRECTED, CORRECTED + DAY
        )
        print(
            f"log loss against the true labels on the next day: "
            f"{ratio:.3f} of that without poisoning"
        )
        assert ratio < 1.05
        system.replay(items, CORRECTED + DAY, items[-1][1], hours=6)
        assert threshold_alarms(system)[-1] is False
        assert [control.command for control in system.decided()] == ["pause", "rollback", "resume"]


def check_rollback(system: ReplayedFlights) -> None:
    """Checks the reported windows, the rollback to an earlier version, and the pause."""
    (event,) = system.measured("experimentation_needed")
    start, end = event["window"].values()
    print(
        f"detected {(end + 3 * HOUR - POISONED) / DAY:.2f} days "
        f"after the first wrong label: {event}"
    )
    assert (event["name"], event["threshold"], event["breached"]) == ("log_loss", 0.6, True)
    assert (start, end) == (POISONED, POISONED + 5 * 12 * HOUR)
    assert [(one.command, one.who) for one in system.decided()] == [
        ("pause", LEARNER),
        ("rollback", LEARNER),
    ]
    registry = system.admin.registry()
    back_to = registry.current
    assert registry.paused
    assert back_to.version <= event["examples"]["first"]
    assert (back_to.learned_through or 0) < POISONED
    assert back_to.metrics["log_loss"] < 0.6
    assert event["reference"] == f"rolled back to version {back_to.version}, learning is paused"
    entries = system.admin.audit_entries()
    assert [(entry["operation"], entry["who"]) for entry in entries] == [
        ("pause", LEARNER),
        ("rollback", LEARNER),
    ]
    assert system.values("scored")[-1]["model"]["version"] == back_to.version
    assert threshold_alarms(system)[-1] is True
