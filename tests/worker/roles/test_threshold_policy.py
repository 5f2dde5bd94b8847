"""A breached threshold pauses learning or rolls back, once and with its reason."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from stream_app.core.examples import Example
from stream_app.core.learning.control_commands import LEARNER, Control, decode_control
from stream_app.model_store.manifest import Manifest
from stream_app.pipeline import Threshold, Thresholds
from tests.learning import HOUR, examples, fits, pipeline
from tests.worker.roles.learner_driver import (
    LearnerDriver,
    alarms,
    audit_entries,
    decide,
    measurements_of,
    offline,
    offsets,
    registry,
)

ALARM = "threshold-log_loss-rollback"
# Numbers of examples; there are sixty per hour.
GOOD, BAD = range(240), range(240, 480)


def served(good: bool, one: Example) -> Example:
    """Return the example with a confident prediction, right or wrong."""
    right = 0.9 if one.label else 0.1
    return replace(one, score=right if good else 1 - right)


STREAM = [served(number not in BAD, one) for number, one in enumerate(examples(900))]


def declared(**changes: Any) -> Any:
    values: dict[str, Any] = {
        "metric": "log_loss",
        "limit": 0.6,
        "action": "rollback",
        "min_labels": 30,
        "windows": 2,
    }
    limit = Threshold(**(values | changes))
    return pipeline(window=timedelta(hours=1), thresholds=Thresholds(metrics=(limit,)))


def driver_of(
    folder: Path, stream: Sequence[Example], keep: int = 500, **changes: Any
) -> LearnerDriver:
    """Return a driver that has learned a stream, with a version per twenty examples."""
    driver = LearnerDriver(
        folder / "store", declared(**changes), keep=keep, publish_examples=20, publish_seconds=1.0
    )
    driver.fill(list(stream))
    driver.start()
    driver.transaction(0)
    driver.run(20)
    return driver


@pytest.fixture
def driver(tmp_path: Path) -> LearnerDriver:
    """Driver after the bad hours, with the rollback requested."""
    return driver_of(tmp_path, STREAM[:480])


def since(driver: LearnerDriver, stream: Sequence[Example], *, good: bool) -> list[Example]:
    """Return the examples with predictions of the version served now.

    Predictions of superseded versions do not count.
    """
    version = registry(driver).current.version
    return [replace(served(good, one), model_version=version) for one in stream]


def commands(driver: LearnerDriver) -> list[Control]:
    """Return the control records of the learner."""
    controls = [decode_control(record.value) for record in driver.log.topics["p.examples/0"]]
    return [control for control in controls if control is not None and control.who == LEARNER]


def experimentation_events(driver: LearnerDriver) -> list[dict[str, Any]]:
    return [one for one in measurements_of(driver) if one["kind"] == "experimentation_needed"]


def rolled_back_to(driver: LearnerDriver) -> Manifest:
    found = registry(driver).current
    assert found.version == commands(driver)[-1].version
    return found


def test_it_rolls_back_to_the_newest_version_before_the_breach_and_pauses(
    driver: LearnerDriver,
) -> None:
    assert [(one.command, one.decision) for one in commands(driver)] == [
        ("pause", 0),
        ("rollback", 1),
    ]
    (event,) = experimentation_events(driver)
    target, first = rolled_back_to(driver), event["examples"]["first"]
    assert registry(driver).paused
    assert first - 40 < target.version <= first
    assert target.metrics["log_loss"] < 0.6
    learned = STREAM[: target.learned]
    assert max(one.label_time for one in learned) < event["window"]["end"] - HOUR
    assert driver.predictions(target.version) == offline(learned)


def test_the_event_has_metric_value_limit_windows_examples_and_result(
    driver: LearnerDriver,
) -> None:
    (event,) = experimentation_events(driver)
    windows = [
        one
        for one in measurements_of(driver)
        if one["kind"] == "performance" and one["name"] == "log_loss"
    ]
    bad = [one for one in windows if one["breached"]][:2]
    assert (event["name"], event["threshold"], event["value"]) == ("log_loss", 0.6, bad[1]["value"])
    assert event["window"] == {"start": bad[0]["window"]["start"], "end": bad[1]["window"]["end"]}
    assert event["n"] == bad[0]["n"] + bad[1]["n"]
    assert (
        event["reference"]
        == f"rolled back to version {rolled_back_to(driver).version}, learning is paused"
    )
    times = dict(zip(offsets(driver), (one.label_time for one in STREAM), strict=False))
    within = [
        offset
        for offset, time in times.items()
        if event["window"]["start"] <= time < event["window"]["end"]
    ]
    assert event["examples"]["first"] == min(within)
    first, last = event["examples"].values()
    assert sum(first <= offset <= last for offset in times) >= event["n"]


def test_the_audit_has_both_decisions_with_the_reason(driver: LearnerDriver) -> None:
    found = audit_entries(driver)
    assert [(entry["operation"], entry["who"], entry["after"]) for entry in found] == [
        ("pause", "learner", "paused"),
        ("rollback", "learner", f"version {rolled_back_to(driver).version}"),
    ]
    assert all("is above 0.6 in 2 windows in a row: 1970-01-01T" in entry["why"] for entry in found)


def test_a_long_breach_triggers_one_action(tmp_path: Path) -> None:
    stream = [served(good=number in GOOD, one=one) for number, one in enumerate(examples(900))]
    assert len(commands(driver_of(tmp_path, stream))) == 2


def test_the_alarm_ends_with_the_first_window_within_the_limit(driver: LearnerDriver) -> None:
    driver.fill(since(driver, STREAM[480:700], good=True))
    driver.run(20)
    assert [one for one in alarms(driver) if one[0] == ALARM] == [(ALARM, True), (ALARM, False)]


def test_after_a_resumption_it_learns_from_the_selected_version_and_can_roll_back_again(
    driver: LearnerDriver,
) -> None:
    target = rolled_back_to(driver)
    decide(driver, "resume", decision=1)
    driver.fill(since(driver, STREAM[480:700], good=True))
    driver.run(20)
    after = STREAM[: target.learned] + STREAM[480:700]
    assert driver.predictions(driver.champion()) == offline(after)
    driver.fill(since(driver, STREAM[700:], good=False))
    driver.run(20)
    assert [(one.command, one.decision) for one in commands(driver)[2:]] == [
        ("pause", 1),
        ("rollback", 2),
    ]
    newest = rolled_back_to(driver)
    assert newest.parent is not None
    assert driver.predictions(newest.version) == offline(after[: newest.learned])


def test_during_the_cool_down_after_a_resumption_nothing_is_triggered(tmp_path: Path) -> None:
    driver = driver_of(tmp_path, STREAM[:480], cool_down=timedelta(hours=2))
    decide(driver, "resume", decision=1)
    driver.fill(since(driver, STREAM[480:720], good=False))
    driver.run(20)
    assert len(commands(driver)) == 2
    driver.fill(since(driver, STREAM[720:], good=False))
    driver.run(20)
    assert len(commands(driver)) == 4


def test_without_an_earlier_version_it_only_pauses(tmp_path: Path) -> None:
    driver = driver_of(tmp_path, [served(False, one) for one in STREAM[:480]])
    assert [one.command for one in commands(driver)] == ["pause"]
    assert (
        experimentation_events(driver)[0]["reference"]
        == "learning is paused, because no earlier version is left"
    )
    assert registry(driver).paused


def test_a_version_that_does_not_load_is_not_selected(tmp_path: Path) -> None:
    driver = driver_of(tmp_path, STREAM[:260])
    for manifest in driver.manifests().values():
        if manifest.learned > 180:
            (driver.folder / manifest.sha256).write_bytes(b"damaged")
    driver.fill(STREAM[260:480])
    driver.run(20)
    assert rolled_back_to(driver).learned == 180


def test_a_pause_keeps_the_served_version(tmp_path: Path) -> None:
    driver = driver_of(tmp_path, STREAM[:480], action="pause")
    assert [one.command for one in commands(driver)] == ["pause"]
    assert registry(driver).current.learned > BAD.start
    assert experimentation_events(driver)[0]["reference"] == "learning is paused"


def test_an_alarm_action_changes_nothing(tmp_path: Path) -> None:
    driver = driver_of(tmp_path, STREAM[:480], action="alarm")
    assert (commands(driver), experimentation_events(driver), audit_entries(driver)) == ([], [], [])
    assert ("threshold-log_loss-alarm", True) in alarms(driver)


def test_rollback_candidates_are_retained(tmp_path: Path) -> None:
    many = rolled_back_to(driver_of(tmp_path / "many", STREAM[:480]))
    few = driver_of(tmp_path / "few", STREAM[:480], keep=2)
    assert rolled_back_to(few).version == many.version
    assert len(few.manifests()) < 6


def test_a_concurrent_decision_makes_the_requested_ones_void(tmp_path: Path) -> None:
    driver = driver_of(tmp_path, STREAM[:200])
    selected = registry(driver).current.version
    driver.fill(STREAM[200:480])
    while not commands(driver):
        driver.transaction(20)
    behind = driver.log.topics["p.examples/0"]
    index = next(
        i
        for i, record in enumerate(behind)
        if (one := decode_control(record.value)) and one.who == LEARNER
    )
    decision = Control("rollback", selected, 1, "2026-01-01T00:00:00Z", "ann@here", "test")
    behind[index - 1] = behind[index - 1]._replace(key=b"control", value=decision.encode())
    driver.run(20)
    assert (registry(driver).paused, registry(driver).decision, audit_entries(driver)) == (
        False,
        1,
        [],
    )


@pytest.mark.parametrize("crash", [1, 2, 3])
def test_a_crash_before_the_commit_requests_the_action_once(tmp_path: Path, crash: int) -> None:
    whole = driver_of(tmp_path / "whole", STREAM[:480])
    driver = driver_of(tmp_path / "crashed", STREAM[:300])
    driver.fill(STREAM[300:480])
    while len(commands(driver)) < len(commands(whole)) or driver.transaction(20):
        for _ in range(crash):
            driver.transaction(20, crash=True)
            driver.start()
        driver.transaction(20)
    assert [one._replace(at="") for one in commands(driver)] == [
        one._replace(at="") for one in commands(whole)
    ]
    assert driver.processor.state.thresholds == whole.processor.state.thresholds


def test_changed_thresholds_have_one_audit_entry(driver: LearnerDriver) -> None:
    driver.declared = declared(limit=0.7)
    for _ in range(3):
        driver.start()
        driver.transaction(0)
    (change,) = [entry for entry in audit_entries(driver) if entry["operation"] == "thresholds"]
    assert [
        orjson.loads(change[when])["metrics"][ALARM]["limit"] for when in ("before", "after")
    ] == [0.6, 0.7]


def test_manifests_have_the_limits_and_fit_the_schema(driver: LearnerDriver) -> None:
    for manifest in driver.manifests().values():
        assert manifest.thresholds["metrics"][ALARM]["windows"] == 2
        assert fits("manifest", orjson.loads(manifest.encode()))


def test_the_alarm_of_a_removed_threshold_ends(driver: LearnerDriver) -> None:
    driver.declared = pipeline(window=timedelta(hours=1))
    driver.start()
    driver.transaction(0)
    assert alarms(driver)[-1] == (ALARM, False)
