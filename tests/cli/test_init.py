"""`init` writes a starter pipeline that runs unchanged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from stream_app.cli import app
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.errors import OutputError, PipelineError
from stream_app.loading import load_pipeline
from stream_app.starter.starter import write_starter
from stream_app.testing import PipelineHarness
from tests.running_system import ROOT

FILES = [
    "README.md",
    "events.jsonl",
    "labels.jsonl",
    "orders-2.avsc",
    "orders-2.py",
    "orders-2_label.avsc",
]


def init(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["init", *arguments])


def test_the_new_folder_has_a_pipeline_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = init("orders-2")
    assert done.exit_code == 0
    folder = tmp_path / "orders-2"
    assert sorted(path.name for path in folder.iterdir()) == [*FILES, "test_orders-2.py"]
    assert load_pipeline(str(folder / "orders-2.py")).name == "orders-2"
    assert "NAME" not in "".join(path.read_text() for path in folder.iterdir())
    commands = [line.strip() for line in done.output.splitlines() if line.startswith("  ")]
    assert commands[:2] == [
        "cd orders-2",
        "stream-app try orders-2.py events.jsonl --labels labels.jsonl",
    ]


def test_the_named_commands_exist(tmp_path: Path) -> None:
    shown = init("orders", "--dir", str(tmp_path)).output + (tmp_path / "README.md").read_text()
    lines = [line.strip() for line in shown.splitlines() if line.strip().startswith("stream-app ")]
    assert len(lines) > 8
    for line in lines:
        program, command, *_ = line.split()
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0, line
        assert program == "stream-app"


def test_the_tests_of_the_starter_pass(tmp_path: Path) -> None:
    write_starter("orders-2", tmp_path)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-W",
            "error",
            str(tmp_path),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout


def test_the_starter_passes_ruff(tmp_path: Path) -> None:
    write_starter("orders", tmp_path)
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [*ruff, *command, "--config", str(ROOT / "pyproject.toml"), str(tmp_path)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout


def test_no_sample_expires_in_either_order_of_events_and_labels(tmp_path: Path) -> None:
    write_starter("orders", tmp_path)

    def records(name: str) -> list[bytes]:
        return [line.encode() for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]

    joined = set()
    for first in ("events", "labels"):
        harness = PipelineHarness(tmp_path / "orders.py")
        for kind in (first, "labels" if first == "events" else "events"):
            send = harness.event if kind == "events" else harness.label
            for record in records(kind):
                send(record)
        assert harness.record_counts.expired == 0
        joined.add(harness.record_counts.joined)
    assert len(joined) == 1
    assert min(joined) > 500


def test_files_are_never_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "labels.jsonl"
    mine.write_text("mine")
    done = init("orders", "--dir", str(tmp_path))
    assert isinstance(done.exception, OutputError)
    assert str(done.exception).startswith(f"{mine} already exists. Choose")
    assert list(tmp_path.iterdir()) == [mine]
    assert mine.read_text() == "mine"


def test_an_unwritable_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = init("orders", "--dir", str(tmp_path / "file" / "folder"))
    assert isinstance(done.exception, OutputError)
    assert "cannot be written: Not a directory" in str(done.exception)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Orders", "cannot be the name of a pipeline"),
        ("my_orders", "cannot be the name of a pipeline"),
        ("../orders", "cannot be the name of a pipeline"),
        ("", "cannot be the name of a pipeline"),
        ("json", "json.py would hide the Python module json"),
        ("river", "river.py would hide the Python module river"),
    ],
)
def test_a_wrong_name_is_an_error(name: str, expected: str, tmp_path: Path) -> None:
    done = init(name, "--dir", str(tmp_path))
    assert isinstance(done.exception, PipelineError)
    assert expected in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_starters_of_two_names_have_equal_fingerprints(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_starter(name, tmp_path / name)
    one, two = (load_pipeline(str(tmp_path / name / f"{name}.py")) for name in ("one", "two"))
    assert fingerprint(one) == fingerprint(two)
    assert json.loads((tmp_path / "one" / "one.avsc").read_text()) == two.schema
