"""The learn role publishes the same versions and reports despite crashes."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec.structs import replace
from river import base

from stream_app.errors import ModelError
from stream_app.worker.roles.publishing_schedule import DutyCycle
from tests.learning import examples, fits, pipeline
from tests.worker.roles.learner_driver import (
    MODELS,
    LearnerDriver,
    alarms,
    measurements_of,
    remove_store,
    reports,
    restore_store,
    scores_of_state,
)


@pytest.fixture
def driver(tmp_path: Path) -> LearnerDriver:
    return LearnerDriver(tmp_path, pipeline())


def test_an_untrained_version_0_is_published_once(driver: LearnerDriver) -> None:
    driver.fill([])
    driver.start()
    driver.transaction(0)
    driver.transaction(0)
    assert (list(driver.manifests()), driver.champion()) == ([0], 0)
    assert set(driver.predictions(0)) == {0.5}
    driver.start()
    driver.transaction(0)
    assert len(driver.log.topics["p.models/0"]) == 2


def test_a_pipeline_that_rejects_untrained_models_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model version") as caught:
        LearnerDriver(tmp_path, pipeline(untrained="rejected")).start()
    assert 'untrained="allowed"' in caught.value.remedy


def test_a_model_that_cannot_be_stored_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be stored"):
        LearnerDriver(tmp_path, pipeline(lambda: lambda x: x)).start()


def test_versions_are_numbered_by_offset_and_count_their_examples(driver: LearnerDriver) -> None:
    stream = examples(200)
    driver.fill(stream)
    driver.start()
    driver.transaction(0)
    driver.run()
    manifests = driver.manifests()
    offsets = [record.offset for record in driver.log.topics["p.examples/0"]]
    assert list(manifests) == [0, *(offsets[n - 1] + 1 for n in (50, 100, 150, 200))]
    newest = manifests[driver.champion()]
    assert (newest.version, newest.learned, newest.parent) == (
        max(manifests),
        200,
        sorted(manifests)[-2],
    )
    assert newest.learned_through == max(one.label_time for one in stream)
    assert "accuracy" in newest.metrics
    assert all(fits("manifest", orjson.loads(manifest.encode())) for manifest in manifests.values())


def test_without_new_examples_no_version_is_published(driver: LearnerDriver) -> None:
    driver.fill(examples(60))
    driver.start()
    driver.transaction(0)
    driver.run()
    before = len(driver.log.topics["p.models/0"])
    for _ in range(5):
        driver.now += 10_000_000
        driver.transaction(10)
    # The ten examples after the last fifty are published once.
    assert len(driver.log.topics["p.models/0"]) == before + 2


def test_a_restored_learner_relearns_the_examples_after_the_checkpoint_without_output(
    driver: LearnerDriver,
) -> None:
    driver.fill(examples(300))
    driver.start()
    for _ in range(6):
        driver.transaction(30)
    before = driver.processor.state
    written = len(driver.log.topics["p.models/0"])
    driver.start()
    after = driver.processor.state
    assert (after.learned.examples, after.evaluator) == (
        before.learned.examples,
        before.evaluator,
    )
    assert driver.position == driver.committed > driver.checkpoint().offset > 0
    assert len(driver.log.topics["p.models/0"]) == written


def whole_and_crashed(
    folder: Path, model: Callable[[], Any], crashes: list[int], sizes: list[int]
) -> tuple[LearnerDriver, LearnerDriver]:
    """Return drivers of the same log, without and with crashes and restarts."""
    stream = examples(160, seed=len(sizes))
    worlds = []
    for name, points in (("whole", []), ("crashed", crashes)):
        driver = LearnerDriver(folder / name, pipeline(model))
        driver.fill(stream)
        driver.start()
        step, more = 0, True
        while more:
            if step in points:
                driver.transaction(sizes[step % len(sizes)], crash=True)
                driver.start()
            more = driver.transaction(sizes[step % len(sizes)])
            if step + 1000 in points:
                driver.start()
            step += 1
        worlds.append(driver)
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
def test_crashes_do_not_change_versions_predictions_or_reports(
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


def test_a_changed_pipeline_is_an_error_with_a_remedy(driver: LearnerDriver) -> None:
    driver.fill(examples(100))
    driver.start()
    driver.run()
    driver.fingerprint = "f2"
    with pytest.raises(ModelError, match="has changed") as caught:
        driver.start()
    assert "new name" in caught.value.remedy


def test_without_a_checkpoint_all_examples_are_relearned_if_the_log_has_them(
    driver: LearnerDriver,
) -> None:
    driver.fill(examples(120))
    driver.start()
    driver.run()
    expected = scores_of_state(driver)
    del driver.log.topics["p.learn.state/0"]
    driver.start()
    assert scores_of_state(driver) == expected
    driver.log.low["p.examples"] = 5
    with pytest.raises(ModelError, match="has offsets 5 to") as caught:
        driver.start()
    assert "backup" in caught.value.remedy


def test_a_log_that_ends_before_the_committed_offset_is_an_error(driver: LearnerDriver) -> None:
    driver.fill(examples(20))
    driver.committed = 10_000
    with pytest.raises(ModelError, match="has offsets 0 to"):
        driver.start()


def test_a_missing_checkpoint_artifact_is_an_error(driver: LearnerDriver) -> None:
    driver.fill(examples(120))
    driver.start()
    driver.run(20)
    driver.store.delete(driver.checkpoint().sha256)
    with pytest.raises(ModelError, match="is missing"):
        driver.start()


def test_expired_group_offsets_raise_an_alarm_and_nothing_is_learned_twice(
    driver: LearnerDriver,
) -> None:
    driver.fill(examples(120))
    driver.start()
    driver.run(20)
    driver.committed = -1
    driver.start()
    known = max(driver.checkpoint().offset, max(driver.manifests()))
    assert driver.position == known
    driver.run(20)
    (alarm,) = [one for one in measurements_of(driver) if one["name"] == "group-offset-lost"]
    assert (alarm["kind"], alarm["breached"], alarm["threshold"]) == ("alarm", True, float(known))
    assert driver.processor.state.learned.examples == 120


def stored(driver: LearnerDriver) -> set[str]:
    return {artifact.sha256 for artifact in driver.store.stored()}


def test_superseded_artifacts_are_deleted_a_minute_after_the_commit(
    tmp_path: Path,
) -> None:
    driver = LearnerDriver(tmp_path, pipeline(), keep=3, checkpoint_seconds=0.5)
    driver.fill(examples(500))
    driver.start()
    driver.transaction(0)
    driver.run()
    assert len(driver.manifests()) == 3
    assert len([value for value in driver.models().values() if value is None]) == 8
    assert len(stored(driver)) > 8
    driver.now += 60_000
    driver.transaction(0)
    kept = {manifest.sha256 for manifest in driver.manifests().values()} | {
        driver.checkpoint().sha256
    }
    assert stored(driver) == kept
    driver.start()
    assert driver.processor.state.learned.examples == 500


class Constant(base.Classifier):  # type: ignore[misc]  # River's bases are not checked
    """Model that learns nothing, so that all its versions share one artifact."""

    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        pass

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        return {True: 0.25}


def test_an_artifact_that_a_retained_version_shares_is_not_deleted(tmp_path: Path) -> None:
    driver = LearnerDriver(tmp_path, pipeline(Constant), keep=2)
    driver.fill(examples(300))
    driver.start()
    driver.run()
    assert len(driver.manifests()) == 2
    assert set(driver.predictions(driver.champion())) == {0.25}


def test_examples_learned_before_a_restart_are_published_after_it(driver: LearnerDriver) -> None:
    driver.fill(examples(30))
    driver.start()
    driver.transaction(0)
    driver.transaction(30)
    assert driver.champion() == 0
    driver.start()
    for _ in range(2):
        driver.now += 3_600_000
        driver.transaction(0)
    assert (driver.champion(), driver.manifests()[driver.champion()].learned) == (
        driver.committed,
        30,
    )


def test_versions_name_the_examples_that_they_could_not_learn(driver: LearnerDriver) -> None:
    stream = examples(160)
    for number in (7, 8, 60):
        stream[number] = replace(stream[number], fingerprint="other")
    driver.fill(stream)
    driver.start()
    driver.transaction(0)
    driver.run()
    offsets = [record.offset for record in driver.log.topics["p.examples/0"]]
    early, late = [offsets[7], offsets[8] + 1], [offsets[60], offsets[60] + 1]
    for version, manifest in driver.manifests().items():
        expected = [one for one in (early, late) if one[1] <= version]
        assert manifest.unlearned == expected
        assert fits("manifest", orjson.loads(manifest.encode()))
    assert driver.manifests()[driver.champion()].unlearned == [early, late]


def test_records_that_are_not_examples_are_reported_and_skipped(driver: LearnerDriver) -> None:
    good = examples(3)
    driver.fill(good[:2])
    for value in (
        None,
        b"nonsense",
        b"[]",
        b'{"kind": "hold"}',
        replace(good[0], score=2.0).encode(),
    ):
        driver.log.append("p.examples", b"e", value)
    driver.fill(good[2:])
    driver.start()
    driver.run()
    state = driver.processor.state
    assert (state.learned.examples, state.unlearnable) == (3, 5)
    found = [(one["name"], one["n"]) for one in measurements_of(driver)]
    assert found == [("empty", 1), ("undecodable", 1), ("unknown-kind", 1), ("wrong-type", 1)]


def test_a_duty_cycle_is_due_by_count_or_time_and_rests_in_proportion_to_the_cost() -> None:
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


def test_learning_continues_without_the_store_and_publishes_once_it_is_back(
    tmp_path: Path,
) -> None:
    driver = LearnerDriver(tmp_path / "store", pipeline())
    stream = examples(300)
    driver.fill(stream[:100])
    driver.start()
    driver.transaction(0)
    driver.run()
    versions = len(driver.manifests())
    remove_store(driver.folder)
    driver.fill(stream[100:200])
    driver.run()
    assert len(driver.manifests()) == versions
    assert driver.processor.state.learned.examples == 200
    assert ("store-unavailable", True) in alarms(driver)
    assert ("store-unavailable", False) not in alarms(driver)
    restore_store(driver.folder)
    driver.now += 5000
    driver.transaction(0)
    assert driver.manifests()[driver.champion()].learned == 200
    assert alarms(driver)[-1] == ("store-unavailable", False)
    reference = LearnerDriver(tmp_path / "whole", pipeline())
    reference.fill(stream[:200])
    reference.start()
    reference.transaction(0)
    reference.run()
    assert driver.predictions(driver.champion()) == reference.predictions(reference.champion())


def test_the_next_learner_ends_the_alarm_of_the_one_before(tmp_path: Path) -> None:
    driver = LearnerDriver(tmp_path / "store", pipeline())
    driver.fill(examples(100))
    driver.start()
    remove_store(driver.folder)
    driver.transaction(100)
    assert alarms(driver) == [("store-unavailable", True)]
    restore_store(driver.folder)
    driver.start()
    driver.transaction(0)
    assert alarms(driver) == [("store-unavailable", True), ("store-unavailable", False)]
