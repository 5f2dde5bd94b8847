"""`stream-app broker` starts, shows, logs and stops a broker."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream_app.cli.broker import app

pytestmark = pytest.mark.broker


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def test_a_broker_is_started_shown_logged_and_stopped(tmp_path: Path) -> None:
    folder = ("--data-dir", str(tmp_path / "kafka"))
    try:
        started = json.loads(run("start", *folder, "--json"))
        assert started["running"]
        assert started["version"].startswith("4.1.")
        assert json.loads(run("status", *folder, "--json")) == started
        assert f"bootstrap servers: {started['bootstrap_servers']}" in run("status", *folder)
        assert len(run("logs", *folder, "-n", "3").splitlines()) == 3
    finally:
        stopped = json.loads(run("stop", *folder, "--json"))
    assert stopped["running"] is False
    assert stopped["bootstrap_servers"] == started["bootstrap_servers"]
    assert "running: no" in run("status", *folder, code=1)


def test_the_status_of_a_missing_broker_exits_with_1(tmp_path: Path) -> None:
    status = json.loads(run("status", "--data-dir", str(tmp_path / "none"), "--json", code=1))
    assert (status["running"], status["bootstrap_servers"]) == (False, None)
    assert run("logs", "--data-dir", str(tmp_path / "none")) == ""


@pytest.mark.parametrize("command", ["start", "stop", "status", "logs"])
def test_every_command_has_an_example(command: str) -> None:
    assert f"Example: stream-app broker {command}" in run(command, "--help")
