"""Tests `status` with real workers on a real broker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Message

from stream_app.broker import EmbeddedBroker
from stream_app.core.scoring.state_changelog import COUNTS_KEY
from stream_app.dead_letters.access import read_open_check
from stream_app.errors import KafkaUnavailableError, TopicsError, UnhealthyError
from stream_app.status.pipeline_view import PipelineView
from stream_app.status.status_model import Status, WorkerStatus
from stream_app.status.status_watcher import StatusWatcher
from tests.in_process import run_in_process
from tests.patience import PATIENCE
from tests.running_system import ROOT, System
from tests.small_pipeline import event
from tests.transfer.clusters import new_topics, send, settings_for, unique_name

pytestmark = pytest.mark.broker

EVENTS = 200
UNLABELLED = 50


@pytest.fixture(scope="module")
def system(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a scorer, a learner and a monitor; process records of every kind."""
    folder = tmp_path_factory.mktemp("status")
    with System(broker.bootstrap_servers, folder, unique_name(), partitions=2) as started:
        started.start_all()
        started.start("monitor")
        now = int(time.time() * 1000)
        for number in range(EVENTS):
            started.send_event(number, now - 3_600_000 + number)
        for number in range(EVENTS - UNLABELLED):
            started.send_label(number, now - 3_000_000 + number, fraud=number % 3 == 0)
        started.send_event(0, now - 3_600_000)
        for _ in range(3):
            started.send("raw", b"{broken", b"e1")
        started.send("labels", b"[]", b"e1")
        started.send_label(EVENTS, now)
        started.await_outcomes()
        started.until(
            lambda: started.learned() == EVENTS - UNLABELLED, 30, "not everything is learned"
        )
        yield started


def look(system: System) -> Status:
    watcher = StatusWatcher(system.settings, system.name, read_open_check=read_open_check)
    try:
        watcher.sample()
        return watcher.look()
    finally:
        watcher.close()


