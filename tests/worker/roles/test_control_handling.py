"""Decisions in the log, and the learner over an in-memory log: what it goes on from, publishes, keeps and tells."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.example import Example
from stream_app.core.learning.examples_log import (
    CONTROL_KEY,
    LEARNER,
    Control,
    ControlCommand,
    learner_commands,
)
from stream_app.model_store.manifest import REQUESTED_KEY, Alias, encode_alias
from stream_app.model_store.model_loading import LoadedModel
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.model_store.signing import open_signer
from stream_app.records import Score
from stream_app.worker.processor import WaitReason
from tests.learning import FINGERPRINT, examples, fits, pipeline, scores_of
from tests.worker.roles.test_learn_processor import (
    World,
    alarms,
    bring_back,
    scores_of_state,
    take_away,
)

AT = "2026-01-01T00:00:00Z"
STREAM = examples(600)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """With version 0 and four of fifty examples each; from there on every transaction publishes."""
    return learned(World(tmp_path / "store", pipeline(), publish_seconds=1.0))


def learned(world: World) -> World:
    world.fill(STREAM[:200])
    world.start()
    world.transaction(0)
    world.run()
    return world


def decide(
    world: World,
    act: ControlCommand,
    version: int | None = None,
    *,
    epoch: int = 1,
    since: int | None = None,
) -> int:
    """Write a decision into the log; returns its offset."""
    control = Control(act, version, epoch, AT, "ann@here", "test", since)
    return world.log.append("p.examples", CONTROL_KEY, control.encode(), gap=1)


def registry(world: World) -> ModelRegistry:
    return ModelRegistry.of(world.log.read_all("p.models", 0))


def offline(stream: Sequence[Example]) -> list[Score]:
    """The scores of a model that has learned just these."""
    model = pipeline().model()
    for one in stream:
        model.learn_one(one.features, one.label)
    return scores_of(LoadedModel("p", 0, FINGERPRINT, model, BinaryTask()))


def version_of(world: World, examples_learned: int) -> int:
    """The version that has learned so many."""
    return next(
        one.version for one in world.manifests().values() if one.learned == examples_learned
    )


def offsets(world: World) -> list[int]:
    """Of all examples in the log."""
    return [
        record.offset for record in world.log.topics["p.examples/0"] if record.key != CONTROL_KEY
    ]


def acts(world: World) -> list[dict[str, Any]]:
    found = [orjson.loads(value or b"") for _, value in world.log.read_all("p.audit", 0)]
    assert all(fits("audit", act) for act in found)
    return found


def test_after_a_rollback_it_goes_on_from_that_version(world: World) -> None:
    target = version_of(world, 100)
    offset = decide(world, "rollback", target)
    world.fill(STREAM[200:300])
    world.run()
    newest = registry(world).current
    assert (newest.decision, newest.learned, newest.version > offset) == (1, 200, True)
    assert target in [one.version for one in registry(world).ancestors(newest.version)]
    assert world.predictions(newest.version) == offline(STREAM[:100] + STREAM[200:300])
    assert acts(world) == []  # whoever decided has written it


def test_a_rollback_can_have_examples_learned_again(world: World) -> None:
    target = version_of(world, 100)
    decide(world, "rollback", target, since=offsets(world)[150])
    world.run()
    assert registry(world).current.learned == 150
    assert scores_of_state(world) == offline(STREAM[:100] + STREAM[150:200])


def test_what_is_held_is_judged_and_can_be_learned_later(world: World) -> None:
    before = registry(world).served
    decide(world, "pause", epoch=0)
    world.fill(STREAM[200:300])
    world.run()
    assert registry(world).served == before
    assert (
        world.processor.state.evaluator.baseline.seen,
        world.processor.state.learned.examples,
    ) == (
        300,
        200,
    )
    decide(world, "resume", epoch=0, since=0)
    world.fill(STREAM[300:310])
    world.run()
    assert world.predictions(world.champion()) == offline(STREAM[:310])


def test_after_a_hold_without_since_it_learns_what_comes(world: World) -> None:
    decide(world, "pause", epoch=0)
    world.fill(STREAM[200:300])
    decide(world, "resume", epoch=0)
    world.fill(STREAM[300:310])
    world.run()
    assert world.predictions(world.champion()) == offline(STREAM[:200] + STREAM[300:310])


def test_a_held_learner_that_rolled_back_learns_again_from_that_version(world: World) -> None:
    decide(world, "rollback", version_of(world, 100))
    decide(world, "pause")
    world.fill(STREAM[200:300])
    world.run()
    decide(world, "resume", since=offsets(world)[180])
    world.run()
    assert world.predictions(world.champion()) == offline(STREAM[:100] + STREAM[180:300])


def test_of_two_decisions_of_one_epoch_the_first_in_the_log_counts(world: World) -> None:
    first, second = version_of(world, 100), version_of(world, 50)
    decide(world, "rollback", first)
    decide(world, "rollback", second)
    world.log.append(
        "p.models", REQUESTED_KEY.encode(), encode_alias(Alias(second, 1))
    )  # the other was faster there
    world.run()
    assert registry(world).served == first
    assert scores_of_state(world) == offline(STREAM[:100])


def test_what_it_publishes_before_it_comes_to_a_decision_is_not_served(world: World) -> None:
    target = version_of(world, 100)
    world.fill(STREAM[200:400])
    offset = decide(world, "rollback", target)
    world.log.append("p.models", REQUESTED_KEY.encode(), encode_alias(Alias(target, 1)))
    world.start()
    while world.position <= offset:
        assert registry(world).served == target
        world.transaction(30)
    assert world.champion() == target
    world.fill(STREAM[400:450])
    world.run()
    assert world.predictions(registry(world).served or 0) == offline(STREAM[:100] + STREAM[400:450])


def test_the_learners_own_orders_are_obeyed_when_they_are_read_back_and_once(world: World) -> None:
    before, target = registry(world).served, version_of(world, 100)
    orders = learner_commands(
        world.processor.state.control.decision, AT, "log_loss 0.9 is above 0.7", rollback_to=target
    )
    world.log.write("p", orders * 2)
    world.run()
    found = registry(world)
    assert (found.served, found.decision, found.paused, world.processor.state.control.paused) == (
        target,
        1,
        True,
        True,
    )
    assert [(act["act"], act["who"], act["before"], act["after"]) for act in acts(world)] == [
        ("pause", LEARNER, "learning", "held"),
        ("rollback", LEARNER, f"version {before}", f"version {target}"),
    ]


def test_what_the_learner_orders_is_void_once_somebody_has_decided(world: World) -> None:
    orders = learner_commands(
        world.processor.state.control.decision, AT, "test", rollback_to=version_of(world, 100)
    )
    chosen = version_of(world, 50)
    decide(world, "promote", chosen)
    world.log.write("p", orders)
    world.run()
    assert (registry(world).served, world.processor.state.control.paused, acts(world)) == (
        chosen,
        False,
        [],
    )


def test_a_decision_waits_for_the_store(world: World) -> None:
    target = version_of(world, 100)
    decide(world, "rollback", target)
    take_away(world.folder)
    world.transaction(10)
    world.transaction(10)
    assert (world.processor.waiting_for, world.processor.state.control.decision) == (
        WaitReason.DECISION,
        0,
    )
    assert alarms(world) == [("store-unavailable", True)]
    bring_back(world.folder)
    world.start()
    world.run()
    assert (world.champion(), scores_of_state(world)) == (target, offline(STREAM[:100]))


def test_a_version_that_cannot_be_had_is_an_alarm_and_changes_nothing_in_any_replay(
    world: World,
) -> None:
    target = registry(world).manifest(version_of(world, 100))
    world.store.delete(target.sha256)
    decide(world, "rollback", target.version)
    world.fill(STREAM[200:300])
    world.run()
    assert ("decision-not-applied", True) in alarms(world)
    assert (world.processor.state.control.decision, scores_of_state(world)) == (
        0,
        offline(STREAM[:300]),
    )
    state = world.log.topics["p.learn.state/0"]
    world.log.topics["p.learn.state/0"] = [
        record for record in state if record.key != b"checkpoint"
    ]
    world.start()
    assert scores_of_state(world) == offline(STREAM[:300])


def test_learning_again_is_done_bit_by_bit(world: World) -> None:
    target = version_of(world, 0)
    offset = decide(world, "rollback", target, since=0)
    records = [record for record in world.log.topics["p.examples/0"] if record.offset == offset]
    looks = 0
    while not world.processor.ready(records, world.now):
        assert world.processor.idle(world.now, at_end=False) == []
        looks += 1
    assert looks < 50
    world.transaction(10)
    assert scores_of_state(world) == offline(STREAM[:200])


def test_an_event_that_is_called_like_decisions_is_learned(world: World) -> None:
    world.log.append("p.examples", CONTROL_KEY, STREAM[200].encode())
    world.run()
    assert (world.processor.state.learned.examples, world.processor.state.unlearnable) == (201, 0)


def test_versions_that_were_chosen_or_are_pinned_stay(tmp_path: Path) -> None:
    world = learned(World(tmp_path / "store", pipeline(), publish_seconds=1.0, keep=2))
    assert len(world.manifests()) == 2
    first, second = world.manifests()
    decide(world, "rollback", first)
    decide(world, "pin", second)
    world.fill(STREAM[200:400])
    world.run()
    assert {first, second} < world.manifests().keys()
    world.start()
    decide(world, "unpin", second)
    world.fill(STREAM[400:500])
    world.run()
    assert (first in world.manifests(), second in world.manifests(), len(world.manifests())) == (
        True,
        False,
        3,
    )


def test_a_version_that_is_retired_while_it_is_chosen_comes_back(tmp_path: Path) -> None:
    world = learned(World(tmp_path / "store", pipeline(), publish_seconds=1.0, keep=2))
    retired = next(
        int((key or b"").split(b"/")[1])
        for key, value in reversed(list(models(world)))
        if value is None
    )
    decide(world, "rollback", retired)
    world.run()
    assert registry(world).served == retired
    world.predictions(retired)


def models(world: World) -> list[tuple[bytes | None, bytes | None]]:
    return list(world.log.read_all("p.models", 0))


def test_manifests_say_what_the_model_is(world: World) -> None:
    manifest = registry(world).current
    assert manifest.features == sorted(STREAM[0].features)
    assert manifest.parameters["LogisticRegression.optimizer"] == "AdaGrad"
    assert (manifest.created_by, manifest.origin, manifest.seed) == ("learner", "learned", None)
    assert manifest.thresholds["decision"] == 0.5
    assert manifest.window is None  # the first has not closed yet
    assert fits("manifest", orjson.loads(manifest.encode()))
    world.fill(STREAM[200:600])
    world.run()
    manifest = registry(world).current
    assert manifest.window is not None
    assert fits("manifest", orjson.loads(manifest.encode()))


def test_what_the_laboratory_said_is_handed_on(world: World) -> None:
    parent = registry(world).current
    profile = {
        "score": {
            "n": 1,
            "mean": 0.5,
            "deviation": 0.0,
            "minimum": 0.5,
            "maximum": 0.5,
            "deciles": [0.5] * 9,
        }
    }
    trained = parent._replace(
        version=10**6,
        origin="trained",
        offline_metrics={"roc_auc": 0.9},
        profile=profile,
        learned=7,
    )
    signed = open_signer(world.settings, "p").sign(trained)
    world.log.append("p.models", b"version/1000000", signed.encode())
    decide(world, "promote", trained.version)
    world.fill(STREAM[200:250])
    world.run()
    newest = registry(world).current
    assert (newest.origin, newest.offline_metrics, newest.profile) == (
        "learned",
        {"roc_auc": 0.9},
        profile,
    )
    assert (newest.learned, trained.version in world.manifests()) == (57, True)


def test_a_checkpoint_of_another_release_is_left_and_everything_learned_again(world: World) -> None:
    earlier = open_signer(world.settings, "p").sign(world.checkpoint()._replace(shape=1))
    world.log.append("p.learn.state", b"checkpoint", earlier.encode())
    world.start()
    assert scores_of_state(world) == offline(STREAM[:200])


def decided(folder: Path, *, crashes: bool) -> World:
    """A rollback, a hold, a resumption, each with examples learned again, a promotion; perhaps a crash at each step."""
    world = learned(World(folder, pipeline(), publish_seconds=1.0))
    decide(world, "rollback", version_of(world, 100), since=offsets(world)[150])
    world.fill(STREAM[200:260])
    decide(world, "pause")
    world.fill(STREAM[260:320])
    decide(world, "resume", since=offsets(world)[280])
    world.fill(STREAM[320:360])
    decide(world, "promote", version_of(world, 150), epoch=2)
    world.fill(STREAM[360:400])
    more = True
    while more:
        if crashes:
            world.transaction(25, crash=True)
            world.start()
        more = world.transaction(25)
        if crashes:
            world.start()
    return world


def test_a_crash_at_every_step_changes_nothing_about_what_is_decided(tmp_path: Path) -> None:
    whole, crashed = (
        decided(tmp_path / str(crashes), crashes=crashes) for crashes in (False, True)
    )
    ours, theirs = whole.processor.state, crashed.processor.state
    assert (ours.control, ours.learned.examples) == (theirs.control, theirs.learned.examples)
    assert not ours.control.paused
    assert (
        scores_of_state(whole)
        == scores_of_state(crashed)
        == offline(STREAM[:150] + STREAM[360:400])
    )
    assert ours.evaluator == theirs.evaluator
    shared = whole.manifests().keys() & crashed.manifests().keys()
    assert len(shared) > 5
    assert all(whole.predictions(version) == crashed.predictions(version) for version in shared)
    assert registry(whole).decision == registry(crashed).decision == 2
