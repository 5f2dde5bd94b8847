"""Exports from a real broker: River computes the served metrics and models from them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from pyarrow import parquet
from river import metrics

from stream_app.broker import EmbeddedBroker
from stream_app.core.learning.control_commands import CONTROL_KEY, Control
from stream_app.errors import StreamAppError
from stream_app.loading import load_pipeline
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_admin.version_checks import VersionLoader
from stream_app.offline.example_export import Exported
from tests.learning import examples, logistic
from tests.offline import phishing
from tests.offline.exported import export
from tests.running_system import System
from tests.transfer.clusters import unique_name

pytestmark = pytest.mark.broker

ALLOWED = (
    "from tests.offline.phishing import sites\npipeline = sites('NAME', untrained='allowed')\n"
)


@pytest.fixture
def system(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[System]:
    with System(broker.bootstrap_servers, tmp_path, unique_name(), ALLOWED, partitions=1) as made:
        yield made


def rows(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(file).to_pylist()
    return found


def test_a_range_of_the_log_is_exported_completely_and_never_overwritten(
    system: System, tmp_path: Path
) -> None:
    stream = examples(200)
    for number, example in enumerate(stream):
        system.send("examples", example.encode(), b"e", timestamp=phishing.START + number)
    system.send("examples", Control("pause", None, 0, "", "ann@host", "test").encode(), CONTROL_KEY)
    system.send("examples", b"{broken", b"e")
    system.producer.flush()

    assert export(system, tmp_path / "all.parquet") == Exported(
        0, 202, 200, controls=1, unreadable=1
    )
    for row, example in zip(rows(tmp_path / "all.parquet"), stream, strict=True):
        assert (row["event_id"], row["label"], row["score"]) == (
            example.event_id,
            example.label,
            example.score,
        )
        assert row["label_time"] == datetime.fromtimestamp(example.label_time / 1000, UTC)
        assert {name: row[f"feature.{name}"] for name in example.features} == example.features

    since = datetime.fromtimestamp((phishing.START + 50) / 1000, UTC).isoformat()
    assert export(system, tmp_path / "part.jsonl", since, "60")[:3] == (50, 60, 10)
    lines = (tmp_path / "part.jsonl").read_bytes().splitlines()
    assert [orjson.loads(line)["event_id"] for line in lines] == [
        f"e{number}" for number in range(50, 60)
    ]

    before = (tmp_path / "part.jsonl").read_bytes()
    for name, start, expected in (
        ("part.jsonl", "0", "already exists"),
        ("new.csv", "soon", "is neither an offset nor a time"),
        ("new.csv", "200", "There is no example from offset 200 to 202"),
        ("missing/new.csv", "0", "cannot be written"),
    ):
        with pytest.raises(StreamAppError, match=expected):
            export(system, tmp_path / name, start)
    assert (tmp_path / "part.jsonl").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir() if "declared" not in file.name) == [
        "all.parquet", "part.jsonl",
    ]  # fmt: skip


@pytest.mark.faults
def test_river_reproduces_served_metrics_and_published_models_from_an_export(
    system: System, tmp_path: Path
) -> None:
    system.start_all()
    for first in range(0, len(phishing.seen()), 250):
        batch = phishing.seen()[first : first + 250]
        for site in batch:
            system.send("raw", orjson.dumps(site.event), site.event["id"].encode())
        system.await_outcomes()
        for site in sorted(batch, key=lambda site: site.known_at):
            system.send("labels", orjson.dumps(site.label_record), site.label_record["id"].encode())
        system.await_outcomes()
        system.until(
            lambda: system.learned() == system.sent["labels"], 30, "not everything is learned"
        )
    done = system.command("export", "PIPELINE", "--out", str(tmp_path / "run.parquet"), "--json")
    assert done.returncode == 0, done.stderr
    assert orjson.loads(done.stdout)["examples"] == len(phishing.seen())
    exported = rows(tmp_path / "run.parquet")

    windows = [value for value in system.values("monitoring") if value["kind"] == "performance"]
    assert len({value["window"]["start"] for value in windows}) >= 2
    for value in windows:
        start, end = (
            datetime.fromtimestamp(value["window"][name] / 1000, UTC) for name in ("start", "end")
        )
        found = [row for row in exported if start <= row["label_time"] < end]
        assert value["n"] == len(found)
        if value["name"] in ("log_loss", "accuracy"):
            assert value["value"] == pytest.approx(measured(value["name"], found), abs=1e-12)

    model, learned = logistic(), 0
    versions = ModelAdmin(system.settings, system.name).registry(stable=True).versions
    checker = VersionLoader(system.settings, load_pipeline(str(system.pipeline)))
    names = [name for name in exported[0] if name.startswith("feature.")]
    for version, manifest in versions.items():
        while learned < len(exported) and exported[learned]["offset"] < version:
            row = exported[learned]
            model.learn_one(
                {name.removeprefix("feature."): row[name] for name in names}, row["label"]
            )
            learned += 1
        assert manifest.learned == learned
        loaded = checker.load(manifest)
        for site in phishing.seen()[::50]:
            assert loaded.score(dict(site.features)) == model.predict_proba_one(site.features)[True]
    assert learned == len(exported)


def measured(name: str, found: list[dict[str, Any]]) -> float:
    """Return the metrics that River computes from exported columns."""
    metric = metrics.LogLoss() if name == "log_loss" else metrics.Accuracy()
    for row in found:
        metric.update(row["label"], row["score"] if name == "log_loss" else row["score"] >= 0.5)
    return float(metric.get())
