"""A running pipeline with dead letters, and the commands that change their state."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from stream_app.broker import EmbeddedBroker
from tests.running_system import ROOT, System
from tests.small_pipeline import event

EDIT = """
import json

def fix(dead_letter):
    fields = dead_letter.record
    fields["amount"] = fields.pop("total")
    return json.dumps(fields).encode()
"""


# With a breaker, the scorers would pause before they make more dead letters.
PIPELINE = """
from tests.small_pipeline import small_pipeline
pipeline = small_pipeline("NAME", breaker=None)
"""


def renamed(number: int, at: int) -> bytes:
    """Return an event whose producer has renamed the field amount to total."""
    fields = event(number, at)
    fields["total"] = fields.pop("amount")
    return orjson.dumps(fields)


class DeadLetterSystem(System):
    """A system shared by several tests; each selects only its own dead letters.

    Attributes:
        first: number of the test's first event.
        now: event time of the test's events in Unix milliseconds.
        since: time of `begin` in ISO 8601.
    """

    def __init__(self, broker: EmbeddedBroker, folder: Path, **topics: Any) -> None:
        name = f"replay-{uuid4().hex[:8]}"
        super().__init__(broker.bootstrap_servers, folder, name, PIPELINE, **topics)
        self.now = int(time.time() * 1000) - 3_600_000
        self.first = 0
        self.begin()

    def __enter__(self) -> "DeadLetterSystem":
        return self

    def begin(self) -> None:
        """Begin a test: everything from before is ignored."""
        # The times of two tests must differ.
        time.sleep(0.002)
        self.first += 10_000
        self.since = datetime.now(UTC).isoformat()
        self._audit_entries = len(self.read("audit"))
        self.before = self.record_counts()
        (self.folder / "fix.py").write_text(EDIT)

    @property
    def fix(self) -> tuple[str, str]:
        """The option of an edit that fixes renamed events."""
        return "--edit", f"{self.folder / 'fix.py'}:fix"

    def run(self, *words: str, code: int = 0) -> Any:
        """Run a command of `dead-letters`; returns its JSON, or the last line of an error."""
        done = self.command("dead-letters", words[0], "PIPELINE", *words[1:], "--json")
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if code == 0 else done.stderr.splitlines()[-1]

    def select(self, command: str, *words: str, code: int = 0) -> Any:
        """Run a command for the dead letters of the test."""
        return self.run(command, "--since", self.since, *words, code=code)

    def replay(self, *words: str, code: int = 0) -> Any:
        """Run `replay --yes`, and expect an outcome for each record that it sent."""
        found = self.select("replay", *words, "--yes", "--why", "test", code=code)
        if code == 0 and "outcome" in found:
            self.sent["raw"] += found["outcome"]["sent"]
        return found.get("outcome") if code == 0 else found

    def spawn(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command in the background; its log is operator.log in the folder."""
        arguments = [str(self.pipeline) if word == "PIPELINE" else word for word in words]
        with (self.folder / "operator.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "stream_app", *arguments],
                cwd=ROOT,
                env=os.environ | self._settings_environment(),
                stdout=log,
                stderr=log,
            )

    def unfinished(self) -> str:
        """Return the id of the only replay that is being sent."""
        (found,) = [one["id"] for one in self.run("status") if one["state"] == "sending"]
        return str(found)

    def send_renamed(self, count: int, timeout: float = 60.0) -> None:
        """Send events that become dead letters, and that the edit fixes."""
        for number in range(self.first, self.first + count):
            self.send("raw", renamed(number, self.now + number), f"e{number}".encode())
        self.await_outcomes(timeout)

    def audit_entries(self) -> list[tuple[str, int, str]]:
        """Return operation, number of dead letters and reason of the test's audit entries."""
        return [
            (one["operation"], one["counts"]["dead_letters"], one["why"])
            for one in self.values("audit")[self._audit_entries :]
        ]

    def changed(self, name: str) -> int:
        """Return by how much a record count has grown since `begin`."""
        return int(getattr(self.record_counts(), name) - getattr(self.before, name))
