"""The program of the page "Read scores from your own program" is run as it stands, and killed."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from stream_app.broker import EmbeddedBroker
from stream_app.kafka.clients import make_admin
from stream_app.topic_kinds import topic_name
from tests.docs.documents import Document
from tests.patience import PATIENCE
from tests.running_system import ROOT, System
from tests.small_pipeline import HOUR
from tests.transfer.clusters import unique_name

pytestmark = pytest.mark.broker

PAGE = Document(ROOT / "docs" / "read-scores.md")
KILLS = 6
EVENTS = 150

Row = tuple[str, float, bool, int, bool | None]


class Reader:
    """Reader of the page who runs its program."""

    def __init__(self, system: System, folder: Path) -> None:
        (program,) = (block.text for block in PAGE.blocks if block.language == "python")
        (folder / "copy_scores.py").write_text(program)
        self._folder = folder
        self._arguments = ["copy_scores.py", system.servers, system.name, "scores.db"]

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *self._arguments],
            cwd=self._folder,
            stderr=subprocess.PIPE,
            text=True,
        )

    def rows(self) -> list[Row]:
        """Returns the rows of the table, none before it is made."""
        with closing(sqlite3.connect(self._folder / "scores.db", timeout=30)) as database:
            try:
                found = database.execute(
                    "SELECT event_id, score, prediction, model_version, label FROM scores"
                )
            except sqlite3.OperationalError:
                return []
            return sorted((a, b, c, d, e) for a, b, c, d, e in found)


@pytest.fixture
def system(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[System]:
    with System(broker.bootstrap_servers, tmp_path, unique_name()) as running:
        yield running


def expected(system: System) -> list[Row]:
    """Returns the rows that the topics make."""
    examples = [one for one in system.values("examples") if one["kind"] == "example"]
    labels = {one["event_id"]: one["label"] for one in examples}
    return sorted(
        (
            one["event_id"],
            one["score"],
            one["prediction"],
            one["model"]["version"],
            labels.get(one["event_id"]),
        )
        for one in system.values("scored")
    )


def send(system: System, first: int) -> None:
    """Sends events, two thirds of which have a label, which may come before its event."""
    now = int(time.time() * 1000)
    for number in range(first, first + EVENTS):
        if number % 3 == 1:
            system.send_label(number, now, number % 2 == 0)
        system.send_event(number, now - HOUR)
        if number % 3 == 2:
            system.send_label(number, now, number % 2 == 0)
    system.producer.flush(30)


def test_the_table_equals_the_topics_whenever_the_program_is_killed(
    system: System, tmp_path: Path
) -> None:
    reader = Reader(system, tmp_path)
    system.start_all()
    program = reader.start()
    try:
        for kill in range(KILLS):
            send(system, kill * EVENTS)
            time.sleep(0.1 * kill)
            program.kill()
            program.communicate(timeout=30)
            if kill == KILLS // 2:
                system.kill("score-0")
                system.start("score")
            program = reader.start()
        system.await_outcomes()
        wanted = expected(system)
        assert len(wanted) == KILLS * EVENTS
        assert sum(label is not None for *_, label in wanted) == KILLS * EVENTS * 2 // 3
        system.until(
            lambda: program.poll() is not None or reader.rows() == wanted,
            30,
            "the table does not equal the topics",
        )
        assert program.poll() is None, program.communicate()[1]
    finally:
        program.kill()
        program.communicate(timeout=30)

    # Records that retention deletes before the program has read them are no silent gap.
    send(system, KILLS * EVENTS)
    system.await_outcomes()
    delete_all(make_admin(system.settings), topic_name(system.name, "scored"), system)
    program = reader.start()
    _, problem = program.communicate(timeout=30 * PATIENCE)
    assert program.returncode == 1
    assert "out of range" in problem
    assert reader.rows() == wanted


def delete_all(admin: AdminClient, topic: str, system: System) -> None:
    """Delete all records of a topic, as retention does."""
    places = [TopicPartition(topic, number) for number in system.ends("scored")]
    ends = admin.list_offsets({place: OffsetSpec.latest() for place in places})
    deleted = admin.delete_records(
        [
            TopicPartition(place.topic, place.partition, found.result(30).offset)
            for place, found in ends.items()
        ]
    )
    for future in deleted.values():
        future.result(30)
