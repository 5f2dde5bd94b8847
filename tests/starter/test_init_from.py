"""`init --from` writes a pipeline for a plain table of flights that runs without edits."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from stream_app.broker import EmbeddedBroker
from stream_app.cli import app
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.errors import InputError, OutputError
from stream_app.loading import load_pipeline
from tests.patience import PATIENCE
from tests.running_system import ROOT
from tests.starter.flights_table import Row, flight_rows, write_table
from tests.test_first_hour import Cluster, FirstHour


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Return the flights of three days."""
    return flight_rows(3)


def init(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


def simulate(pipeline: Path, table: Path, *options: str, command: str = "try") -> Any:
    done = CliRunner().invoke(app, [command, str(pipeline), str(table), "--json", *options])
    assert done.exit_code == 0, done.output
    last = json.loads(done.stdout.splitlines()[-1])
    return last["summary"] if command == "train" else last


def test_a_table_of_flights_becomes_a_pipeline_that_runs(rows: list[Row], tmp_path: Path) -> None:
    table = write_table(tmp_path / "flights.csv", rows)
    done = init("late", "--from", table, "--dir", tmp_path / "late")
    assert done.exit_code == 0, done.output
    assert f"id             Flight_ID: {len(rows):,} of {len(rows):,} values differ" in done.output
    assert "0 means false" in done.output
    assert "stream-app try late.py ../flights.csv" in done.output
    pipeline = load_pipeline(str(tmp_path / "late" / "late.py"))
    assert (pipeline.event_id, pipeline.event_time) == ("Flight_ID", "departure")
    assert (pipeline.label.field, pipeline.label.time) == ("late", "arrival")
    assert (pipeline.label.positive, pipeline.label.delay) == (1, None)
    labelled = sum(bool(row["late"]) for row in rows)
    assert 0 < labelled < len(rows)
    for command in ("try", "train"):
        summary = simulate(tmp_path / "late" / "late.py", table, command=command)
        assert summary["events"]["scored"] == summary["events"]["read"] == len(rows)
        assert summary["labels"]["joined"] == summary["labels"]["read"] == labelled
        assert summary["model"]["learned"] == labelled
        assert summary["warnings"] == []
        assert summary["metrics"]["roc_auc"] > 0.55


def test_the_pipeline_passes_ruff_and_has_its_reasons(rows: list[Row], tmp_path: Path) -> None:
    table = write_table(tmp_path / "flights.csv", rows)
    init("late", "--from", table, "--dir", tmp_path)
    text = (tmp_path / "late.py").read_text()
    assert f"# {len(rows):,} numbers, as Unix seconds." in text
    assert "#   tail_number: an identifier by its name;" in text
    config = ["--config", str(ROOT / "pyproject.toml"), "-q", str(tmp_path / "late.py")]
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *config],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda row: row | {"late": {"1.0": "yes", "0.0": "no"}.get(row["late"], "")}, "boolean"),
        (lambda row: row | {"late": {"1.0": "late", "0.0": "ok"}.get(row["late"], "")}, "text"),
        (lambda row: row | {"late": row["late"] and f"class {row['flight'][-1]}"}, "classes"),
        (lambda row: row | {"late": row["late"] and f"{float(row['distance']) ** 0.5}"}, "number"),
        (lambda row: {name: row[name] for name in row if name != "arrival"}, "delay"),
    ],
)
def test_other_labels_run_as_well(rows: list[Row], tmp_path: Path, change: Any, kind: str) -> None:
    table = write_table(tmp_path / "flights.csv", rows, change)
    done = init("late", "--from", table, "--dir", tmp_path, "--label", "late")
    assert done.exit_code == 0, done.output
    summary = simulate(tmp_path / "late.py", table, "--limit", "800")
    assert summary["events"]["scored"] == 800
    assert summary["labels"]["joined"] == summary["labels"]["read"] > 700
    assert summary["model"]["learned"] > 700
    label = load_pipeline(str(tmp_path / "late.py")).label
    assert (label.positive, label.negative) == (
        ("late", "ok") if kind == "text" else (1, None) if kind == "delay" else (None, None)
    )


