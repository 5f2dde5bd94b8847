"""The learn role over an in-memory log: versions, checkpoints, and the same results after any crash."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from river import base, forest, tree

from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.example import Example
from stream_app.errors import ModelError
from stream_app.model_store.artifacts import ArtifactStore
from stream_app.model_store.key_files import trusted_keys
from stream_app.model_store.manifest import Checkpoint, Manifest, decode_alias
from stream_app.model_store.model_loading import LoadedModel, load_version
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.pipeline import Pipeline
from stream_app.records import InputPartition, Score
from stream_app.settings import LearnSettings, Settings
from stream_app.worker.roles.learn_processor import LearnProcessor
from stream_app.worker.roles.publishing_schedule import DutyCycle
from tests.learning import (
    FINGERPRINT,
    MemoryLog,
    examples,
    fits,
    logistic,
    pipeline,
    scores_of,
    with_rates,
)

SOURCE = InputPartition("p.examples", 0)
MODELS = [
    logistic,
    with_rates,
    lambda: tree.HoeffdingAdaptiveTreeClassifier(grace_period=30, seed=2),
    lambda: forest.ARFClassifier(n_models=2, seed=3),
]


class World:
    """A log, a store, and one learner at a time, driven as a partition task drives it."""

    def __init__(
        self, folder: Path, declared: Pipeline, *, keep: int = 500, **limits: float
    ) -> None:
        self.log = MemoryLog()
        self.folder = folder
        self.store = ArtifactStore(str(folder))
        self.declared = declared
        values: dict[str, Any] = {
            "publish_examples": 50,
            "publish_seconds": 3600.0,
            "publish_share": 1.0,
        }
        values |= {"checkpoint_seconds": 2.0, "keep_versions": keep, **limits}
        self.settings = Settings(
            data_dir=folder.with_suffix(".data"), learn=LearnSettings(**values)
        )
        self.trusted = trusted_keys(self.settings, declared.name)
        self.committed = -1
        self.now = 1_700_000_000_000
        self.fingerprint = FINGERPRINT

    def fill(self, stream: list[Example]) -> None:
        self.log.topics.setdefault("p.examples/0", [])
        for i, one in enumerate(stream):
            self.log.append(
                "p.examples", b"e", one.encode(), gap=i % 7 == 3
            )  # as transaction markers would

    def start(self) -> None:
        self.processor = LearnProcessor(
            self.declared, self.fingerprint, self.settings, self.store, self.log
        )
        self.position = max(self.processor.restore({SOURCE: self.committed})[SOURCE], 0)

    def transaction(self, size: int, *, crash: bool = False) -> bool:
        """Process up to `size` records and commit, unless it crashes first; False at the end of the log."""
        self.now += 1000
        records = [
            record for record in self.log.topics["p.examples/0"] if record.offset >= self.position
        ][:size]
        learner = self.processor
        records = records[: learner.ready(records, self.now)]
        outputs = (
            learner.process(SOURCE, records, self.now)
            if records
            else learner.idle(self.now, at_end=True)
        )
        position = records[-1].offset + 1 if records else self.position
        outputs = outputs + self.processor.before_commit({SOURCE: position}, self.now)
        if not crash:
            self.log.write("p", outputs)
            self.position = self.committed = position
            self.processor.after_commit()
        return bool(records) or self.position < self.log.ends(SOURCE)[1]

    def run(self, size: int = 50) -> None:
        while self.transaction(size):
            pass

    def models(self) -> dict[bytes | None, bytes | None]:
        return dict(self.log.read_all("p.models", 0))

    def manifests(self) -> dict[int, Manifest]:
        return ModelRegistry.of(self.models().items()).versions

    def champion(self) -> int:
        value = self.models()[b"alias/champion"]
        assert value is not None
        return decode_alias(value).version

    def predictions(self, version: int) -> list[Score]:
        return scores_of(
            load_version(
                self.store, self.manifests()[version], self.declared, self.fingerprint, self.trusted
            )
        )

    def checkpoint(self) -> Checkpoint:
        value = dict(self.log.read_all("p.learn.state", 0))[b"checkpoint"]
        assert value is not None
        return Checkpoint.decode(value)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, pipeline())


def test_an_untrained_version_0_comes_out_at_once_and_only_once(world: World) -> None:
    world.fill([])
    world.start()
    world.transaction(0)
    world.transaction(0)
    assert (list(world.manifests()), world.champion()) == ([0], 0)
    assert set(world.predictions(0)) == {0.5}
    world.start()
    world.transaction(0)
    assert len(world.log.topics["p.models/0"]) == 2


def test_a_pipeline_that_refuses_untrained_models_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model version") as caught:
        World(tmp_path, pipeline(untrained="rejected")).start()
    assert 'untrained="allowed"' in caught.value.remedy


def test_a_model_that_could_not_be_read_back_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be stored"):
        World(tmp_path, pipeline(lambda: lambda x: x)).start()


def test_versions_are_numbered_by_offset_and_say_what_they_learned(world: World) -> None:
    stream = examples(200)
    world.fill(stream)
    world.start()
    world.transaction(0)
    world.run()
    manifests = world.manifests()
    offsets = [record.offset for record in world.log.topics["p.examples/0"]]
    assert list(manifests) == [0, *(offsets[n - 1] + 1 for n in (50, 100, 150, 200))]
    newest = manifests[world.champion()]
    assert (newest.version, newest.learned, newest.parent) == (
        max(manifests),
        200,
        sorted(manifests)[-2],
    )
    assert newest.learned_through == max(one.label_time for one in stream)
    assert "accuracy" in newest.metrics
    assert all(fits("manifest", orjson.loads(manifest.encode())) for manifest in manifests.values())


def test_nothing_learned_means_no_new_version(world: World) -> None:
    world.fill(examples(60))
    world.start()
    world.transaction(0)
    world.run()
    before = len(world.log.topics["p.models/0"])
    for _ in range(5):
        world.now += 10_000_000
        world.transaction(10)
    assert len(world.log.topics["p.models/0"]) == before + 2  # the ten after the last fifty, once


def test_a_restored_learner_goes_on_from_the_checkpoint_and_learns_the_rest_silently(
    world: World,
) -> None:
    world.fill(examples(300))
    world.start()
    for _ in range(6):
        world.transaction(30)
    before = world.processor.state
    written = len(world.log.topics["p.models/0"])
    world.start()
    after = world.processor.state
    assert (after.learned, after.evaluator) == (before.learned, before.evaluator)
    assert world.position == world.committed > world.checkpoint().offset > 0
    assert len(world.log.topics["p.models/0"]) == written


def whole_and_crashed(
    folder: Path, model: Callable[[], Any], crashes: list[int], sizes: list[int]
) -> tuple[World, World]:
    """The same log, learned without and with crashes before the commit, or restarts after it."""
    stream = examples(160, seed=len(sizes))
    worlds = []
    for name, points in (("whole", []), ("crashed", crashes)):
        world = World(folder / name, pipeline(model))
        world.fill(stream)
        world.start()
        step, more = 0, True
        while more:
            if step in points:
                world.transaction(sizes[step % len(sizes)], crash=True)
                world.start()
            more = world.transaction(sizes[step % len(sizes)])
            if step + 1000 in points:
                world.start()
            step += 1
        worlds.append(world)
    return worlds[0], worlds[1]


@hypothesis_settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    model=st.sampled_from(MODELS),
    crashes=st.lists(st.one_of(st.integers(0, 12), st.integers(1000, 1012)), max_size=6),
    sizes=st.lists(st.integers(8, 60), min_size=1, max_size=5),
    number=st.integers(0, 10**9),
)
def test_crashes_change_neither_versions_nor_predictions_nor_reports(
    tmp_path: Path, model: Callable[[], Any], crashes: list[int], sizes: list[int], number: int
) -> None:
    whole, crashed = whole_and_crashed(
        tmp_path / str(number) / str(random.random()), model, crashes, sizes
    )
    assert crashed.processor.state.learned.examples == whole.processor.state.learned.examples == 160
    assert crashed.processor.state.evaluator == whole.processor.state.evaluator
    assert reports(crashed) == reports(whole)
    shared = crashed.manifests().keys() & whole.manifests().keys()
    assert 0 in shared
    assert scores_of_state(crashed) == scores_of_state(whole)
    for version in shared:
        ours, theirs = crashed.manifests()[version], whole.manifests()[version]
        assert (ours.learned, ours.learned_through, ours.metrics) == (
            theirs.learned,
            theirs.learned_through,
            theirs.metrics,
        )
        assert crashed.predictions(version) == whole.predictions(version)


def reports(world: World) -> list[bytes | None]:
    return [value for _, value in world.log.read_all("p.monitoring", 0)]


def test_a_changed_pipeline_is_refused_with_the_way_out(world: World) -> None:
    world.fill(examples(100))
    world.start()
    world.run()
    world.fingerprint = "f2"
    with pytest.raises(ModelError, match="has changed") as caught:
        world.start()
    assert "new name" in caught.value.remedy


def test_without_a_checkpoint_everything_is_learned_again_if_the_log_still_has_it(
    world: World,
) -> None:
    world.fill(examples(120))
    world.start()
    world.run()
    expected = scores_of_state(world)
    del world.log.topics["p.learn.state/0"]
    world.start()
    assert scores_of_state(world) == expected
    world.log.low["p.examples"] = 5
    with pytest.raises(ModelError, match="has offsets 5 to") as caught:
        world.start()
    assert "backup" in caught.value.remedy


def test_a_log_that_ends_before_the_committed_offset_is_refused(world: World) -> None:
    world.fill(examples(20))
    world.committed = 10_000
    with pytest.raises(ModelError, match="has offsets 0 to"):
        world.start()


def test_a_missing_checkpoint_artifact_is_refused(world: World) -> None:
    world.fill(examples(120))
    world.start()
    world.run(20)
    world.store.delete(world.checkpoint().sha256)
    with pytest.raises(ModelError, match="is missing"):
        world.start()


def test_expired_group_offsets_are_an_alarm_and_nothing_is_learned_twice(world: World) -> None:
    world.fill(examples(120))
    world.start()
    world.run(20)
    world.committed = -1
    world.start()
    known = max(world.checkpoint().offset, max(world.manifests()))
    assert world.position == known
    world.run(20)
    (alarm,) = [one for one in measurements_of(world) if one["name"] == "group-offset-lost"]
    assert (alarm["kind"], alarm["breached"], alarm["threshold"]) == ("alarm", True, float(known))
    assert world.processor.state.learned.examples == 120


def stored(world: World) -> set[str]:
    return {artifact.sha256 for artifact in world.store.stored()}


def test_superseded_checkpoints_and_versions_are_deleted_a_minute_after_the_commit(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, pipeline(), keep=3, checkpoint_seconds=0.5)
    world.fill(examples(500))
    world.start()
    world.transaction(0)
    world.run()
    assert len(world.manifests()) == 3
    assert len([value for value in world.models().values() if value is None]) == 8
    assert len(stored(world)) > 8
    world.now += 60_000
    world.transaction(0)
    kept = {manifest.sha256 for manifest in world.manifests().values()} | {
        world.checkpoint().sha256
    }
    assert stored(world) == kept
    world.start()
    assert world.processor.state.learned.examples == 500


class Constant(base.Classifier):  # type: ignore[misc]  # River's bases are not checked
    """Learns nothing, so all its versions are one artifact."""

    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        pass

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        return {True: 0.25}


def test_an_artifact_that_a_kept_version_shares_is_not_deleted(tmp_path: Path) -> None:
    world = World(tmp_path, pipeline(Constant), keep=2)
    world.fill(examples(300))
    world.start()
    world.run()
    assert len(world.manifests()) == 2
    assert set(world.predictions(world.champion())) == {0.25}


def test_what_was_learned_before_a_restart_is_published_after_it(world: World) -> None:
    world.fill(examples(30))
    world.start()
    world.transaction(0)
    world.transaction(30)
    assert world.champion() == 0
    world.start()
    for _ in range(2):
        world.now += 3_600_000
        world.transaction(0)
    assert (world.champion(), world.manifests()[world.champion()].learned) == (world.committed, 30)


def test_records_that_are_no_examples_are_reported_and_skipped(world: World) -> None:
    good = examples(3)
    world.fill(good[:2])
    for value in (
        None,
        b"nonsense",
        b"[]",
        b'{"kind": "hold"}',
        good[0]._replace(score=2.0).encode(),
    ):
        world.log.append("p.examples", b"e", value)
    world.fill(good[2:])
    world.start()
    world.run()
    state = world.processor.state
    assert (state.learned.examples, state.unlearnable) == (3, 5)
    found = [(one["name"], one["n"]) for one in measurements_of(world)]
    assert found == [("empty", 1), ("undecodable", 1), ("unknown-kind", 1), ("wrong-type", 1)]


def test_a_schedule_is_due_by_count_or_time_and_rests_in_proportion_to_the_cost() -> None:
    schedule = DutyCycle(seconds=10, count=100, share=0.05)
    assert not schedule.due(1, now=0)
    assert schedule.due(100, now=0)
    assert not schedule.due(99, now=9_999)
    assert schedule.due(1, now=10_000)
    assert not schedule.due(0, now=99_000)
    schedule.done(cost=1.0, now=10_000)
    assert not schedule.due(1000, now=29_999)
    assert schedule.due(1000, now=30_000)


def test_a_clock_that_is_set_back_starts_the_interval_again() -> None:
    schedule = DutyCycle(seconds=10, count=100, share=0.05)
    schedule.due(1, now=1_000_000)
    assert not schedule.due(1, now=5_000)
    assert schedule.due(1, now=15_000)


def measurements_of(world: World) -> list[dict[str, Any]]:
    return [orjson.loads(value or b"") for value in reports(world)]


def scores_of_state(world: World) -> list[Score]:
    return scores_of(
        LoadedModel("p", 0, FINGERPRINT, world.processor.state.learned.model, BinaryTask())
    )


def alarms(world: World) -> list[tuple[str, bool]]:
    """Every alarm that was told, and whether it said that it lasts."""
    told = [orjson.loads(value or b"") for _, value in world.log.read_all("p.monitoring", 0)]
    return [(one["name"], one["breached"]) for one in told if one["kind"] == "alarm"]


def take_away(folder: Path) -> None:
    """The store's folder becomes a file, which is what a lost mount is to root as well."""
    folder.rename(folder.with_suffix(".away"))
    folder.write_text("")


