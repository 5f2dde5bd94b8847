"""`topics`, `produce` and `consume`: output, errors and exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stream_app.broker import EmbeddedBroker
from stream_app.cli import app
from stream_app.kafka.topics import create_topics
from stream_app.loading import load_pipeline
from stream_app.topic_kinds import KINDS, SOURCE_KINDS
from tests.in_process import run_in_process
from tests.patience import PATIENCE
from tests.running_system import ROOT
from tests.transfer.clusters import admin, send, settings_for, unique_name

pytestmark = pytest.mark.broker


class Commands:
    """The program with its own pipeline file and broker."""

    def __init__(self, folder: Path, broker: EmbeddedBroker) -> None:
        self.name = unique_name()
        self.settings = settings_for(broker)
        self.pipeline = folder / "declared.py"
        self.pipeline.write_text(
            "from tests.small_pipeline import small_pipeline\n"
            f"pipeline = small_pipeline('{self.name}')\n"
        )
        self.environment = {
            "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "PYTHONPATH": str(ROOT),
        }

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command in a process; PIPELINE stands for the pipeline's file."""
        return subprocess.Popen(
            [sys.executable, "-m", "stream_app", *self._words(arguments)],
            cwd=ROOT,
            env=os.environ | self.environment | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        *arguments: str,
        typed: str = "",
        code: int = 0,
        own_process: bool = False,
        **environment: str,
    ) -> tuple[str, str]:
        """Return standard output and error of a command that ends with `code`.

        Args:
            own_process: True to start a process, False to run in that of the test.
        """
        if own_process:
            with self.start(*arguments, **environment) as process:
                output, errors = process.communicate(typed, timeout=60 * PATIENCE)
            ended = process.returncode
        else:
            variables = self.environment | environment
            done = run_in_process(*self._words(arguments), typed=typed, environment=variables)
            ended, output, errors = done.returncode, done.stdout, done.stderr
        assert ended == code, (output, errors)
        assert "Traceback" not in errors
        return output, errors

    def _words(self, arguments: tuple[str, ...]) -> list[str]:
        return [str(self.pipeline) if word == "PIPELINE" else word for word in arguments]

    def json(self, *arguments: str, **options: Any) -> Any:
        """Return what a command writes with --json."""
        return json.loads(self.run(*arguments, "--json", **options)[0])


@pytest.fixture
def commands(tmp_path: Path, broker: EmbeddedBroker) -> Commands:
    return Commands(tmp_path, broker)


def test_produced_records_are_consumed(commands: Commands, tmp_path: Path) -> None:
    created = commands.json("topics", "create", "PIPELINE", own_process=True)
    assert [topic["result"] for topic in created] == ["created"] * (len(KINDS) - len(SOURCE_KINDS))
    shown = commands.run("topics", "show", "PIPELINE", own_process=True)[0].splitlines()
    assert shown[0].startswith(
        f"{commands.name}.raw: partitions: 4, cleanup.policy: delete, retention.ms: 604800000"
    )

    typed = '{"id": "a"}\n{broken\n{"id": "b"}\n'
    output, errors = commands.run("produce", "PIPELINE", "-", typed=typed, code=1, own_process=True)
    assert output == f"{commands.name}.raw: 2 produced, 1 bad, 0 failed\n"
    assert errors.startswith("line 2: not JSON")

    (tmp_path / "labels.csv").write_text("id,fraud,known_at\na,true,1700000000000\n")
    summary = commands.json(
        "produce", "PIPELINE", str(tmp_path / "labels.csv"), "--labels", "--rate", "100"
    )
    assert summary == {
        "topic": f"{commands.name}.labels",
        "produced": 1,
        "bad": 0,
        "failed": 0,
        "unconfirmed": 0,
        "unlabelled": 0,
        "bad_lines": [],
        "failed_lines": [],
        "unconfirmed_lines": [],
        "complete_until": None,
    }

    label = commands.json("consume", "PIPELINE", "labels", "--until-end", own_process=True)
    assert label["value"] == {"id": "a", "fraud": True, "known_at": 1_700_000_000_000}
    assert (label["key"], label["headers"], label["topic"]) == ("a", {}, f"{commands.name}.labels")
    lines = commands.run("consume", "PIPELINE", "raw", "--since", "1h", "--limit", "2")[
        0
    ].splitlines()
    assert sorted(line.split("  ")[2:] for line in lines) == [
        ["a", '{"id": "a"}'],
        ["b", '{"id": "b"}'],
    ]