def command(system: System, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `stream-app status PIPELINE` with these arguments."""
    return run_in_process(
        "status", str(system.pipeline), *arguments, environment=environment(system)
    )


def environment(system: System) -> dict[str, str]:
    return os.environ | {
        "STREAM_APP_DATA_DIR": str(system.settings.data_dir),
        "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": system.servers,
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "100",
    }


def workers(status: Status) -> dict[str, WorkerStatus]:
    return {worker.name: worker for role in status.roles for worker in role.workers}


def wait_for_no_lag(system: System) -> Status:
    """Return the first status in which every role has committed everything that it has read."""
    found: list[Status] = []

    def caught_up() -> bool:
        found.append(look(system))
        return not any(one.lag_records for one in found[-1].inputs) and found[-1].healthy

    system.until(caught_up, 30, "the roles do not catch up")
    return found[-1]


def test_counts_and_offsets_match_the_topics(system: System) -> None:
    status = wait_for_no_lag(system)
    totals = asdict(status.record_counts)
    counts = system.record_counts()
    assert {name: totals[name] for name in counts.as_dict()} == counts.as_dict()
    assert (totals["events"], totals["labels"]) == (system.sent["raw"], system.sent["labels"])
    assert (totals["balanced"], totals["without_outcome"]) == (True, 0)
    assert status.recent_dead_letters.events == {"invalid-json": 3}
    assert status.recent_dead_letters.labels == {"not-an-object": 1}
    assert status.recent_dead_letters.open == {"invalid-json": 3, "not-an-object": 1}
    assert status.recent_dead_letters.complete
    ends = {(one.topic, one.partition): one.end for one in status.inputs if one.role == "score"}
    for kind in ("raw", "labels"):
        assert {p: ends[f"{system.name}.{kind}", p] for p in (0, 1)} == system.ends(kind)
    assert sum(one.entries or 0 for one in status.partitions) == EVENTS + 1
    assert all(
        one.clock is not None and one.event_watermark is not None for one in status.partitions
    )
    assert status.model is not None
    assert (status.model.learned, status.model.behind) == (EVENTS - UNLABELLED, 0)
    watermarks = {one.partition: one for one in status.windows.watermarks}
    assert {number: one.events for number, one in watermarks.items()} == {
        one.partition: one.event_watermark for one in status.partitions
    }
    assert all(one.age_seconds is not None for one in watermarks.values())
    assert status.windows.held_by in (0, 1)
    assert status.windows.window_end is None


def test_workers_of_this_machine_are_shown_with_process_model_and_memory(system: System) -> None:
    status = wait_for_no_lag(system)
    assert (status.started, status.healthy, status.problems) == (True, True, ())
    known = workers(status)
    assert {name: worker.state for name, worker in known.items()} == {
        "score-0": "ready", "learn-0": "ready", "monitor-0": "ready",
    }  # fmt: skip
    assert known["score-0"].partitions == (0, 1)
    assert known["score-0"].pid == system.workers["score-0"].pid
    assert status.model is not None
    assert known["score-0"].model_version == status.model.version
    assert (known["score-0"].memory_bytes or 0) > 10_000_000
    assert {(one.role, one.worker) for one in status.inputs} == {
        ("score", "score-0"), ("learn", "learn-0"), ("monitor", "monitor-0"),
    }  # fmt: skip


def test_workers_of_another_machine_are_shown_as_running(system: System, tmp_path: Path) -> None:
    watcher = StatusWatcher(system.settings.model_copy(update={"data_dir": tmp_path}), system.name)
    status = watcher.look()
    watcher.close()
    assert {worker.state for worker in workers(status).values()} == {"running"}
    assert status.rates is None
    assert status.healthy


def test_rates_are_computed_between_two_looks(system: System) -> None:
    wait_for_no_lag(system)
    watcher = StatusWatcher(system.settings, system.name)
    watcher.sample()
    now = int(time.time() * 1000)
    for number in range(1000, 1040):
        system.send_event(number, now)
    system.await_outcomes()
    rates = watcher.look().rates
    watcher.close()
    assert rates is not None
    assert round(rates.events_in * rates.seconds) == round(rates.scored * rates.seconds) == 40
    assert (rates.labels_in, rates.dead_letters) == (0, 0)


def test_the_text_output_fits_one_screen(system: System) -> None:
    wait_for_no_lag(system)
    done = command(system, "--check")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) < 40
    assert all(len(line) <= 100 for line in lines)
    assert lines[0].startswith(f"{system.name}  healthy  {system.servers}")
    text = " ".join(done.stdout.split())
    assert f"{EVENTS - UNLABELLED:,} learned, 0 behind" in text
    assert "3 dead letters (invalid-json 3)" in text
    assert "no event lost or duplicated" in text


def test_json_has_the_documented_fields(system: System) -> None:
    done = command(system, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert_same_keys(json.loads(done.stdout), asdict(look(system)))


def assert_same_keys(found: Any, expected: Any) -> None:
    """Assert that both have the same keys at all levels."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_same_keys(found[name], expected[name])
    elif isinstance(expected, tuple) and expected:
        assert_same_keys(found[0], expected[0])


def test_watch_with_json_writes_a_line_per_look_until_ctrl_c(system: System) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "stream_app", "status", str(system.pipeline), "--watch", "--json"],
        cwd=ROOT,
        env=environment(system),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    looks = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=15 * PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert looks[0]["at"] < looks[1]["at"]
    assert all(one["pipeline"] == system.name and one["rates"] is not None for one in looks)


