"""Thresholds that act: the learner goes back by itself, holds, says why, and does it once."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from stream_app.core.example import Example
from stream_app.core.learning.examples_log import LEARNER, Control, decode_control
from stream_app.model_store.manifest import Manifest
from stream_app.pipeline import Threshold, Thresholds
from tests.learning import HOUR, examples, fits, pipeline
from tests.worker.roles.test_control_handling import acts, decide, offline, offsets, registry
from tests.worker.roles.test_learn_processor import World, alarms, measurements_of

ALARM = "threshold-log_loss-rollback"
GOOD, BAD = range(240), range(240, 480)  # examples, of which sixty make an hour


def served(good: bool, one: Example) -> Example:
    """As it would be if the model knew, or were sure of the opposite."""
    right = 0.9 if one.label else 0.1
    return one._replace(score=right if good else 1 - right)


STREAM = [served(number not in BAD, one) for number, one in enumerate(examples(900))]


def declared(**changes: Any) -> Any:
    values: dict[str, Any] = {
        "metric": "log_loss",
        "limit": 0.6,
        "action": "rollback",
        "labels": 30,
        "windows": 2,
    }
    limit = Threshold(**(values | changes))
    return pipeline(window=timedelta(hours=1), thresholds=Thresholds(metrics=(limit,)))


def world_of(folder: Path, stream: Sequence[Example], keep: int = 500, **changes: Any) -> World:
    """It has learned this stream, a version for each twenty examples."""
    world = World(
        folder / "store", declared(**changes), keep=keep, publish_examples=20, publish_seconds=1.0
    )
    world.fill(list(stream))
    world.start()
    world.transaction(0)
    world.run(20)
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The bad hours are over, and have been found."""
    return world_of(tmp_path, STREAM[:480])


def since(world: World, stream: Sequence[Example], *, good: bool) -> list[Example]:
    """These examples, served by what is served now, as predictions of before a rollback do not count after it."""
    version = registry(world).current.version
    return [served(good, one)._replace(model_version=version) for one in stream]


def orders(world: World) -> list[Control]:
    """The learner's decisions."""
    controls = [decode_control(record.value) for record in world.log.topics["p.examples/0"]]
    return [control for control in controls if control is not None and control.who == LEARNER]


def needed(world: World) -> list[dict[str, Any]]:
    return [one for one in measurements_of(world) if one["kind"] == "experimentation_needed"]


def gone_back_to(world: World) -> Manifest:
    found = registry(world).current
    assert found.version == orders(world)[-1].version
    return found


def test_it_goes_back_to_the_newest_version_of_before_and_holds(world: World) -> None:
    assert [(one.command, one.decision) for one in orders(world)] == [("pause", 0), ("rollback", 1)]
    (event,) = needed(world)
    target, first = gone_back_to(world), event["examples"]["first"]
    assert registry(world).paused
    assert first - 40 < target.version <= first
    assert target.metrics["log_loss"] < 0.6
    learned = STREAM[: target.learned]
    assert max(one.label_time for one in learned) < event["window"]["end"] - HOUR
    assert world.predictions(target.version) == offline(learned)


def test_the_event_says_metric_value_limit_windows_examples_and_what_was_done(world: World) -> None:
    (event,) = needed(world)
    windows = [
        one
        for one in measurements_of(world)
        if one["kind"] == "performance" and one["name"] == "log_loss"
    ]
    bad = [one for one in windows if one["breached"]][:2]
    assert (event["name"], event["threshold"], event["value"]) == ("log_loss", 0.6, bad[1]["value"])
    assert event["window"] == {"start": bad[0]["window"]["start"], "end": bad[1]["window"]["end"]}
    assert event["n"] == bad[0]["n"] + bad[1]["n"]
    assert (
        event["reference"]
        == f"rolled back to version {gone_back_to(world).version}, learning is held"
    )
    times = dict(zip(offsets(world), (one.label_time for one in STREAM), strict=False))
    within = [
        offset
        for offset, time in times.items()
        if event["window"]["start"] <= time < event["window"]["end"]
    ]
    assert event["examples"]["first"] == min(within)
    first, last = event["examples"].values()
    assert sum(first <= offset <= last for offset in times) >= event["n"]


def test_the_audit_has_both_decisions_with_the_reason(world: World) -> None:
    found = acts(world)
    assert [(act["act"], act["who"], act["after"]) for act in found] == [
        ("pause", "learner", "held"),
        ("rollback", "learner", f"version {gone_back_to(world).version}"),
    ]
    assert all("is above 0.6 in 2 windows in a row: 1970-01-01T" in act["why"] for act in found)


def test_it_is_done_once_however_long_the_breach_lasts(tmp_path: Path) -> None:
    stream = [served(good=number in GOOD, one=one) for number, one in enumerate(examples(900))]
    assert len(orders(world_of(tmp_path, stream))) == 2


def test_one_alarm_lasts_until_a_window_is_well_again(world: World) -> None:
    world.fill(since(world, STREAM[480:700], good=True))
    world.run(20)
    assert [one for one in alarms(world) if one[0] == ALARM] == [(ALARM, True), (ALARM, False)]


