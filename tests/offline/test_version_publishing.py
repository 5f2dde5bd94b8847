"""Trained models on a real broker: number, manifest, audit, and a pipeline that starts with one."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.examples import Example, decode_example
from stream_app.core.learning.control_commands import decode_control
from stream_app.dead_letters.dry_run import open_evaluator
from stream_app.loading import load_pipeline
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_admin.version_checks import VersionLoader
from stream_app.model_store.manifest import Manifest, version_key
from stream_app.model_store.model_registry import reason
from stream_app.offline.version_publishing import TrainedModelPublisher
from stream_app.status.pipeline_view import PipelineView
from tests.learning import fits
from tests.offline import phishing
from tests.offline.trained import train
from tests.running_system import System
from tests.transfer.clusters import unique_name

pytestmark = pytest.mark.broker


@pytest.fixture
def system(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[System]:
    with System(
        broker.bootstrap_servers, tmp_path, unique_name(), phishing.DECLARED, partitions=2
    ) as made:
        yield made


def test_a_trained_version_is_signed_audited_and_numbered_by_its_offset(
    system: System, tmp_path: Path
) -> None:
    trained = train(str(system.pipeline), *phishing.write(tmp_path))
    pipeline = load_pipeline(str(system.pipeline))
    publisher, admin = (
        TrainedModelPublisher(system.settings, pipeline),
        ModelAdmin(system.settings, system.name),
    )
    first = publisher.publish(trained, reason("the first season"))
    second = publisher.publish(trained, reason("again"))

    registry = admin.registry(stable=True)
    assert registry.versions == {first.version: first, second.version: second}
    assert registry.served is None
    controls = {
        message.offset(): decode_control(message.value()) for message in system.read("examples")
    }
    assert [(offset, c.command, c.why) for offset, c in controls.items() if c] == [
        (first.version, "trained", "the first season"),
        (second.version, "trained", "again"),
    ]
    assert fits("manifest", orjson.loads(first.encode()))
    assert (first.origin, first.parent, first.learned) == ("trained", None, len(phishing.seen()))
    assert first.offline_metrics == first.metrics == trained.metrics
    assert (first.features, first.profile) == (trained.features, trained.profile)
    assert first.family == "linear"
    assert first.parameters["LogisticRegression.optimizer"] == "AdaGrad"
    entries = admin.audit_entries()
    assert all(fits("audit", entry) for entry in entries)
    assert [(entry["operation"], entry["what"], entry["why"]) for entry in entries] == [
        ("train", f"version {first.version}", "the first season"),
        ("train", f"version {second.version}", "again"),
    ]

    model = VersionLoader(system.settings, pipeline).load(first)
    for site in phishing.seen()[::25]:
        assert (
            model.score(dict(site.features))
            == trained.learner.learned.model.predict_proba_one(site.features)[True]
        )
    publisher.promote(second, reason("better"))
    assert admin.registry(stable=True).served == second.version
    view = PipelineView(system.settings, system.name)
    # No learner has applied the decision yet.
    assert view.served_manifest(view.offset_bounds()) == second
    assert open_evaluator(system.settings, pipeline).model == f"version {second.version}"


def test_a_used_version_number_is_skipped(system: System, tmp_path: Path) -> None:
    """A learner publishes version 0 before the first example."""
    trained = train(str(system.pipeline), *phishing.write(tmp_path))
    publisher = TrainedModelPublisher(system.settings, load_pipeline(str(system.pipeline)))
    taken = Manifest(system.name, 0, None, "", "", 0, "", 0, None, {}, "", "", "")
    system.send("models", taken.encode(), version_key(0).encode())
    system.producer.flush()
    manifest = publisher.publish(trained, reason("test"))
    assert manifest.version > 0
    assert ModelAdmin(system.settings, system.name).registry(stable=True).versions == {
        0: taken,
        manifest.version: manifest,
    }
    (control,) = system.read("examples")
    assert control.offset() == manifest.version


@pytest.mark.faults
def test_a_new_pipeline_starts_with_a_trained_version(system: System, tmp_path: Path) -> None:
    events, labels = phishing.write(tmp_path)
    done = system.command(
        "train",
        "PIPELINE",
        events,
        "--labels",
        labels,
        "--yes",
        "--promote",
        "--why",
        "the first",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    found = orjson.loads(done.stdout)
    system.start_all()
    chosen = phishing.seen()[:200]
    for site in chosen:
        system.send("raw", orjson.dumps(site.event), site.event["id"].encode())
    system.await_outcomes()
    scored = {value["event_id"]: value for value in system.values("scored")}
    assert {value["model"]["version"] for value in scored.values()} == {found["version"]}

    pipeline = load_pipeline(str(system.pipeline))
    model = train(str(system.pipeline), events, labels).learner.learned.model
    for site in chosen:
        assert scored[site.event["id"]]["score"] == model.predict_proba_one(site.features)[True]

    for site in chosen:
        system.send("labels", orjson.dumps(site.label_record), site.label_record["id"].encode())
    system.await_outcomes()
    goal = found["offline"]["window"]["n"] + len(chosen)
    system.until(
        lambda: system.learned() == goal,
        30,
        "the learner does not continue from the trained version",
    )
    admin = ModelAdmin(system.settings, system.name)
    newest = admin.registry(stable=True).current
    assert (newest.origin, newest.offline_metrics) == ("learned", found["offline"]["metrics"])
    for message in system.read("examples"):
        example = decode_example(message.value(), BinaryTask())
        if isinstance(example, Example):
            model.learn_one(example.features, example.label)
    loaded = VersionLoader(system.settings, pipeline).load(newest)
    for site in chosen:
        assert loaded.score(dict(site.features)) == model.predict_proba_one(site.features)[True]
