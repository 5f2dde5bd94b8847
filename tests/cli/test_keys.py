"""`keys` as typed, without a cluster: what is listed, and which command lines are wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream_app.cli import app
from stream_app.models.keys import create_key, key_places, revoke_key, rotate_key
from stream_app.settings import Settings
from tests.system import ROOT


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("keys create flights", "--why"),
        ("keys rotate flights --why ", "say why"),
        ("keys revoke flights --why stolen", "KEY"),
    ],
)
def test_a_wrong_command_line_ends_with_2(arguments: str, expected: str) -> None:
    result = CliRunner().invoke(app, arguments.split(" "))
    assert (result.exit_code, expected in result.stderr) == (2, True), result.stderr


def test_keys_are_listed_with_who_revoked_them_and_why(tmp_path: Path) -> None:
    places = key_places(Settings(data_dir=tmp_path), "flights")
    first, second = create_key(places), rotate_key(places)
    revoke_key(places, first.id, "ann@host", "its disk was stolen")
    environment = os.environ | {"STREAM_APP_DATA_DIR": str(tmp_path)}

    def run(*options: str) -> str:
        command = [sys.executable, "-m", "stream_app", "keys", "list", "flights", *options]
        return subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, check=True).stdout

    found = {fact["id"]: fact for fact in json.loads(run("--json"))}
    assert (found[first.id]["revoked"]["who"], found[second.id]["signs"]) == ("ann@host", True)
    shown = run()
    assert "in use" in shown
    assert "its disk was stolen" in shown
