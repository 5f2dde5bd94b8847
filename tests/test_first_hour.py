"""First hour of a user: `init`, edits for another data set, `try`, `up`, `produce`, `status`.

The data set is River's Bananas: 5,300 points in the plane in two classes that are not linearly
separable. The pipeline must score every event once and learn to predict the class.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from river import datasets, metrics

from stream_app.broker import EmbeddedBroker
from stream_app.kafka.acl import AclRole, required_acls
from tests.in_process import run_in_process
from tests.kafka.security.cluster import SecuredCluster
from tests.patience import PATIENCE
from tests.running_system import kafka_environment

# Unix milliseconds of the first point. One point per minute follows, its class ten minutes later.
START_MS = 1_740_960_000_000
MINUTE_MS = 60_000
HALF = 2650
# ROC AUC of the second half with a model that has learned the first; 0.95 was measured.
MIN_ROC_AUC = 0.93

SCHEMA = {
    "type": "record",
    "name": "Point",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "x", "type": "double"},
        {"name": "y", "type": "double"},
    ],
}
LABEL_SCHEMA = {
    "type": "record",
    "name": "Shape",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "known_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "banana", "type": "boolean"},
    ],
}
FEATURES = '''def features(point):
    """Return radial basis functions around 25 points."""
    x, y = point["x"], point["y"]
    return {
        f"near {a} {b}": exp(-((x - a) ** 2) - (y - b) ** 2)
        for a in range(-2, 3)
        for b in range(-2, 3)
    }
'''
CLEAN = 'CLEAN = (Between("x", -10.0, 10.0, otherwise="reject"),)\n'
MODEL = """def model():
    return linear_model.LogisticRegression(optim.AdaGrad(0.3))
"""


@dataclass(frozen=True)
class Cluster:
    """Cluster: environment variables of commands, and replacements in the pipeline file."""

    environment: Mapping[str, str]
    edits: Mapping[str, str] = field(default_factory=dict)


@pytest.fixture
def name() -> str:
    """Return the name of the pipeline."""
    return f"points-{uuid4().hex[:8]}"


@pytest.fixture
def plain(broker: EmbeddedBroker) -> Cluster:
    """Return the embedded broker, with JSON records."""
    return Cluster({"STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers})


@pytest.fixture
def secured_with_registry(name: str, secured: SecuredCluster, apicurio: str) -> Cluster:
    """Return a cluster with SCRAM over TLS and minimal permissions, with Avro records."""
    environment = kafka_environment(secured.user(required_acls(name, *AclRole)))
    edits = {'untrained="allowed"': 'untrained="allowed", format="avro"'}
    return Cluster(environment | {"STREAM_APP_REGISTRY__URL": apicurio}, edits)


@pytest.fixture(params=["plain", pytest.param("secured_with_registry", marks=pytest.mark.faults)])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Return the cluster of the fixture with that name."""
    found: Cluster = request.getfixturevalue(request.param)
    return found


class FirstHour:
    """Runs commands in the folder of the new pipeline."""

    def __init__(self, home: Path, name: str, cluster: Cluster) -> None:
        self.name = name
        self.folder = home / self.name
        self.pipeline = self.folder / f"{self.name}.py"
        self.run_folder = home / "data" / "run" / self.name
        self._environment = os.environ | {
            "STREAM_APP_DATA_DIR": str(home / "data"),
            **cluster.environment,
        }
        self._edits = cluster.edits

    def start(self, *arguments: str, **pipes: Any) -> subprocess.Popen[str]:
        """Start a command; PIPELINE is replaced by the pipeline file."""
        command = [sys.executable, "-m", "stream_app", *self._words(arguments)]
        return subprocess.Popen(command, cwd=self.folder, env=self._environment, text=True, **pipes)

    def _words(self, arguments: tuple[str, ...]) -> list[str]:
        return [str(self.pipeline) if word == "PIPELINE" else word for word in arguments]

    def run(self, *arguments: str, cwd: Path | None = None) -> str:
        """Return the standard output of a command that exits with 0."""
        done = run_in_process(
            *self._words(arguments), folder=cwd or self.folder, environment=self._environment
        )
        assert done.returncode == 0, (arguments, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout

    def lines(self, *arguments: str) -> list[Any]:
        """Return the output of a command with --json, by line."""
        return [json.loads(line) for line in self.run(*arguments, "--json").splitlines()]

    def edit(self) -> None:
        """Replace schemas, fields, features and model of the starter pipeline."""
        (self.folder / f"{self.name}.avsc").write_text(json.dumps(SCHEMA))
        (self.folder / f"{self.name}_label.avsc").write_text(json.dumps(LABEL_SCHEMA))
        text = self.pipeline.read_text()
        text = _with_block(text, r"def features\(payment\):\n(?:(?:    .*)?\n)+?(?=\n\n)", FEATURES)
        text = _with_block(text, r"def model\(\):\n(?:    .*\n)+", MODEL)
        text = _with_block(text, r"CLEAN = \(\n(?:    .*\n)+\)\n", CLEAN)
        replaced = {
            '"payment_id"': '"id"',
            '"paid_at"': '"at"',
            '"decided_at"': '"known_at"',
            '"fraud"': '"banana"',
            "from math import log": "from math import exp",
        }
        for before, after in (replaced | dict(self._edits)).items():
            assert text.count(before) == 1, before
            text = text.replace(before, after)
        self.pipeline.write_text(text)

    def until_status(self, condition: Callable[[Any], bool], timeout: float = 60.0) -> Any:
        """Return the first output of `status` that fulfils the condition."""
        deadline = time.monotonic() + timeout * PATIENCE
        while True:
            (found,) = self.lines("status", "PIPELINE")
            if condition(found):
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.5)


