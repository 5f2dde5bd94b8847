"""The page "Attach to a topic that you do not own" is run as it stands, on a broker."""

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from stream_app.broker import EmbeddedBroker
from tests.docs.documents import Document
from tests.patience import PATIENCE
from tests.running_system import ROOT, read_topic
from tests.test_first_hour import Cluster, FirstHour

PAGE = Document(ROOT / "docs" / "attach.md")
ADDRESS = "localhost:9092"
SECONDS = 180.0


def commands() -> Iterator[list[str]]:
    """Yield the words of the page's commands, in their order."""
    for block in PAGE.blocks:
        if block.language == "sh":
            yield from (line.split() for line in block.text.splitlines())


def shown_lines() -> Iterator[str]:
    """Yield the lines of output that the page shows."""
    for block in PAGE.blocks:
        if block.language == "text":
            yield from block.text.splitlines()


class Reader:
    """Reader of the page who runs its commands in a folder.

    Attributes:
        output: what the commands have shown.
        waited: texts that `status` must show before the next command.
    """

    def __init__(self, folder: Path, servers: str) -> None:
        self.output = ""
        self._servers = servers
        self._user = FirstHour(
            folder, "fraud", Cluster({"STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": servers})
        )
        self._folder = folder
        self.up: subprocess.Popen[str] | None = None

    def run(self, words: list[str]) -> None:
        """Run a command of the page as a shell would."""
        match words:
            case ["export", *_] | ["stream-app", "broker", *_]:
                # The broker of the tests has another address.
                assert words[-1].endswith(ADDRESS) or words[-1] == ADDRESS.rpartition(":")[2]
            case ["cd", folder]:
                self._folder /= folder
            case ["python", *arguments]:
                changed = [word.replace(ADDRESS, self._servers) for word in arguments]
                self.output += subprocess.check_output(
                    [sys.executable, *changed], cwd=self._folder, text=True
                )
            case ["stream-app", "up", *arguments]:
                self.up = self._user.start("up", *arguments, stderr=subprocess.DEVNULL)
            case ["stream-app", "status", *_]:
                self.output += self._until_learned(words[1:])
            case ["stream-app", *arguments]:
                self.output += self._user.run(*arguments, cwd=self._folder)
            case _:
                raise AssertionError(words)

    def _until_learned(self, words: list[str]) -> str:
        deadline = time.monotonic() + SECONDS * PATIENCE
        wanted = re.findall(r"^\| \w+ \| `(.+)` \|$", PAGE.text, re.MULTILINE)
        assert len(wanted) == 3
        while True:
            status = self._user.run(*words, cwd=self._folder)
            # Rows that are too wide continue in the next line.
            shown = " ".join(status.split())
            if all(text in shown for text in wanted):
                return status
            assert time.monotonic() < deadline, status
            # Each look takes seconds of the processor that the workers need.
            time.sleep(4)


@pytest.mark.broker
def test_each_order_is_scored_and_each_verdict_is_learned(
    tmp_path: Path, broker: EmbeddedBroker
) -> None:
    (program,) = (block.text for block in PAGE.blocks if block.language == "python")
    (tmp_path / "shop.py").write_text(program)
    reader = Reader(tmp_path, broker.bootstrap_servers)
    try:
        for words in commands():
            reader.run(words)
    finally:
        if reader.up is not None:
            reader.up.terminate()
            reader.up.wait(30 * PATIENCE)
    lines = reader.output.splitlines()
    missing = [line for line in shown_lines() if line not in lines]
    assert not missing
    assert "CHOOSE" not in reader.output
    check_topics(broker.bootstrap_servers)


def check_topics(servers: str) -> None:
    """Check by their ids that each record of the other team has become what it must."""
    orders = [orjson.loads(one.value() or b"") for one in read_topic(servers, "shop.orders")]
    verdicts = [orjson.loads(one.value() or b"") for one in read_topic(servers, "shop.verdicts")]
    scored = [orjson.loads(one.value() or b"") for one in read_topic(servers, "fraud.scored")]
    examples = [orjson.loads(one.value() or b"") for one in read_topic(servers, "fraud.examples")]
    assert Counter(one["event_id"] for one in scored) == Counter(
        one["order"]["id"] for one in orders
    )
    assert len(orders) == 3000
    times = {one["order"]["id"]: one["payment"]["ts"] * 1000 for one in orders}
    assert {one["event_id"]: one["event_time"] for one in scored} == times
    learned = {one["event_id"]: one["label"] for one in examples if one["kind"] == "example"}
    assert learned == {one["order"]: one["fraud"] == 1 for one in verdicts}
    assert len(learned) == len(verdicts) == 2800
    for kind in ("raw.dlq", "labels.dlq"):
        assert not list(read_topic(servers, f"fraud.{kind}"))
    places = Counter((one["origin"]["partition"], one["origin"]["offset"]) for one in scored)
    assert len(places) == len(orders)
