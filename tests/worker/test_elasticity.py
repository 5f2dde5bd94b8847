"""A running pipeline survives changes of its file, a reset, and added workers."""

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.errors import FencedError, ModelError
from stream_app.kafka.topics import create_topics
from stream_app.lifecycle.reset import KEPT
from stream_app.topic_kinds import KINDS
from tests.patience import PATIENCE
from tests.running_system import Load, System
from tests.transfer.clusters import admin

pytestmark = pytest.mark.broker

DECLARED = "from tests.small_pipeline import small_pipeline\npipeline = small_pipeline('NAME'{})\n"
OTHER_FEATURES = DECLARED.format(", features=lambda fields: {'amount': fields['amount']}")
OTHER_HORIZON = """
from dataclasses import replace
from datetime import timedelta
from tests.small_pipeline import small_pipeline
label = replace(small_pipeline().label, horizon=timedelta(hours=25))
pipeline = small_pipeline("NAME", label=label)
"""
COMPATIBLE = """
from datetime import timedelta
from stream_app import Threshold, Thresholds
from tests.small_pipeline import small_pipeline
# With limits now, and other windows.
limits = Thresholds(metrics=(Threshold(metric="log_loss", limit=0.6),))
pipeline = small_pipeline("NAME", thresholds=limits, window=timedelta(hours=2))
"""
CHANGED = "has changed since its model was learned"


@pytest.fixture
def system(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[System]:
    with System(
        broker.bootstrap_servers, tmp_path, f"elastic-{uuid4().hex[:8]}", partitions=2
    ) as system:
        yield system


def declare(system: System, source: str) -> None:
    """Change the pipeline's file."""
    system.pipeline.write_text(source.replace("NAME", system.name))


def send(system: System, first: int, last: int) -> None:
    base = int(time.time() * 1000) - 3_600_000
    for number in range(first, last):
        system.send_event(number, base + number)
        system.send_label(number, base + number + 500, fraud=number % 3 == 0)


def run_through(system: System, last: int) -> None:
    """Score and learn the events up to `last`, and stop."""
    system.start_all()
    send(system, 0, last)
    system.await_outcomes()
    system.until(lambda: system.learned() == last, 30, "not every example is learned")
    for worker in ("score-0", "learn-0"):
        system.terminate(worker)


def test_an_incompatible_pipeline_is_rejected_and_a_compatible_one_continues(
    system: System,
) -> None:
    run_through(system, 50)
    before = system.record_counts()
    send(system, 50, 80)
    declare(system, OTHER_FEATURES)
    for process in (system.start("score"), system.start("learn")):
        assert process.wait(60 * PATIENCE) == ModelError.exit_code
    declare(system, OTHER_HORIZON)
    up = system.start_command("up", "PIPELINE", "--no-monitor")
    assert up.wait(90 * PATIENCE) == ModelError.exit_code
    last = system.log("command").splitlines()[-1]
    assert last.startswith(f"error: Pipeline {system.name} {CHANGED}")
    assert "stream-app reset PIPELINE --keep-raw" in last
    for worker in ("score-0", "learn-0"):
        assert f"Pipeline {system.name} {CHANGED}" in system.log(worker)
        assert "Traceback" not in system.log(worker)
    assert (system.record_counts(), system.learned()) == (before, 50)

    declare(system, COMPATIBLE)
    system.start_all()
    assert system.await_outcomes().scored == 80
    system.until(lambda: system.learned() == 80, 30, "learning does not continue")
    system.check_outcomes()


@pytest.mark.faults
def test_after_a_reset_the_raw_records_are_scored_again(system: System) -> None:
    run_through(system, 40)
    declare(system, OTHER_FEATURES)
    system.start("monitor")
    system.until(
        lambda: (system.settings.data_dir / "run" / system.name / "monitor-0.json").exists(),
        30,
        "no monitor",
    )
    rejected = system.command("reset", "PIPELINE", "--yes")
    assert rejected.returncode == FencedError.exit_code
    assert (
        f"error: Workers of {system.name} are running: monitor-0 "
        f"(process {system.workers['monitor-0'].pid}" in rejected.stderr
    )
    system.kill("monitor-0")

    planned = orjson.loads(system.command("reset", "PIPELINE", "--keep-raw", "--json").stdout)
    assert planned["kept"] == {
        f"{system.name}.raw": 40,
        f"{system.name}.labels": 40,
        f"{system.name}.audit": 0,
    }
    assert planned["deleted"].keys() == {
        f"{system.name}.{kind}" for kind in KINDS if kind not in KEPT
    }
    assert (planned["deleted"][f"{system.name}.scored"] > 40, planned["done"]) == (True, False)
    assert len(system.values("scored")) == 40
    assert system.command("reset", "PIPELINE", "--keep-raw", "--yes").returncode == 0
    assert not (system.settings.data_dir / "store" / system.name).exists()

    system.restart_readers()
    create_topics(admin(system.settings), system.name, system.settings)
    system.start_all()
    assert system.await_outcomes().scored == 40
    system.until(lambda: system.learned() == 40, 30, "the examples are not learned again")
    system.check_outcomes()
    for worker in ("score-0", "learn-0"):
        system.terminate(worker)

    assert system.command("reset", "PIPELINE", "--yes").stdout.endswith("Deleted.\n")
    topics = admin(system.settings).list_topics(timeout=60).topics
    assert not [name for name in topics if name.startswith(f"{system.name}.")]
    # A second reset finds nothing to delete.
    assert system.command("reset", "PIPELINE", "--yes").returncode == 0


def test_a_scorer_is_added_under_load(system: System) -> None:
    system.start_all()
    load = Load(system, 300)
    load.start()
    system.until(lambda: system.record_counts().scored > 0, 60, "did not start")
    system.start("score", "1")
    system.until(lambda: '"ready"' in system.log("score-1"), 60, "score-1 gets nothing to do")
    ends = system.ends("raw")
    system.until(lambda: system.has_processed_beyond("raw", ends), 30, "partitions do not continue")
    load.stop()
    system.check_outcomes()