def test_json_lines_and_other_orders_run_as_well(rows: list[Row], tmp_path: Path) -> None:
    table = tmp_path / "flights.jsonl"
    typed = [
        {
            "id": row["Flight ID"],
            "time": f"2013-01-0{1 + number % 9} 08:00:00",
            "distance": int(row["distance"]),
            "late": bool(float(row["late"] or 0)),
        }
        for number, row in enumerate(rows[:900])
    ]
    table.write_text("".join(json.dumps(row) + "\n" for row in typed))
    done = init("late", "--from", table, "--dir", tmp_path)
    assert "read as UTC" in done.output
    assert "come after one of a later time, by up to 8 days" in done.output
    summary = simulate(tmp_path / "late.py", table)
    assert summary["events"]["scored"] == summary["labels"]["joined"] == 900
    assert summary["order"]["largest_distance_ms"] == 8 * 86_400_000
    sorted_summary = simulate(tmp_path / "late.py", table, "--sort")
    assert sorted_summary["order"]["displaced_events"] == 0


def test_equal_tables_give_equal_pipelines(rows: list[Row], tmp_path: Path) -> None:
    table = write_table(tmp_path / "flights.csv", rows)
    for name in ("one", "two"):
        init(name, "--from", table, "--dir", tmp_path / name)
    one, two = (load_pipeline(str(tmp_path / name / f"{name}.py")) for name in ("one", "two"))
    assert fingerprint(one) == fingerprint(two)


def test_errors_name_the_option_that_helps(rows: list[Row], tmp_path: Path) -> None:
    table = write_table(tmp_path / "flights.csv", rows[:5])
    few = init("late", "--from", table, "--dir", tmp_path)
    assert isinstance(few.exception, InputError)
    assert "has 5 records, too few to guess from" in str(few.exception)
    missing = init("late", "--from", tmp_path / "none.csv", "--dir", tmp_path)
    assert isinstance(missing.exception, InputError)
    table = write_table(tmp_path / "flights.csv", rows[:100])
    wrong = init("late", "--from", table, "--dir", tmp_path, "--label", "lat")
    assert "--label 'lat' is not a column" in str(wrong.exception)
    assert init("late", "--label", "late", "--dir", tmp_path).exit_code == 2
    assert list(tmp_path.iterdir()) == [table]
    (tmp_path / "late.avsc").write_text("mine")
    present = init("late", "--from", table, "--dir", tmp_path)
    assert isinstance(present.exception, OutputError)
    assert (tmp_path / "late.avsc").read_text() == "mine"


def test_train_asks_for_labels_that_a_file_does_not_have(rows: list[Row], tmp_path: Path) -> None:
    table = write_table(tmp_path / "flights.csv", rows[:200])
    init("late", "--from", table, "--dir", tmp_path)
    events = write_table(
        tmp_path / "events.csv", rows[:200], lambda row: {n: row[n] for n in row if n != "late"}
    )
    done = CliRunner().invoke(app, ["train", str(tmp_path / "late.py"), str(events)])
    assert done.exit_code == 2
    assert "has no field late" in done.output


@pytest.mark.broker
def test_a_table_is_scored_and_learned_on_kafka(
    rows: list[Row], tmp_path: Path, broker: EmbeddedBroker
) -> None:
    few = rows[:600]
    table = write_table(tmp_path / "flights.csv", few)
    labelled = sum(bool(row["late"]) for row in few)
    cluster = Cluster({"STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers})
    user = FirstHour(tmp_path, f"flights-{tmp_path.name[-8:].replace('_', '-')}".lower(), cluster)
    user.run("init", user.name, "--from", str(table), cwd=tmp_path)
    assert user.lines("try", "PIPELINE", str(table))[-1]["events"]["scored"] == len(few)
    user.run("topics", "create", "PIPELINE")
    with user.start("up", "PIPELINE", stderr=subprocess.DEVNULL) as up:
        try:
            (labels,) = user.lines("produce", "PIPELINE", str(table), "--labels")
            assert (labels["produced"], labels["unlabelled"]) == (labelled, len(few) - labelled)
            (events,) = user.lines("produce", "PIPELINE", str(table))
            assert events["produced"] == len(few)
            status = user.until_status(
                lambda found: found["model"] is not None and found["model"]["learned"] == labelled,
                timeout=180.0,
            )
            raw = user.lines("consume", "PIPELINE", "raw", "--until-end")
            scored = user.lines("consume", "PIPELINE", "scored", "--until-end")
        finally:
            up.terminate()
            up.wait(30 * PATIENCE)
    counts = status["record_counts"]
    assert counts["balanced"]
    assert (counts["events"], counts["scored"], counts["dead"]) == (len(few), len(few), {})
    # No event was sent with its outcome.
    assert not any({"late", "arrival"} & record["value"].keys() for record in raw)
    times = {row["Flight ID"]: row["departure"] * 1000 for row in few}
    found = {one["value"]["event_id"]: one["value"]["event_time"] for one in scored}
    assert found == times