def test_a_dead_scorer_and_its_lag_are_problems(system: System) -> None:
    """Must be the last test with this fixture, because it kills the scorer."""
    wait_for_no_lag(system)
    system.kill("score-0")
    status = look(system)
    assert workers(status)["score-0"].state == "ended"
    assert (
        "score-0 has died: its partitions are reassigned when its session times out; see its log"
        in status.problems
    )
    written = int(time.time() * 1000) - 300_000
    for number in range(2000, 2030):
        system.send("raw", orjson.dumps(event(number, written)), b"e%d" % number, timestamp=written)
    system.producer.flush(60)
    system.until(
        lambda: not look(system).roles[0].running, 30, "the dead member stays in its group"
    )
    status = look(system)
    raw = [one for one in status.inputs if one.topic.endswith(".raw")]
    assert sum(one.lag_records for one in raw) == 30
    assert all(300 <= one.lag_seconds < 400 for one in raw)
    assert status.problems[0] == "no score worker is running: start one with `stream-app up`"
    assert any(problem.startswith("score is behind in") for problem in status.problems)
    done = command(system, "--check")
    assert done.returncode == UnhealthyError.exit_code
    assert done.stderr.startswith(
        f"error: {system.name} is not healthy: no score worker is running"
    )
    assert "✗ no score worker is running" in done.stdout


def test_a_new_pipeline_is_shown_as_not_started(broker: EmbeddedBroker) -> None:
    settings = settings_for(broker, partitions=2)
    watcher = StatusWatcher(settings, new_topics(settings))
    status = watcher.look()
    watcher.close()
    assert not status.started
    assert (status.model, status.alarms, status.partitions) == (None, (), ())
    assert {one.lag_records for one in status.inputs} == {0}
    assert status.problems == (
        "no score worker is running: start one with `stream-app up`",
        "no learn worker is running: start one with `stream-app up`",
    )


def test_unreadable_measurements_are_a_problem(broker: EmbeddedBroker) -> None:
    settings = settings_for(broker, partitions=1)
    name = new_topics(settings)
    send(settings, f"{name}.monitoring", [b"\0\0\0\0\7avro"])
    watcher = StatusWatcher(settings, name)
    status = watcher.look()
    watcher.close()
    assert status.problems[-1] == (
        "measurements cannot be read: set STREAM_APP_REGISTRY__URL if they are Avro"
    )


def test_missing_topics_and_an_unreachable_broker_raise_one_error(broker: EmbeddedBroker) -> None:
    settings = settings_for(broker)
    with pytest.raises(TopicsError, match="Missing topics of pipeline"):
        StatusWatcher(settings, unique_name())
    away = settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(KafkaUnavailableError, match="cannot be reached"):
        StatusWatcher(settings.model_copy(update={"kafka": away}), "anything")


def test_record_counts_are_found_without_reading_the_whole_state_topic(
    broker: EmbeddedBroker,
) -> None:
    """Record counts end every transaction; partition 1 has 5,000 records after them."""
    settings = settings_for(broker, partitions=2)
    system_view = PipelineView(settings, new_topics(settings))
    topic = system_view.topic("score.state")
    fill(settings.kafka.bootstrap_servers or "", topic, 0, before=50_000, after=1)
    fill(settings.kafka.bootstrap_servers or "", topic, 1, before=50_000, after=5_000)
    seen: list[int] = []

    def wanted(message: Message) -> bool:
        seen.append(message.partition() or 0)
        return bool(message.key() == COUNTS_KEY)

    bounds = system_view.select(system_view.offset_bounds(), "score.state")
    found = system_view.reader.newest(bounds, wanted)
    system_view.close()
    assert {place: message.offset() for place, message in found.items()} == {
        (topic, 0): 50_000,
        (topic, 1): 50_000,
    }
    assert seen.count(0) == 64
    assert seen.count(1) < 20_000


def fill(servers: str, topic: str, partition: int, before: int, after: int) -> None:
    """Write a changelog with one record of record counts between others."""
    from confluent_kafka import Producer

    producer = Producer(
        {"bootstrap.servers": servers, "queue.buffering.max.messages": 200_000, "log_level": 0}
    )
    for number in range(before + 1 + after):
        key = COUNTS_KEY if number == before else b"e%d" % number
        producer.produce(topic, b"{}", key, partition=partition)
    assert producer.flush(30) == 0
