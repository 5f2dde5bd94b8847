"""Checks of a system that gets hostile records: outcomes, commands, metrics, and quality."""

import json
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any

import orjson
import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.running_system import System, headers

Position = tuple[int, int]

COMMANDS = (
    ("status", "PIPELINE"),
    ("status", "PIPELINE", "--json"),
    ("status", "PIPELINE", "--check"),
    ("doctor", "PIPELINE"),
    ("dead-letters", "groups", "PIPELINE"),
    ("dead-letters", "groups", "PIPELINE", "--json"),
    ("dead-letters", "list", "PIPELINE"),
    ("dead-letters", "list", "PIPELINE", "--json", "--limit", "300"),
    ("dead-letters", "list", "PIPELINE", "--where", "len(headers) > 30"),
    ("dead-letters", "show", "PIPELINE", "--limit", "100"),
    ("dead-letters", "show", "PIPELINE", "--limit", "300", "--json"),
    ("dead-letters", "try", "PIPELINE"),
    ("dead-letters", "replay", "PIPELINE", "--code", "wrong-type"),
    ("dead-letters", "export", "PIPELINE", "--to", "NEW_FILE"),
    ("dead-letters", "drop", "PIPELINE", "--where", "b'\\xff' in (value or b'')"),
    ("dead-letters", "park", "PIPELINE", "--code", "key-mismatch", "--yes", "--why", "\x1b[2J"),
    ("dead-letters", "status", "PIPELINE"),
    ("models", "list", "PIPELINE"),
    ("models", "show", "PIPELINE"),
    ("models", "audit", "PIPELINE"),
    ("models", "verify", "PIPELINE"),
    ("models", "gc", "PIPELINE"),
    ("keys", "list", "PIPELINE"),
    ("learning", "status", "PIPELINE"),
    ("alarms", "list", "PIPELINE", "--all"),
    ("topics", "show", "PIPELINE"),
    *(
        ("consume", "PIPELINE", kind, "--from-beginning", "--until-end", *options)
        for kind in (
            "raw",
            "labels",
            "scored",
            "dead-letters",
            "monitoring",
            "alarms",
            "examples",
            "models",
        )
        for options in (("--limit", "2000"), ("--json", "--limit", "5000"))
    ),
)
# `doctor` finds a problem, nothing is selected, or a replay would fail.
ALLOWED = {0, 15, 18, 19}


def check_outcomes_by_offset(system: System, event_id: Callable[[bytes], str]) -> None:
    """Checks that every offset of events and labels has exactly one outcome.

    Args:
        system: the system, which has read everything.
        event_id: returns the id in the value of a valid event or label.
    """
    system.check_outcomes()
    counts = system.record_counts()
    dead = {kind: dead_positions(system, kind) for kind in ("raw", "labels")}
    scored: dict[Position, str] = {}
    for value in system.values("scored"):
        source = value["source"]
        assert source["topic"] == f"{system.name}.raw"
        position = source["partition"], source["offset"]
        assert position not in scored
        scored[position] = value["event_id"]
    assert not scored.keys() & dead["raw"]
    first = {(position[0], name): position[1] for position, name in scored.items()}
    duplicates = 0
    for message in system.read("raw"):
        position = message.partition() or 0, message.offset() or 0
        if position not in scored and position not in dead["raw"]:
            duplicates += 1
            earlier = first[position[0], event_id(message.value() or b"")]
            assert earlier < position[1], position
    assert duplicates == counts.duplicates
    assert len(system.read("raw")) == system.sent["raw"] == counts.events
    check_labels(system, dead["labels"], event_id, set(scored.values()))


def check_labels(
    system: System, dead: set[Position], event_id: Callable[[bytes], str], scored: set[str]
) -> None:
    """Checks that the labels that are no dead letters are those that the record counts name."""
    counts = system.record_counts()
    alive = Counter(
        event_id(message.value() or b"")
        for message in system.read("labels")
        if (message.partition() or 0, message.offset() or 0) not in dead
    )
    assert len(system.read("labels")) == system.sent["labels"] == counts.labels
    assert alive.total() == (
        counts.joined + counts.label_duplicates + counts.label_expired + counts.waiting
    )
    joined = {value["event_id"] for value in system.values("examples")}
    assert len(joined) == counts.joined
    assert joined <= alive.keys() & scored
    assert counts.waiting <= len(alive.keys() - scored)