def test_after_a_resumption_it_learns_on_from_that_version_and_can_go_back_again(
    world: World,
) -> None:
    target = gone_back_to(world)
    decide(world, "resume", epoch=1)
    world.fill(since(world, STREAM[480:700], good=True))
    world.run(20)
    after = STREAM[: target.learned] + STREAM[480:700]
    assert world.predictions(world.champion()) == offline(after)
    world.fill(since(world, STREAM[700:], good=False))
    world.run(20)
    assert [(one.command, one.decision) for one in orders(world)[2:]] == [("pause", 1), ("rollback", 2)]
    newest = gone_back_to(world)
    assert newest.parent is not None
    assert world.predictions(newest.version) == offline(after[: newest.learned])


def test_during_the_rest_after_a_resumption_nothing_is_done(tmp_path: Path) -> None:
    world = world_of(tmp_path, STREAM[:480], cool_down=timedelta(hours=2))
    decide(world, "resume", epoch=1)
    world.fill(since(world, STREAM[480:720], good=False))
    world.run(20)
    assert len(orders(world)) == 2
    world.fill(since(world, STREAM[720:], good=False))
    world.run(20)
    assert len(orders(world)) == 4


def test_without_a_version_of_before_it_only_holds_and_says_so(tmp_path: Path) -> None:
    world = world_of(tmp_path, [served(False, one) for one in STREAM[:480]])
    assert [one.command for one in orders(world)] == ["pause"]
    assert needed(world)[0]["reference"] == "learning is held, for no version of before is left"
    assert registry(world).paused


def test_a_version_that_does_not_load_is_passed_over(tmp_path: Path) -> None:
    world = world_of(tmp_path, STREAM[:260])
    for manifest in world.manifests().values():
        if manifest.learned > 180:
            (world.folder / manifest.sha256).write_bytes(b"damaged")
    world.fill(STREAM[260:480])
    world.run(20)
    assert gone_back_to(world).learned == 180


def test_a_hold_keeps_the_version(tmp_path: Path) -> None:
    world = world_of(tmp_path, STREAM[:480], action="pause")
    assert [one.command for one in orders(world)] == ["pause"]
    assert registry(world).current.learned > BAD.start
    assert needed(world)[0]["reference"] == "learning is held"


def test_an_alarm_only_tells(tmp_path: Path) -> None:
    world = world_of(tmp_path, STREAM[:480], action="alarm")
    assert (orders(world), needed(world), acts(world)) == ([], [], [])
    assert ("threshold-log_loss-alarm", True) in alarms(world)


def test_versions_to_go_back_to_are_kept_as_long_as_they_may_be_needed(tmp_path: Path) -> None:
    many = gone_back_to(world_of(tmp_path / "many", STREAM[:480]))
    few = world_of(tmp_path / "few", STREAM[:480], keep=2)
    assert gone_back_to(few).version == many.version
    assert len(few.manifests()) < 6


def test_a_decision_of_somebody_else_meanwhile_makes_its_own_void(tmp_path: Path) -> None:
    world = world_of(tmp_path, STREAM[:200])
    chosen = registry(world).current.version
    world.fill(STREAM[200:480])
    while not orders(world):
        world.transaction(20)
    behind = world.log.topics["p.examples/0"]
    index = next(
        i
        for i, record in enumerate(behind)
        if (one := decode_control(record.value)) and one.who == LEARNER
    )
    decision = Control("rollback", chosen, 1, "2026-01-01T00:00:00Z", "ann@here", "test")
    behind[index - 1] = behind[index - 1]._replace(key=b"control", value=decision.encode())
    world.run(20)
    assert (registry(world).paused, registry(world).decision, acts(world)) == (False, 1, [])


@pytest.mark.parametrize("crash", [1, 2, 3])
def test_a_crash_with_the_order_in_hand_orders_once(tmp_path: Path, crash: int) -> None:
    whole = world_of(tmp_path / "whole", STREAM[:480])
    world = world_of(tmp_path / "crashed", STREAM[:300])
    world.fill(STREAM[300:480])
    while len(orders(world)) < len(orders(whole)) or world.transaction(20):
        for _ in range(crash):
            world.transaction(20, crash=True)
            world.start()
        world.transaction(20)
    assert [one._replace(at="") for one in orders(world)] == [
        one._replace(at="") for one in orders(whole)
    ]
    assert world.processor.state.thresholds == whole.processor.state.thresholds


def test_a_change_of_thresholds_is_in_the_audit_once(world: World) -> None:
    world.declared = declared(limit=0.7)
    for _ in range(3):
        world.start()
        world.transaction(0)
    (change,) = [act for act in acts(world) if act["act"] == "thresholds"]
    assert [
        orjson.loads(change[when])["metrics"][ALARM]["limit"] for when in ("before", "after")
    ] == [0.6, 0.7]


def test_manifests_name_the_limits_and_fit_the_schema(world: World) -> None:
    for manifest in world.manifests().values():
        assert manifest.thresholds["metrics"][ALARM]["windows"] == 2
        assert fits("manifest", orjson.loads(manifest.encode()))


def test_an_alarm_of_a_threshold_that_is_declared_no_more_ends(world: World) -> None:
    world.declared = pipeline(window=timedelta(hours=1))
    world.start()
    world.transaction(0)
    assert alarms(world)[-1] == (ALARM, False)
