"""The demo: real flights, no event lost or duplicated, and the model's metrics after ten days."""

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.progressive import progressive

UNTIL = "2013-01-11"


def run_demo(folder: Path, *arguments: str) -> dict[str, Any]:
    """Return the summary of a run, which is the last line of its output."""
    finished = subprocess.run(
        [sys.executable, "-m", "stream_app", "demo", "--json", *arguments],
        env=os.environ | {"STREAM_APP_DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    summary: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return summary


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the summary of ten days without mistakes."""
    return run_demo(
        tmp_path_factory.mktemp("demo"), "--until", UNTIL, "--mistakes", "0", "--pace", "0.6"
    )


@pytest.mark.faults
def test_served_predictions_are_as_good_as_rivers_with_the_same_delays(
    clean: dict[str, Any],
) -> None:
    reference = progressive(datetime(2013, 1, 1), datetime.fromisoformat(UNTIL))
    assert clean["labels"] == reference["events"]
    assert clean["metrics"]["roc_auc"] > reference["roc_auc"] - 0.01
    # Log loss is no measure here: a model with two examples may be certain and wrong.
    late = 1 - clean["baselines"]["majority_accuracy"]
    assert clean["metrics"]["brier"] < late * (1 - late) + 0.005


@pytest.mark.faults
def test_no_prediction_used_a_model_staler_than_six_hours(clean: dict[str, Any]) -> None:
    assert 0 < clean["staleness"]["max"] <= 6


def test_mistakes_become_dead_letters_and_duplicates_and_no_record_is_lost(tmp_path: Path) -> None:
    summary = run_demo(tmp_path, "--until", "2013-01-02", "--mistakes", "0.05")
    dead = {kind: sum(codes.values()) for kind, codes in summary["dead_lettered"].items()}
    assert min(dead["raw"], dead["labels"], *summary["duplicates"].values()) > 0
    assert set(summary["dead_lettered"]["raw"]) == {"invalid-json", "wrong-type"}
    assert summary["produced"] == summary["scored"] + dead["raw"] + summary["duplicates"]["raw"]
    assert summary["scored"] == summary["learned"] + summary["awaiting_label"] + summary["expired"]
    assert 0 < summary["staleness"]["max"] <= 6