def _with_block(text: str, pattern: str, block: str) -> str:
    changed, count = re.subn(pattern, lambda _: block, text)
    assert count == 1, pattern
    return changed


@pytest.fixture
def user(tmp_path: Path, name: str, cluster: Cluster) -> FirstHour:
    terminal = FirstHour(tmp_path, name, cluster)
    terminal.run("init", terminal.name, cwd=tmp_path)
    terminal.edit()
    return terminal


@dataclass(frozen=True)
class Points:
    """Data set as files: both halves of the events, a duplicate, an invalid event, and labels."""

    truth: list[bool]

    def write(self, folder: Path) -> None:
        rows = [
            {"id": f"b{number}", "at": START_MS + number * MINUTE_MS, "x": x["1"], "y": x["2"]}
            for number, (x, _) in enumerate(datasets.Bananas())
        ]
        bad = {"id": "bad", "at": START_MS, "x": 99.0, "y": 0.0}
        _write(folder / "first.jsonl", [*rows[:HALF], rows[0]])
        _write(folder / "second.jsonl", [bad, *rows[HALF:]])
        _write(folder / "events.jsonl", [*rows[:HALF], rows[0], bad, *rows[HALF:]])
        known = [START_MS + (number + 10) * MINUTE_MS for number in range(len(rows))]
        labels = [
            {"id": f"b{number}", "known_at": time, "banana": truth}
            for number, (time, truth) in enumerate(zip(known, self.truth, strict=True))
        ]
        _write(folder / "labels.jsonl", labels)

    def second_half_roc_auc(self, scores: Mapping[str, float]) -> float:
        """Return the ROC AUC of the second half."""
        roc_auc = metrics.ROCAUC(n_thresholds=200)
        for number in range(HALF, len(self.truth)):
            roc_auc.update(self.truth[number], scores[f"b{number}"])
        return float(roc_auc.get())


def _write(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def points(user: FirstHour) -> Points:
    found = Points([label for _, label in datasets.Bananas()])
    found.write(user.folder)
    return found


@pytest.mark.broker
def test_an_edited_starter_pipeline_scores_each_event_once_and_learns(
    user: FirstHour, points: Points
) -> None:
    count = len(points.truth)
    *previewed, summary = user.lines("try", "PIPELINE", "events.jsonl", "--labels", "labels.jsonl")
    assert summary["events"] == {
        "read": count + 2,
        "scored": count,
        "duplicates": 1,
        "assumed": 0,
        "retrying": 0,
        "dead_lettered": {"rejected": 1},
        "not_sent": 0,
    }
    assert summary["model"]["learned"] == count
    assert (
        points.second_half_roc_auc(_scores(line for line in previewed if line["kind"] == "event"))
        > MIN_ROC_AUC
    )

    with user.start("up", "PIPELINE", stderr=subprocess.DEVNULL) as up:
        try:
            _run_on_kafka(user, points, up)
            up.send_signal(signal.SIGINT)
            assert up.wait(20 * PATIENCE) == 0
        finally:
            up.kill()


def _run_on_kafka(user: FirstHour, points: Points, up: subprocess.Popen[str]) -> None:
    # Labels are sent first and wait. The second half of the events follows the learned first half.
    count = len(points.truth)
    while not (user.run_folder / "score-0.json").exists():
        assert up.poll() is None
        time.sleep(0.1)
    user.run("produce", "PIPELINE", "labels.jsonl", "--labels")
    user.run("produce", "PIPELINE", "first.jsonl")
    user.until_status(
        lambda found: found["model"] is not None and found["model"]["learned"] == HALF
    )
    user.run("produce", "PIPELINE", "second.jsonl")
    status = user.until_status(lambda found: found["model"]["learned"] == count)

    scored = [line["value"] for line in user.lines("consume", "PIPELINE", "scored", "--until-end")]
    assert sorted(value["event_id"] for value in scored) == sorted(
        f"b{number}" for number in range(count)
    )
    assert points.second_half_roc_auc(_scores(scored)) > MIN_ROC_AUC
    dead = user.lines("consume", "PIPELINE", "dead-letters", "--until-end")
    assert [
        (dead_letter["key"], dead_letter["headers"]["stream-app-error-code"])
        for dead_letter in dead
    ] == [("bad", "rejected")]
    counts = status["record_counts"]
    assert counts["balanced"]
    assert (counts["events"], counts["scored"], counts["duplicates"], counts["dead"]) == (
        count + 2,
        count,
        1,
        {"rejected": 1},
    )
    assert (counts["labels"], counts["joined"], counts["pending"], counts["expired"]) == (
        count + counts["label_completeness"],
        count,
        0,
        0,
    )


def _scores(records: Any) -> dict[str, float]:
    return {record["event_id"]: record["score"] for record in records if "score" in record}
