"""Tests the command `doctor`, beside running workers and without a cluster."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.doctor import model_checks
from stream_app.doctor.context import Check, DoctorContext
from stream_app.doctor.runner import run_checks
from stream_app.errors import UnhealthyError
from tests.patience import PATIENCE
from tests.running_system import ROOT, System
from tests.transfer.clusters import unique_name

CHANGED = """
from tests.small_pipeline import small_pipeline

def features(fields):
    return {"amount": fields["amount"] + 1}

pipeline = small_pipeline("NAME", features=features)
"""


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stream_app", "doctor", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=90 * PATIENCE,
    )


def by_level(report: dict[str, Any], *wanted: str) -> list[str]:
    return [result["message"] for result in report["results"] if result["level"] in wanted]


@pytest.mark.broker
def test_a_running_pipeline_has_no_problem_until_its_file_changes(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with System(broker.bootstrap_servers, tmp_path, unique_name(), partitions=2) as system:
        system.start_all()
        now = int(time.time() * 1000)
        for number in range(40):
            system.send_event(number, now - 60_000)
            system.send_label(number, now, fraud=number % 2 == 0)
        system.await_outcomes()
        system.until(lambda: system.learned() == 40, 30, "not everything is learned")
        done = doctor(
            str(system.pipeline),
            "--json",
            STREAM_APP_DATA_DIR=str(system.settings.data_dir),
            STREAM_APP_KAFKA__BOOTSTRAP_SERVERS=system.servers,
            STREAM_APP_TOPICS__PARTITIONS="2",
        )
        report = json.loads(done.stdout)
        assert by_level(report, "problem", "warning") == []
        assert (done.returncode, done.stderr, report["healthy"]) == (0, "", True)
        assert "members of the groups: score 1, learn 1, monitor 0" in by_level(report, "ok")
        assert any(
            message.endswith("loads; examples learned: 40") for message in by_level(report, "ok")
        )
        assert len(by_level(report, "skipped")) == 4, by_level(report, "skipped")

        changed = tmp_path / "changed.py"
        changed.write_text(CHANGED.replace("NAME", system.name))
        context = DoctorContext(str(changed))
        context.values["settings"] = system.settings
        (found,) = run_checks([Check("model", model_checks.check_version)], context)
        context.close()
        assert found.level == "problem"
        assert "has changed since its model was learned" in found.message


def test_an_unreachable_cluster_is_one_problem_and_the_rest_is_skipped(tmp_path: Path) -> None:
    settings = {
        "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "STREAM_APP_DATA_DIR": str(tmp_path),
    }
    done = doctor("flights", "--json", **settings)
    report = json.loads(done.stdout)
    assert done.returncode == UnhealthyError.exit_code
    assert done.stderr == "error: Found 1 problem. Follow the remedy listed with each\n"
    (problem,) = by_level(report, "problem")
    assert problem.startswith("Kafka at 127.0.0.1:1 cannot be reached")
    assert by_level(report, "skipped").count("needs the cluster") >= 8


def test_a_wrong_setting_is_the_one_problem(tmp_path: Path) -> None:
    done = doctor(
        STREAM_APP_TOPICS__PARTITIONS="many", STREAM_APP_DATA_DIR=str(tmp_path), COLUMNS="100"
    )
    assert done.returncode == UnhealthyError.exit_code
    lines = done.stdout.splitlines()
    assert lines[-1] == "1 problem, 0 warnings"
    assert any(
        line.split()[:3] == ["✗", "settings", "STREAM_APP_TOPICS__PARTITIONS"] for line in lines
    )