def dead_positions(system: System, kind: str) -> set[Position]:
    """Returns the positions of the records of an input that became dead letters."""
    found = set()
    for message in system.read("raw.dlq" if kind == "raw" else "labels.dlq"):
        origin = headers(message)
        assert origin["stream-app-original-topic"] == f"{system.name}.{kind}"
        found.add(
            (
                int(origin["stream-app-original-partition"]),
                int(origin["stream-app-original-offset"]),
            )
        )
    return found


class Visitor:
    """Runs every command in turn and reads the metrics, as an operator does meanwhile.

    Args:
        system: the system.
        ids: ids of events to explain; the list may grow.
    """

    def __init__(self, system: System, ids: Sequence[str]) -> None:
        self.visits = Counter[str]()
        self._system = system
        self._ids = ids
        self._commands = cycle(COMMANDS)
        self._explained = 0

    @property
    def rounds(self) -> int:
        """Number of times that every command has run."""
        return self.visits.total() // (len(COMMANDS) + 1)

    def visit(self) -> None:
        """Runs the next command, and after the last of them explains some events."""
        self.run(*next(self._commands))
        if self.visits.total() % (len(COMMANDS) + 1) == len(COMMANDS):
            # A command line has no NUL.
            ids = [one for one in self._ids if "\0" not in one and not one.startswith("-")]
            for name in ids[self._explained :: max(1, len(ids) // 4)][:4]:
                self.run("explain", "PIPELINE", name, count=False)
            self._explained += 1
            self.run("explain", "PIPELINE", "nobody")
            self.read_metrics()

    def run(self, *words: str, count: bool = True) -> str:
        """Runs a command, which must end well and write no control characters."""
        new_file = str(self._system.folder / f"exported-{self.visits.total()}")
        done = self._system.command(*(new_file if word == "NEW_FILE" else word for word in words))
        said = f"{words}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert done.returncode in ALLOWED, said
        assert "Traceback" not in done.stdout + done.stderr, said
        assert "\x1b" not in done.stdout, said
        if "--json" in words:
            for line in done.stdout.strip("\n").split("\n"):
                orjson.loads(line)
        self.visits[words[0]] += count
        return done.stdout

    def read_metrics(self) -> None:
        """Reads the metrics of every worker in Prometheus' format."""
        folder = self._system.settings.data_dir / "run" / self._system.name
        for worker in self._system.workers:
            served = json.loads((folder / f"{worker}.json").read_text())
            url = f"http://{served['host']}:{served['port']}/metrics"
            with urllib.request.urlopen(url, timeout=10) as answer:
                families = list(text_string_to_metric_families(answer.read().decode()))
            assert len(families) > 5, worker


def process_ids(system: System) -> dict[str, int]:
    """Returns the process id of every worker, all of which must run."""
    for worker, process in system.workers.items():
        assert process.poll() is None, system.log(worker)
        assert psutil.pid_exists(process.pid)
    return {worker: process.pid for worker, process in system.workers.items()}


def scores(system: System) -> dict[str, float]:
    """Returns the served scores by event id."""
    return {value["event_id"]: value["score"] for value in system.values("scored")}


def roc_auc(scores: Mapping[str, float], labels: Iterable[tuple[str, bool]]) -> float:
    """Returns the area under the ROC curve, from ranks; ties count half."""
    pairs = sorted((scores[name], label) for name, label in labels)
    positive = sum(label for _, label in pairs)
    total, at = 0.0, 0
    while at < len(pairs):
        end = at
        while end < len(pairs) and pairs[end][0] == pairs[at][0]:
            end += 1
        total += (at + end + 1) / 2 * sum(label for _, label in pairs[at:end])
        at = end
    return (total - positive * (positive + 1) / 2) / (positive * (len(pairs) - positive))


def json_id(value: bytes) -> Any:
    """Returns the id in a valid JSON record of the flights."""
    return orjson.loads(value)["event_id"]