def bring_back(folder: Path) -> None:
    folder.unlink()
    folder.with_suffix(".away").rename(folder)


def test_without_the_store_it_learns_on_and_publishes_when_the_store_is_back(
    tmp_path: Path,
) -> None:
    world = World(tmp_path / "store", pipeline())
    stream = examples(300)
    world.fill(stream[:100])
    world.start()
    world.transaction(0)
    world.run()
    versions = len(world.manifests())
    take_away(world.folder)
    world.fill(stream[100:200])
    world.run()
    assert len(world.manifests()) == versions
    assert world.processor.state.learned.examples == 200
    assert ("store-unavailable", True) in alarms(world)
    assert ("store-unavailable", False) not in alarms(world)
    bring_back(world.folder)
    world.now += 5000
    world.transaction(0)
    assert world.manifests()[world.champion()].learned == 200
    assert alarms(world)[-1] == ("store-unavailable", False)
    reference = World(tmp_path / "whole", pipeline())
    reference.fill(stream[:200])
    reference.start()
    reference.transaction(0)
    reference.run()
    assert world.predictions(world.champion()) == reference.predictions(reference.champion())


def test_who_goes_on_ends_the_alarm_of_the_one_before(tmp_path: Path) -> None:
    world = World(tmp_path / "store", pipeline())
    world.fill(examples(100))
    world.start()
    take_away(world.folder)
    world.transaction(100)
    assert alarms(world) == [("store-unavailable", True)]
    bring_back(world.folder)
    world.start()
    world.transaction(0)
    assert alarms(world) == [("store-unavailable", True), ("store-unavailable", False)]
