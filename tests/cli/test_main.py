"""Every command has help, documented exit codes, and one line per error."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from stream_app.cli import app
from stream_app.cli.exit_codes import exit_codes
from stream_app.errors import KafkaUnavailableError, SettingsError, StreamAppError
from stream_app.telemetry.metrics import app_version
from tests.in_process import run_in_process
from tests.running_system import ROOT


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stream_app", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def commands() -> Iterator[tuple[str, ...]]:
    """Yield the words of every command of the program."""
    root = typer.main.get_group(app)
    context = typer.Context(root)
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        if isinstance(command, TyperGroup):
            yield from ((name, inner) for inner in command.list_commands(context))
        else:
            yield (name,)


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_every_command_has_help_that_ends_with_an_example(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert f"Example: stream-app {' '.join(command)}" in " ".join(result.output.split())


def test_help_lists_every_exit_code() -> None:
    result = CliRunner().invoke(app, ["--help"])
    listed = [
        line.split()[0]
        for line in result.output.splitlines()
        if line.startswith("   ") and line.split()[0].isdigit()
    ]
    assert listed == [str(code) for code, _ in exit_codes()]
    assert len(listed) == len(set(listed))
    assert {kind.exit_code for kind in StreamAppError.__subclasses__()} <= {
        int(code) for code in listed
    }


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from stream_app.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "heavy = {'river', 'faust', 'confluent_kafka', 'pydantic', 'structlog', 'rich'}\n"
        "heavy |= {'prometheus_client', 'scipy', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize("command", ["status", "models list", "dead-letters groups"])
def test_frequent_commands_import_no_library_that_they_do_not_need(command: str) -> None:
    program = (
        "import sys; from stream_app.cli import app\n"
        f"app([*{command.split()}, '--help'], standalone_mode=False)\n"
        "heavy = {'river', 'faust', 'scipy', 'numpy', 'pyarrow'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


def test_version_is_shown() -> None:
    version, core = run("version").stdout.splitlines()
    assert version == app_version()
    assert core in ("core: compiled", "core: interpreted")


def test_an_unreachable_cluster_is_one_line_of_error() -> None:
    done = run("topics", "show", "flights", STREAM_APP_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert done.returncode == KafkaUnavailableError.exit_code
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: Kafka at 127.0.0.1:1 cannot be reached")


def test_without_a_broker_the_error_names_the_command_that_starts_one(tmp_path: Path) -> None:
    environment = {"STREAM_APP_DATA_DIR": str(tmp_path)}
    done = run_in_process("topics", "show", "flights", environment=environment)
    assert done.returncode == KafkaUnavailableError.exit_code
    assert "stream-app up" in done.stderr


def test_a_wrong_setting_is_named() -> None:
    environment = {"STREAM_APP_TOPICS__PARTITIONS": "many"}
    done = run_in_process("topics", "show", "flights", environment=environment)
    assert done.returncode == SettingsError.exit_code
    assert done.stderr.startswith("error: STREAM_APP_TOPICS__PARTITIONS is invalid")


def test_a_wrong_command_line_ends_with_2() -> None:
    assert run_in_process("worker", "flights", "--role", "cook").returncode == 2


def test_a_bug_is_one_line_with_the_file_of_the_traceback(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import stream_app.telemetry.metrics as metrics\n"
        "def broken(): raise RuntimeError('broken')\n"
        "metrics.app_version = broken\n"
    )
    environment = {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        "TMPDIR": str(tmp_path),
    }
    done = run("version", **environment)
    assert done.returncode == 70
    assert len(done.stderr.splitlines()) == 1
    (kept,) = tmp_path.glob("stream-app-*.log")
    assert f"RuntimeError: broken. This is a bug; the traceback is in {kept}" in done.stderr
    assert "Traceback" in kept.read_text()
    assert "Traceback" in run("--debug", "version", **environment).stderr
