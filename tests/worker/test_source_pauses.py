"""An alarm about the labels of a source pauses learning from it, on a real broker."""

import random
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka.admin import NewTopic

from stream_app.broker import EmbeddedBroker
from stream_app.kafka.clients import make_admin
from tests.learning import fits
from tests.running_system import System
from tests.small_pipeline import label
from tests.transfer.clusters import unique_name

pytestmark = pytest.mark.broker

DECLARED = """
from dataclasses import replace
from datetime import timedelta
from stream_app import Alarms, Source
from tests.small_pipeline import small_pipeline
hours = timedelta(hours=6)
bank = Source(topic="NAME.verdicts", name="bank", start="earliest")
label = replace(
    small_pipeline().label, horizon=hours, allowed_lateness=hours, idle_after=hours, sources=(bank,)
)
pipeline = small_pipeline(
    "NAME", label=label, alarms=Alarms(false_per_year=100, action="pause")
)
"""
HOUR = 3_600_000
DAY = 24 * HOUR
FIRST = 1_764_547_200_000  # 2025-12-01
EACH = HOUR // 14
FLIPPED = FIRST + 16 * DAY
DECIDES = "stream_app.worker.roles.source_pauses:SourcePauses._pause,after,1"


@pytest.fixture
def system(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[System]:
    with System(
        broker.bootstrap_servers, tmp_path, unique_name(), DECLARED, partitions=1, with_sources=True
    ) as running:
        topic, admin = NewTopic(f"{running.name}.verdicts", 1, 1), make_admin(running.settings)
        admin.create_topics([topic])[topic.topic].result(60)
        yield running


def send(system: System, start: int, end: int, chance: random.Random) -> None:
    """Send events, and a label half an hour after each; inverted ones since `FLIPPED`."""
    for at in range(start, end, EACH):
        number, amount = system.sent["raw"], chance.uniform(0, 100)
        system.send_event(number, at, amount=amount)
        fraud = (chance.random() < amount / 100) != (at >= FLIPPED)
        value = orjson.dumps(label(number, at + HOUR // 2, fraud))
        system.producer.produce(f"{system.name}.verdicts", value, f"e{number}".encode())
        system.producer.poll(0)
    system.producer.flush(30)
    wanted = system.sent["raw"]
    system.until(lambda: len(examples(system)) == wanted, 90, "not every label was joined")


def send_and_learn(system: System, start: int, end: int, chance: random.Random) -> None:
    """Send, and wait until a version that has learned from all of it is served."""
    send(system, start, end, chance)
    wanted = system.sent["raw"]
    system.until(lambda: system.learned() == wanted, 30, "the learner is behind")
    # Scorers follow within half a second.
    time.sleep(1)


def examples(system: System) -> list[dict[str, Any]]:
    return [one for one in system.values("examples") if one["kind"] == "example"]


def decisions(system: System) -> dict[str, list[dict[str, Any]]]:
    """Return the records that pause and resume, of each of the three topics."""
    audit = [one for one in system.values("audit") if one["operation"] != "publish"]
    assert all(fits("audit", one) for one in audit)
    notes = [one.value() or b"" for one in system.read("models") if one.key() == b"learning/bank"]
    return {
        "examples": [one for one in system.values("examples") if one["kind"] == "control"],
        "models": [orjson.loads(one) for one in notes],
        "audit": audit,
    }


def status(system: System) -> dict[str, Any]:
    done = system.command("learning", "status", "PIPELINE", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def test_an_alarm_pauses_its_source_once_whatever_is_killed(system: System) -> None:
    chance = random.Random(5)
    system.start_all()
    system.start("ingest")
    for start, end in pairwise((FIRST, FIRST + DAY, FIRST + 3 * DAY, FLIPPED)):
        send_and_learn(system, start, end, chance)
    send(system, FLIPPED, FLIPPED + DAY, chance)
    # A watermark is published each second.
    time.sleep(1.5)
    # It dies when it has decided on the pause, before the commit.
    killed = system.start("monitor", FAULT_AT=DECIDES)
    assert killed.wait(90) == -signal.SIGKILL, system.log("monitor-0")
    assert all(found == [] for found in decisions(system).values())
    assert opened(system) == []
    system.start("monitor")
    system.until(lambda: bool(decisions(system)["examples"]), 90, "the source is not paused")
    check_pause(system)

    # Neither a killed monitor nor one without its state pauses it again.
    system.kill("monitor-0")
    system.start("monitor")
    time.sleep(3)
    system.terminate("monitor-0")
    done = system.command("learning", "resume", "PIPELINE", "--source", "bank", "--why", "right")
    assert done.returncode == 0, done.stderr
    assert status(system)["paused_sources"] == []
    before = len(opened(system))
    system.send("monitor.state", None, b"state")
    system.producer.flush(10)
    system.start("monitor")
    system.until(lambda: len(opened(system)) > before, 90, "the alarm is not raised again")
    time.sleep(3)
    assert [len(found) for found in decisions(system).values()] == [2, 2, 2]
    assert status(system)["paused_sources"] == []


def opened(system: System) -> list[dict[str, Any]]:
    """Return the records that open an alarm about flipped labels of the source."""
    messages = [one for one in system.read("alarms") if b"label-flips/bank/2" in (one.key() or b"")]
    found = [orjson.loads(one.value() or b"") for one in messages]
    return [one for one in found if one["n"] == 1 and one["closed_at"] is None]


def check_pause(system: System) -> None:
    """Check that all records of the pause are there once, and that the learner follows it."""
    found = decisions(system)
    assert [len(one) for one in found.values()] == [1, 1, 1]
    control = found["examples"][0]
    (alarm,) = opened(system)
    assert FLIPPED < alarm["opened_at"] <= FLIPPED + DAY
    assert (control["command"], control["source"], control["who"]) == ("pause", "bank", "monitor")
    assert all(alarm["id"] in one["why"] for records in found.values() for one in records)
    assert [(one["source"], one["who"]) for one in status(system)["paused_sources"]] == [
        ("bank", "monitor")
    ]
    learned = system.sent["raw"]
    system.until(lambda: system.learned() == learned, 30, "the learner is behind")
    send(system, FLIPPED + DAY, FLIPPED + DAY + 4 * HOUR, random.Random(6))
    last = system.read("examples")[-1].offset() or 0
    system.until(lambda: status(system)["learned_to"] > last, 30, "the learner is behind")
    assert system.learned() == learned