def test_existing_topics_are_kept_and_never_changed(commands: Commands) -> None:
    assert (
        f"{commands.name}.raw: created, partitions: 4"
        in commands.run("topics", "create", "PIPELINE")[0]
    )
    assert (
        f"{commands.name}.raw: exists, partitions: 4"
        in commands.run("topics", "create", "PIPELINE")[0]
    )
    errors = commands.run(
        "topics", "create", "PIPELINE", code=6, STREAM_APP_TOPICS__PARTITIONS="5"
    )[1]
    assert len(errors.splitlines()) == 1
    assert "has 4 partitions and the settings ask for 5" in errors


def test_missing_topics_are_shown_as_missing(commands: Commands) -> None:
    assert (
        f"{commands.name}.models: missing"
        in commands.run("topics", "show", "PIPELINE")[0].splitlines()
    )
    assert not any(topic["exists"] for topic in commands.json("topics", "show", "PIPELINE"))


def test_ctrl_c_ends_consume_with_130(commands: Commands) -> None:
    with following(commands) as process:
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=10 * PATIENCE)
    assert (process.returncode, output, errors) == (130, "", "")


def test_consume_ends_without_an_error_when_its_output_is_closed(commands: Commands) -> None:
    with following(commands) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(10 * PATIENCE) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def following(commands: Commands) -> subprocess.Popen[str]:
    """Start a consumer that has shown the only record and waits for more."""
    create_topics(admin(commands.settings), commands.name, commands.settings)
    send(commands.settings, f"{commands.name}.raw", [b'{"id": "a"}'])
    process = commands.start("consume", "PIPELINE", "raw", "--from-beginning", "--json", "--follow")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["value"] == {"id": "a"}
    return process


def test_an_example_pipeline_is_loaded_by_its_name() -> None:
    assert (
        load_pipeline("flights").schema
        == load_pipeline("stream_app.examples.flights:pipeline").schema
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "expected"),
    [
        (
            "consume PIPELINE dead-letters",
            {},
            6,
            "does not exist. Run `stream-app topics create PIPELINE`",
        ),
        ("produce PIPELINE -", {}, 6, "does not exist. Run `stream-app topics create PIPELINE`"),
        (
            "produce PIPELINE absent.jsonl",
            {},
            11,
            "absent.jsonl cannot be read: No such file or directory. Give",
        ),
        ("topics create absent.py", {}, 4, "absent.py cannot be read"),
        (
            "consume PIPELINE raw",
            {"STREAM_APP_TOPICS__PARTITIONS": "0"},
            3,
            "STREAM_APP_TOPICS__PARTITIONS is invalid",
        ),
        (
            "consume PIPELINE raw",
            {"STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"},
            5,
            "cannot be reached",
        ),
        (
            "produce PIPELINE -",
            {"STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"},
            5,
            "cannot be reached",
        ),
    ],
)
def test_an_error_is_one_line_with_a_remedy(
    commands: Commands, arguments: str, environment: dict[str, str], code: int, expected: str
) -> None:
    started = time.monotonic()
    output, errors = commands.run(*arguments.split(), code=code, own_process=False, **environment)
    # How soon it ends depends on the load of the machine.
    assert time.monotonic() - started < 60
    assert output == ""
    assert len(errors.splitlines()) == 1
    assert errors.startswith("error: ")
    assert expected in errors


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            "consume flights raw --since yesterday",
            "Invalid value for --since: give 30s, 10m, 2h, 1d or 2026",
        ),
        ("consume flights raw --since 1h --from-beginning", "Invalid value for --since"),
        ("consume flights raw --follow --until-end", "Invalid value for --follow"),
        ("consume flights raw --limit 0", "--limit"),
        ("consume flights audit", "audit"),
        ("produce flights - --rate 0", "--rate"),
        (
            "models rollback flights",
            "error: Missing option '--why'. See `stream-app models rollback --help`",
        ),
        ("models pin flights", "Missing argument 'VERSION'. See `stream-app models pin --help`"),
        ("models rolback flights", "No such command 'rolback'. Did you mean 'rollback'?"),
        ("modles list flights", "No such command 'modles'. Did you mean 'models'?"),
        ("--verbose version", "No such option: --verbose. See `stream-app --help`"),
        ("models list flights --limt 3", "No such option: --limt"),
        ("status", "Missing argument 'PIPELINE'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_ends_with_2(arguments: str, expected: str) -> None:
    result = CliRunner().invoke(app, arguments.split(), prog_name="stream-app")
    assert result.exit_code == 2
    assert expected in result.stderr
    assert len(result.stderr.splitlines()) == 1
