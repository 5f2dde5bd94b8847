"""A pipeline with dead letters, and the commands that act on them, run as people run them."""

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

def mend(letter):
    fields = letter.record
    fields["amount"] = fields.pop("total")
    return json.dumps(fields).encode()
"""


DECLARED = """
from tests.small_pipeline import small_pipeline
pipeline = small_pipeline("NAME", breaker=None)  # which would wait before it makes more dead letters
"""


def renamed(number: int, at: int) -> bytes:
    """An event whose producer calls a field by another name."""
    fields = event(number, at)
    fields["total"] = fields.pop("amount")
    return orjson.dumps(fields)


class Desk(System):
    """A system whose dead letters are acted on, by one test after the other.

    What a test sees and selects is its own: since `begin`, its events are numbered from `first`, at `now` (epoch
    milliseconds).
    """

    def __init__(self, broker: EmbeddedBroker, folder: Path, **topics: Any) -> None:
        super().__init__(
            broker.bootstrap_servers, folder, f"replay-{uuid4().hex[:8]}", DECLARED, **topics
        )
        self.now = int(time.time() * 1000) - 3_600_000
        self.first = 0
        self.begin()

    def __enter__(self) -> "Desk":
        return self

    def begin(self) -> None:
        """Forget what was there before."""
        time.sleep(0.002)  # so that times tell
        self.first += 10_000
        self.since = datetime.now(UTC).isoformat()
        self._audits = len(self.read("audit"))
        self.before = self.books()
        (self.folder / "mend.py").write_text(EDIT)

    @property
    def mend(self) -> tuple[str, str]:
        """The edit that mends letters."""
        return "--edit", f"{self.folder / 'mend.py'}:mend"

    def act(self, *words: str, code: int = 0) -> Any:
        """A command of `dead-letters` with --json; what it printed, or its last line where an error is expected."""
        done = self.command("dead-letters", words[0], "PIPELINE", *words[1:], "--json", timeout=240)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if code == 0 else done.stderr.splitlines()[-1]

    def select(self, command: str, *words: str, code: int = 0) -> Any:
        """The same for the test's own letters."""
        return self.act(command, "--since", self.since, *words, code=code)

    def replay(self, *words: str, code: int = 0) -> Any:
        """`replay` with --yes; counts the records that it sent among those that need an outcome."""
        found = self.select("replay", *words, "--yes", "--why", "test", code=code)
        if code == 0 and "outcome" in found:
            self.sent["raw"] += found["outcome"]["sent"]
        return found.get("outcome") if code == 0 else found

    def spawn(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command; its log is in the folder."""
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
        """The id of the replay that is being sent."""
        (found,) = [act["id"] for act in self.act("status") if act["state"] == "sending"]
        return str(found)

    def send_renamed(self, count: int, timeout: float = 60.0) -> None:
        """Events that become dead letters, and that `mend.py:mend` mends."""
        for number in range(self.first, self.first + count):
            self.send("raw", renamed(number, self.now + number), f"e{number}".encode())
        self.settle(timeout)

    def audits(self) -> list[tuple[str, int, str]]:
        """What was done, to how many letters, why: oldest first."""
        return [
            (one["act"], one["counts"]["letters"], one["why"])
            for one in self.values("audit")[self._audits :]
        ]

    def changed(self, name: str) -> int:
        """By how much a tally has grown."""
        return int(getattr(self.books(), name) - getattr(self.before, name))
