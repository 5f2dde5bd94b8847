"""Commands `schemas check` and `schemas register`."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.in_process import ROOT, run_in_process
from tests.small_pipeline import EVENT_SCHEMA

BROKEN = {**EVENT_SCHEMA, "fields": [*EVENT_SCHEMA["fields"], {"name": "shop", "type": "string"}]}
ERROR = (
    "The schema of payments.raw-value cannot read records of version 1: "
    "field shop: it is new and has no default"
)


class Commands:
    """Runs the program in a folder with a pipeline and a folder registry."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = folder / "registry"
        self.registry.mkdir()
        self.declare(EVENT_SCHEMA)
        (folder / "payments.py").write_text(
            "from tests.small_pipeline import small_pipeline\n"
            "pipeline = small_pipeline(schema='payment.avsc')\n"
        )

    def declare(self, schema: dict[str, Any]) -> None:
        """Change the pipeline's schema."""
        (self.folder / "payment.avsc").write_text(json.dumps(schema))

    def run(self, *words: str, code: int = 0, url: str | None = None) -> tuple[str, str]:
        """Return standard output and error of `stream-app schemas ...`, which exits with `code`."""
        environment = {
            "PYTHONPATH": str(ROOT),
            "STREAM_APP_REGISTRY__URL": url or self.registry.as_uri(),
        }
        done = run_in_process("schemas", *words, folder=self.folder, environment=environment)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout, done.stderr


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


def test_schemas_are_registered_and_an_incompatible_one_is_rejected(commands: Commands) -> None:
    assert commands.run("check", "payments.py")[0].splitlines() == [
        f"payments.{kind}-value: new, versions: 0"
        for kind in ("raw", "labels", "scored", "monitoring")
    ]
    registered = json.loads(commands.run("register", "payments.py", "--json")[0])
    assert registered[0] == {"subject": "payments.raw-value", "id": 1, "result": "registered"}
    commands.declare(BROKEN)
    output, errors = commands.run("check", "payments.py", code=14)
    assert output.splitlines()[:2] == [
        "payments.raw-value: incompatible, versions: 1",
        "  version 1: field shop: it is new and has no default. Give it a default",
    ]
    assert errors == f"error: {ERROR}. Give it a default\n"
    assert commands.run("register", "payments.py", code=14) == ("", errors)
    assert len(list(commands.registry.glob("*.avsc"))) == 4


def test_schemas_can_be_checked_against_a_file_without_a_registry(commands: Commands) -> None:
    (commands.folder / "released.avsc").write_text(json.dumps(EVENT_SCHEMA))
    commands.declare(BROKEN)
    output, errors = commands.run(
        "check", "payments.py", "--against", "released.avsc", "--json", code=14, url="http://x"
    )
    results = {one["subject"]: one for one in json.loads(output)}
    assert results["payments.raw-value"]["problems"] == [
        {
            "version": 1,
            "field": "shop",
            "reason": "it is new and has no default",
            "remedy": "Give it a default",
        }
    ]
    assert results["payments.labels-value"]["result"] == "new"
    assert ERROR in errors
