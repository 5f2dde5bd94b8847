"""Killed monitors and learners raise the alarms of an undisturbed monitor."""

import random
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from stream_app.broker import EmbeddedBroker
from tests.running_system import System

DECLARED = """
from dataclasses import replace
from datetime import timedelta
from stream_app import Alarms
from tests.small_pipeline import small_pipeline
hours = timedelta(hours=6)
label = replace(small_pipeline().label, horizon=hours, allowed_lateness=hours)
pipeline = small_pipeline("NAME", label=label, alarms=Alarms(false_per_year=300))
"""
HOUR = 3_600_000
DAY = 24 * HOUR
FIRST = 1_764_547_200_000  # 2025-12-01
PER_DAY = 960
DAYS = 26
# Days of the faults.
FLIPPED, UNLABELLED, FEW = (18, 19), 20, 21
KILLS = range(16, 26)
_ALARMS = "stream_app.core.alarms"
# Points at which a monitor that has something to say about an alarm dies; "" is any moment.
POINTS = (
    f"{_ALARMS}.raised_alarm:OpenAlarms.add,after,1",
    f"{_ALARMS}.alarm_record:AlarmRecord.output,after,1",
    "stream_app.worker.transaction_writer:TransactionWriter.commit,before,2",
    "stream_app.worker.transaction_writer:TransactionWriter.commit,after,1",
    "",
)


@pytest.mark.faults
def test_kill_9_of_monitor_and_learner_leaves_the_alarms_of_an_undisturbed_monitor(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with System(
        broker.bootstrap_servers, tmp_path, f"alarms-{uuid4().hex[:8]}", DECLARED, partitions=2
    ) as system:
        system.start_all()
        system.start("monitor")
        chance = random.Random(7)
        for day in range(DAYS):
            if day in KILLS:
                system.kill("learn-0")
                system.kill("monitor-0")
                point = POINTS[day % len(POINTS)]
                system.start("monitor", **({"FAULT_AT": point} if point else {}))
                system.start("learn")
            for half in range(2):
                send(system, day, half, chance)
                system.await_outcomes()
                # A watermark is published each second.
                time.sleep(1.5)
            if day in KILLS and system.workers["monitor-0"].poll() is not None:
                system.start("monitor")
        # One with a point may be about to die.
        system.kill("monitor-0")
        system.start("monitor")
        system.until(lambda: has_all(alarms(system)), 90, "not all alarms are closed")
        wait_until_idle(system)
        disturbed = alarms(system)
        check(disturbed)

        system.terminate("monitor-0")
        # Without its state, a monitor starts over and decides everything again.
        system.send("monitor.state", None, b"state")
        system.producer.flush(10)
        system.start("monitor")
        system.until(lambda: len(alarms(system)) >= 2 * len(disturbed), 90, "the second is behind")
        wait_until_idle(system)
        assert alarms(system)[len(disturbed) :] == disturbed


def send(system: System, day: int, half: int, chance: random.Random) -> None:
    """Send half a day of events, and a label an hour after each."""
    each = DAY // PER_DAY
    events = range(half * PER_DAY // 2, (half + 1) * PER_DAY // 2)
    for one in events:
        if day == FEW and one % 4:
            continue
        at, number = FIRST + day * DAY + one * each, day * PER_DAY + one
        amount = chance.uniform(0, 100)
        system.send_event(number, at, amount=amount)
        fraud = chance.random() < amount / 100
        if day in FLIPPED and chance.random() < 0.4:
            fraud = not fraud
        if day != UNLABELLED or one % 8 == 0:
            system.send_label(number, at + HOUR, fraud=fraud)


def alarms(system: System) -> list[dict[str, Any]]:
    """Return the records of the alarms, in their order."""
    return [
        orjson.loads(message.value() or b"")
        for message in system.read("alarms")
        if not (message.key() or b"").startswith(b"detector/")
    ]


def has_all(found: list[dict[str, Any]]) -> bool:
    """Return True if each fault was found, and every alarm that can be closed is closed."""
    last = {one["id"]: one for one in found}.values()
    names = {one["name"] for one in last}
    is_closed = all(one["closed_at"] is not None for one in last if must_be_closed(one))
    return is_closed and names >= {"event-volume", "label-coverage", "label-flips"}


def must_be_closed(alarm: dict[str, Any]) -> bool:
    """Return True if the log has the three days after which an alarm without evidence closes.

    Scores drift when the model has learned flipped labels; when depends on the learner's speed.
    """
    return bool(alarm["updated_at"] < FIRST + (DAYS - 4) * DAY)


def check(found: list[dict[str, Any]]) -> None:
    """Check that each alarm has every record once."""
    for id_ in {one["id"] for one in found}:
        updates = [one for one in found if one["id"] == id_]
        if updates[-1]["closed_at"] is not None:
            last = updates.pop()
            assert last == updates[-1] | {"closed_at": last["closed_at"]}
        else:
            assert not must_be_closed(updates[-1]), id_
        assert [one["n"] for one in updates] == list(range(1, len(updates) + 1)), id_
        assert all(one["closed_at"] is None for one in updates)


def wait_until_idle(system: System) -> None:
    """Wait until the monitor writes nothing more."""
    count = (-1, -1)
    while count != (now := (len(system.values("monitoring")), len(system.read("alarms")))):
        count = now
        time.sleep(6)
