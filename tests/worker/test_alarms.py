"""The life of an alarm on a real broker: opened, listed, acknowledged, closed, and silenced."""

import json
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import orjson
import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.broker.node import free_port
from stream_app.errors import StreamAppError
from stream_app.model_admin.alarm_admin import AlarmAdmin, acknowledge
from stream_app.model_store.model_registry import reason
from tests.learning import fits
from tests.running_system import System

pytestmark = pytest.mark.broker

DECLARED = """
from stream_app import Alarms
from tests.small_pipeline import small_pipeline

pipeline = small_pipeline("NAME", alarms=Alarms(false_per_year=300))
"""
HOUR = 3_600_000
DAY = 24 * HOUR
FIRST = 1_764_547_200_000  # 2025-12-01
PER_HOUR = 6
# The third week, in which volumes are bet on.
FEW = FIRST + 15 * DAY
RAISES = "stream_app.core.alarms.raised_alarm:OpenAlarms.add,after,1"


@pytest.fixture
def system(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[System]:
    name = f"alarms-{uuid4().hex[:8]}"
    with System(broker.bootstrap_servers, tmp_path, name, DECLARED, partitions=1) as running:
        yield running


def send_hours(system: System, start: int, end: int, per_hour: int) -> None:
    """Send events between two times, so many per hour."""
    for at in range(start, end, HOUR // per_hour):
        system.send_event(system.sent["raw"], at)
    system.await_outcomes()
    # A watermark is published each second.
    time.sleep(1.5)


def records(system: System) -> list[dict[str, Any]]:
    """Return the alarms in their order; no record may be there twice."""
    messages = [one for one in system.read("alarms") if (one.key() or b"")[:13] == b"event-volume/"]
    values = [one.value() or b"" for one in messages]
    assert len(values) == len(set(values))
    found = [orjson.loads(value) for value in values]
    assert all(fits("alarm", one) for one in found)
    assert [one["id"].encode() for one in found] == [message.key() for message in messages]
    return found


def run(system: System, *words: str, code: int = 0) -> Any:
    """Return the JSON of a command, or the line of its error."""
    done = system.command(*words, *(() if code else ("--json",)))
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr.splitlines()[-1]


def states(system: System, *options: str) -> list[tuple[str, str]]:
    listed = run(system, "alarms", "list", "PIPELINE", *options)["alarms"]
    return [(one["id"], one["state"]) for one in listed]


def test_an_alarm_is_opened_acknowledged_and_closed_once_whatever_is_killed(
    system: System,
) -> None:
    system.start_all()
    assert states(system, "--all") == []
    send_hours(system, FIRST, FIRST + DAY, PER_HOUR)
    send_hours(system, FIRST + DAY, FEW, PER_HOUR)
    send_hours(system, FEW, FEW + 18 * HOUR, 1)
    # It dies when it has decided on the alarm, before the commit.
    killed = system.start("monitor", FAULT_AT=RAISES)
    assert killed.wait(60) == -signal.SIGKILL, system.log("monitor-0")
    assert records(system) == []
    port = str(free_port())
    system.start("monitor", STREAM_APP_WORKER__HEALTH_PORT=port)
    system.until(lambda: bool(records(system)), 60, "no alarm")

    opened = records(system)[0]
    id_ = opened["id"]
    assert (opened["name"], opened["source"], opened["n"]) == ("event-volume", "events", 1)
    assert FEW <= opened["since"] < opened["opened_at"] <= FEW + 18 * HOUR
    assert states(system) == [(id_, "open")]
    shown = run(system, "status", "PIPELINE")["open_alarms"]
    assert [(one["id"], one["state"], one["pages"]) for one in shown] == [(id_, "open", True)]

    with ThreadPoolExecutor(2) as both:
        ended = sorted(both.map(lambda _: acknowledged(system, id_), range(2)))
    assert ended[0] in ("DecisionError", "FencedError")
    assert ended[1] == "done"
    assert states(system) == [(id_, "acknowledged")]
    system.until(lambda: exported(port) == ["acknowledged"], 10, "the metric does not follow")
    words = ("alarms", "acknowledge", "PIPELINE")
    assert "is acknowledged already, by" in run(system, *words, id_, "--why", "x", code=20)
    assert "There is no alarm" in run(system, *words, "event-volume/x", "--why", "x", code=20)
    silence_and_unsilence(system, id_)

    system.kill("monitor-0")
    send_hours(system, FEW + 18 * HOUR, FEW + DAY, 1)
    send_hours(system, FEW + DAY, FEW + 6 * DAY, PER_HOUR)
    system.start("monitor")
    system.until(lambda: records(system)[-1]["closed_at"] is not None, 60, "it stays open")
    *updates, closed = records(system)
    assert [(one["id"], one["n"]) for one in updates] == [
        (id_, number + 1) for number in range(len(updates))
    ]
    assert closed == updates[-1] | {"closed_at": closed["closed_at"]}
    assert FEW + 4 * DAY <= closed["closed_at"] <= FEW + 6 * DAY
    assert "is closed since" in run(system, *words, id_, "--why", "x", code=20)
    assert states(system) == []
    assert states(system, "--all") == [(id_, "closed")]
    assert not any(one["kind"] == "alarm" for one in system.values("monitoring"))


def exported(port: str) -> list[str]:
    """Return the states of the alarm that the monitor exports as 1."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    pattern = r'^stream_app_alarms_open\{[^}]*name="event-volume"[^}]*state="(\w+)"\} 1\.0$'
    return re.findall(pattern, text, re.MULTILINE)


def acknowledged(system: System, id_: str) -> str:
    """Acknowledge an alarm; return "done", or the class name of the error."""
    try:
        acknowledge(AlarmAdmin(system.settings, system.name), id_, reason("asked the shop"))
    except StreamAppError as error:
        return type(error).__name__
    return "done"


def silence_and_unsilence(system: System, id_: str) -> None:
    words = ("PIPELINE", "event-volume", "--why", "a strike")
    silence = ("alarms", "silence", *words, "--for", "3d")
    # Killed before the commit, nothing has happened; after it, it has.
    for point, code in (("decision-written", 0), ("decision-committed", 20)):
        killed = system.start_command(*silence, STREAM_APP_FAULT_POINT=point)
        assert killed.wait(60) == -signal.SIGKILL, system.log("command")
        repeated = run(system, *silence, code=code)
        if code == 0:
            assert repeated["name"] == "event-volume"
            assert run(system, "alarms", "unsilence", *words)["until"] is None
    assert "are silenced already until" in repeated
    listed = run(system, "alarms", "list", "PIPELINE")
    assert [(one["name"], one["why"]) for one in listed["silences"]] == [
        ("event-volume", "a strike")
    ]
    run(system, "alarms", "unsilence", *words)
    assert "No silence of event-volume" in run(system, "alarms", "unsilence", *words, code=20)
    # Of both people, one was first.
    audit = [one for one in system.values("audit") if one["operation"] != "publish"]
    assert all(fits("audit", one) for one in audit)
    assert [one["operation"] for one in audit] == [
        "acknowledge",
        "silence",
        "unsilence",
        "silence",
        "unsilence",
    ]
    assert audit[0]["what"] == f"alarm {id_}"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("silence", "PIPELINE", "event-volumes", "--for", "3d", "--why", "x"), "no alarms"),
        (("silence", "PIPELINE", "event-volume", "--for", "91d", "--why", "x"), "at most 90d"),
        (("silence", "PIPELINE", "event-volume", "--for", "soon", "--why", "x"), "such as 12h"),
        (("silence", "PIPELINE", "event-volume", "--for", "0d", "--why", "x"), "--for"),
        (
            ("silence", "PIPELINE", "label-flips", "--for", "3d", "--source", "x", "--why", "x"),
            "no alarm is about",
        ),
        (("acknowledge", "PIPELINE", "x", "--why", " "), "say why"),
        (("acknowledge", "PIPELINE", "--why", "x"), "ID"),
    ],
)
def test_a_wrong_command_line_ends_with_2(
    system: System, words: tuple[str, ...], expected: str
) -> None:
    assert expected in run(system, "alarms", *words, code=2)
