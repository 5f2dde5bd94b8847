"""`keys list` and wrong command lines of `keys`, without a cluster."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream_app.cli import app
from stream_app.model_store.key_files import create_key, key_paths, revoke_key, rotate_key
from stream_app.settings import load_settings


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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Data folder with the keys, for commands in this process."""
    monkeypatch.setenv("STREAM_APP_DATA_DIR", str(tmp_path))
    load_settings.cache_clear()
    yield tmp_path
    load_settings.cache_clear()


def test_revoked_keys_are_listed_with_author_and_reason(folder: Path) -> None:
    places = key_paths(load_settings(), "flights")
    first, second = create_key(places), rotate_key(places)
    revoke_key(places, first.id, "ann@host", "its disk was stolen")
    shown, as_json = (
        CliRunner().invoke(app, ["keys", "list", "flights", *options]).stdout
        for options in ((), ("--json",))
    )
    assert "in use" in shown
    assert "its disk was stolen" in shown
    found = {fact["id"]: fact for fact in json.loads(as_json)}
    assert (found[first.id]["revoked"]["who"], found[second.id]["signs"]) == ("ann@host", True)


def test_an_empty_list_says_that_the_learner_creates_the_first_key(folder: Path) -> None:
    shown = CliRunner().invoke(app, ["keys", "list", "flights"]).stdout
    assert f"There is no key in {folder / 'keys' / 'flights' / 'trusted'}" in shown
