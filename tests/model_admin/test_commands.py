"""Tests the output, exit codes and speed of the commands `models` and `learning`."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stream_app.broker import EmbeddedBroker
from stream_app.cli import app
from stream_app.kafka.clients import make_admin
from stream_app.kafka.topics import create_topics
from tests.cli.test_commands import Commands
from tests.model_admin.decision_setup import VersionedSystem
from tests.patience import PATIENCE

pytestmark = pytest.mark.broker

UNREACHABLE = {"STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
# Most of it is the start of Python on a busy machine.
COMMAND_SECONDS = 10.0 * PATIENCE


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("models rollback flights", "--why"),
        ("models rollback flights --why ", "say why"),
        ("models promote flights 12 --yes", "say why"),
        ("models show flights newest", "VERSION"),
        ("learning pause flights", "--why"),
        ("learning pause flights --source bank --why x", "flights has no source of labels"),
        ("learning exclude flights yesterday --why x", "is no span of time"),
        ("learning exclude flights 2h..3h --why x", "FROM must be before TO"),
        ("learning exclude flights 3h..2h --why x --source bank", "has no source of labels"),
        ("learning include flights first --why x", "NUMBER"),
        ("models gc flights --grace -1", "--grace"),
        ("monitor window flights 2h --why test", "15min"),
        ("monitor window flights 1h", "--why"),
    ],
)
def test_a_wrong_command_line_ends_with_2(arguments: str, expected: str) -> None:
    result = CliRunner().invoke(app, arguments.split(" "))
    assert result.exit_code == 2
    assert expected in result.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "expected"),
    [
        ("models list PIPELINE", UNREACHABLE, 5, "cannot be reached"),
        (
            "learning pause PIPELINE --why test",
            {},
            6,
            "does not exist. Run `stream-app topics create PIPELINE`",
        ),
        ("monitor calibrate PIPELINE", UNREACHABLE, 5, "cannot be reached"),
        ("monitor calibrate PIPELINE", {}, 6, "Run `stream-app topics create PIPELINE`"),
    ],
)
def test_a_missing_cluster_or_topic_is_one_line_on_standard_error(
    tmp_path: Path,
    broker: EmbeddedBroker,
    arguments: str,
    environment: dict[str, Any],
    code: int,
    expected: str,
) -> None:
    output, errors = Commands(tmp_path, broker).run(*arguments.split(), code=code, **environment)
    assert (output, len(errors.splitlines())) == ("", 1)
    assert expected in errors


@pytest.mark.faults
def test_commands_of_a_pipeline_without_a_version(tmp_path: Path, broker: EmbeddedBroker) -> None:
    commands = Commands(tmp_path, broker)
    create_topics(make_admin(commands.settings), commands.name, commands.settings)
    assert "0 versions; none is served." in commands.run("models", "list", "PIPELINE")[0]
    assert "The audit is empty." in commands.run("models", "audit", "PIPELINE")[0]
    for words, code, expected in (
        ("models show PIPELINE", 7, "No model version is served yet"),
        ("models diff PIPELINE 3", 7, "no model version 3: there is none yet"),
        ("models rollback PIPELINE --why test", 7, "No model version is served yet"),
        ("models promote PIPELINE 3", 7, "no model version 3"),
        ("learning resume PIPELINE --why test", 20, "Learning is not paused"),
    ):
        errors = commands.run(*words.split(), code=code)[1]
        assert (len(errors.splitlines()), expected in errors) == (1, True), errors


@pytest.fixture
def system(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[VersionedSystem]:
    with VersionedSystem(broker, tmp_path) as versioned:
        versioned.start_all()
        versioned.learn(4)
        yield versioned


def typed(system: VersionedSystem, *words: str, code: int = 0) -> str:
    """Return what a command prints; PIPELINE stands for the pipeline's file."""
    done = system.command(*words)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr.splitlines()[-1]


def typed_json(system: VersionedSystem, *words: str) -> Any:
    return json.loads(typed(system, *words, "--json"))


@pytest.mark.faults
def test_list_show_diff_pin_rollback_resume_and_promote(system: VersionedSystem) -> None:
    listed = typed_json(system, "models", "list", "PIPELINE")
    *_, older, before, served = (version["version"] for version in listed["versions"])
    assert listed["served"] == served
    assert f"version {served} is served." in typed(
        system, "models", "list", "PIPELINE", "--limit", "2"
    )
    assert typed_json(system, "models", "show", "PIPELINE")["problem"] is None
    assert "it loads" in typed(system, "models", "show", "PIPELINE", str(before))
    assert typed_json(system, "models", "diff", "PIPELINE", str(before))["b"] == served
    assert "log_loss" in typed(system, "models", "diff", "PIPELINE", str(before), str(served))

    assert (
        f"version {before} is pinned"
        in typed(system, "models", "pin", "PIPELINE", str(before), "--why", "x").lower()
    )
    started = time.monotonic()
    rolled = typed_json(system, "models", "rollback", "PIPELINE", "--why", "bad labels", "--pause")
    command = time.monotonic() - started
    seconds = system.serves(before)
    assert seconds < 3.0 * PATIENCE
    assert (rolled["before"], rolled["after"], rolled["paused"]) == (served, before, True)
    assert command + seconds < COMMAND_SECONDS
    assert "is served already" in typed(
        system, "models", "rollback", "PIPELINE", "--to", str(before), "--why", "x", code=20
    )
    assert typed_json(system, "learning", "status", "PIPELINE")["why"] == "bad labels"
    assert "Learning is resumed." in typed(
        system, "learning", "resume", "PIPELINE", "--why", "corrected"
    )

    dry = typed_json(system, "models", "promote", "PIPELINE", str(older))
    assert (dry["done"], dry["evaluation"]["n"]) == (False, 160)
    assert "is served now" in typed(
        system, "models", "promote", "PIPELINE", str(older), "--yes", "--why", "better"
    )
    system.serves(older)
    entries = typed_json(system, "models", "audit", "PIPELINE")
    operations = [entry["operation"] for entry in entries]
    assert operations == ["pin", "rollback", "pause", "resume", "promote"]
    assert "better" in typed(system, "models", "audit", "PIPELINE", "--limit", "1")


@pytest.mark.faults
def test_a_rollback_without_a_store_needs_force(system: VersionedSystem) -> None:
    before = next(system.registry.ancestors(system.registry.served or 0)).version
    store = system.settings.data_dir / "store" / system.name
    aside = store.rename(store.with_name("aside"))
    store.write_bytes(b"")
    try:
        rejected = typed(system, "models", "rollback", "PIPELINE", "--why", "test", code=3)
        assert "The artifact store" in rejected
        typed(system, "models", "rollback", "PIPELINE", "--why", "test", "--force")
    finally:
        store.unlink()
        aside.rename(store)
    system.serves(before)
