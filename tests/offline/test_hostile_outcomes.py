"""Every hostile record has exactly one outcome, and every joined label is learned or counted."""

import time
from pathlib import Path
from random import Random

import pytest

from stream_app.loading import load_pipeline
from stream_app.offline.engine import Engine
from stream_app.records import Record
from tests.faults.hostile_records import ForeignRecord, HostileRecords
from tests.faults.hostile_stream import CLASSES, DECLARED, TIME_FIELDS, any_class

EVENT = {
    "event_id": "f1", "scheduled_departure": "2013-01-01T10:00:00Z", "carrier": "UA", "flight": 7,
    "tail_number": None, "origin": "EWR", "dest": "ORD", "distance": 719, "local_departure": 500,
    "planned_minutes": 150, "humidity": 57.1, "wind_speed": 12.6, "precipitation": 0.0,
    "pressure": 1012.0, "visibility": 10.0,
}  # fmt: skip
LABEL = {"event_id": "f1", "known_at": "2013-01-01T12:30:00Z", "late": True}
LATEST = 1_357_043_400_000  # time of the label, Unix milliseconds
RECORDS = 400


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("task", ["classes", "binary"])
def test_every_hostile_record_has_one_outcome(tmp_path: Path, task: str, ahead: bool) -> None:
    declared = CLASSES if task == "classes" else DECLARED.replace("BOUNDS", "")
    (tmp_path / "declared.py").write_text(declared.replace("NAME", "hostile"))
    engine = Engine(load_pipeline(str(tmp_path / "declared.py")))
    label = any_class if task == "classes" else any_boolean
    hostile = HostileRecords(len(task), TIME_FIELDS, label, ahead=ahead)
    now = int(time.time() * 1000)
    for number, sent in enumerate(hostile.take(RECORDS, EVENT, LABEL, LATEST, ["f1"]), 1):
        record = as_record(sent, number)
        outcome = (engine.score if sent.kind == "raw" else engine.join)(record, now)
        counts = engine.record_counts
        assert counts.events + counts.labels == number, (sent, outcome)
        assert counts.scored == counts.closed_or_pending, sent
    assert counts.scored > RECORDS / 20
    assert engine.learner.learned.examples + engine.learner.unlearnable == counts.examples


def any_boolean(chance: Random) -> bool:
    return chance.random() < 0.5


def as_record(sent: ForeignRecord, offset: int) -> Record:
    """Return a record as workers read it."""
    headers = tuple(
        (name.decode("utf-8", "backslashreplace"), content) for name, content in sent.headers
    )
    return Record(f"hostile.{sent.kind}", 0, offset, -1, sent.key, sent.value, headers)
