"""The learner applies control records of the log exactly once, over an in-memory log."""

from pathlib import Path

import orjson
import pytest
from msgspec.structs import replace
from prometheus_client import REGISTRY

from stream_app.core.learning.control_commands import CONTROL_KEY, LEARNER, learner_commands
from stream_app.model_store.manifest import REQUESTED_KEY, Alias, encode_alias
from stream_app.model_store.signing import open_signer
from stream_app.worker.processor import WaitReason
from tests.learning import examples, fits, pipeline
from tests.worker.roles.learner_driver import (
    AT,
    LearnerDriver,
    alarms,
    audit_entries,
    decide,
    offline,
    offsets,
    registry,
    remove_store,
    restore_store,
    scores_of_state,
    version_of,
)

STREAM = examples(600)
# Labels of two sources in turn.
SOURCED = [
    replace(one, label_source=("bank", "shop")[number % 2]) for number, one in enumerate(STREAM)
]
# Label times of some examples that are learned before they are excluded, and some after.
SPAN = range(STREAM[150].label_time, STREAM[280].label_time)


@pytest.fixture
def driver(tmp_path: Path) -> LearnerDriver:
    """Driver with version 0 and four versions of fifty examples each; publishes per transaction."""
    return learned(LearnerDriver(tmp_path / "store", pipeline(), publish_seconds=1.0))


def learned(driver: LearnerDriver) -> LearnerDriver:
    driver.fill(SOURCED[:200])
    driver.start()
    driver.transaction(0)
    driver.run()
    return driver


def test_after_a_rollback_learning_continues_from_the_selected_version(
    driver: LearnerDriver,
) -> None:
    target = version_of(driver, 100)
    offset = decide(driver, "rollback", target)
    driver.fill(STREAM[200:300])
    driver.run()
    newest = registry(driver).current
    assert (newest.decision, newest.learned, newest.version > offset) == (1, 200, True)
    assert target in [one.version for one in registry(driver).ancestors(newest.version)]
    assert driver.predictions(newest.version) == offline(STREAM[:100] + STREAM[200:300])
    # The operator has written the audit entry.
    assert audit_entries(driver) == []


def test_a_rollback_can_relearn_examples(driver: LearnerDriver) -> None:
    target = version_of(driver, 100)
    decide(driver, "rollback", target, since=offsets(driver)[150])
    driver.run()
    assert registry(driver).current.learned == 150
    assert scores_of_state(driver) == offline(STREAM[:100] + STREAM[150:200])


def test_paused_examples_are_evaluated_and_can_be_learned_later(driver: LearnerDriver) -> None:
    before = registry(driver).served
    decide(driver, "pause", decision=0)
    driver.fill(STREAM[200:300])
    driver.run()
    assert registry(driver).served == before
    assert (
        driver.processor.state.evaluator.baseline.seen,
        driver.processor.state.learned.examples,
    ) == (
        300,
        200,
    )
    decide(driver, "resume", decision=0, since=0)
    driver.fill(STREAM[300:310])
    driver.run()
    assert driver.predictions(driver.champion()) == offline(STREAM[:310])


def test_a_resumption_without_since_skips_the_paused_examples(driver: LearnerDriver) -> None:
    decide(driver, "pause", decision=0)
    driver.fill(STREAM[200:300])
    decide(driver, "resume", decision=0)
    driver.fill(STREAM[300:310])
    driver.run()
    assert driver.predictions(driver.champion()) == offline(STREAM[:200] + STREAM[300:310])


def test_a_resumption_after_a_rollback_relearns_from_the_selected_version(
    driver: LearnerDriver,
) -> None:
    decide(driver, "rollback", version_of(driver, 100))
    decide(driver, "pause")
    driver.fill(STREAM[200:300])
    driver.run()
    decide(driver, "resume", since=offsets(driver)[180])
    driver.run()
    assert driver.predictions(driver.champion()) == offline(STREAM[:100] + STREAM[180:300])


def test_of_two_concurrent_decisions_the_first_in_the_log_counts(driver: LearnerDriver) -> None:
    first, second = version_of(driver, 100), version_of(driver, 50)
    decide(driver, "rollback", first)
    decide(driver, "rollback", second)
    # The second one was first on the models topic.
    driver.log.append("p.models", REQUESTED_KEY.encode(), encode_alias(Alias(second, 1)))
    driver.run()
    assert registry(driver).served == first
    assert scores_of_state(driver) == offline(STREAM[:100])


def test_versions_published_before_a_pending_decision_are_not_served(driver: LearnerDriver) -> None:
    target = version_of(driver, 100)
    driver.fill(STREAM[200:400])
    offset = decide(driver, "rollback", target)
    driver.log.append("p.models", REQUESTED_KEY.encode(), encode_alias(Alias(target, 1)))
    driver.start()
    while driver.position <= offset:
        assert registry(driver).served == target
        driver.transaction(30)
    assert driver.champion() == target
    driver.fill(STREAM[400:450])
    driver.run()
    assert driver.predictions(registry(driver).served or 0) == offline(
        STREAM[:100] + STREAM[400:450]
    )


def test_control_records_of_the_learner_are_applied_once_when_read_back(
    driver: LearnerDriver,
) -> None:
    before, target = registry(driver).served, version_of(driver, 100)
    commands = learner_commands(
        driver.processor.state.control.decision, AT, "log_loss 0.9 is above 0.7", rollback_to=target
    )
    driver.log.write("p", commands * 2)
    driver.run()
    found = registry(driver)
    assert (found.served, found.decision, found.paused, driver.processor.state.control.paused) == (
        target,
        1,
        True,
        True,
    )
    assert [
        (entry["operation"], entry["who"], entry["before"], entry["after"])
        for entry in audit_entries(driver)
    ] == [
        ("pause", LEARNER, "learning", "paused"),
        ("rollback", LEARNER, f"version {before}", f"version {target}"),
    ]


def test_control_records_of_the_learner_are_void_after_another_decision(
    driver: LearnerDriver,
) -> None:
    commands = learner_commands(
        driver.processor.state.control.decision, AT, "test", rollback_to=version_of(driver, 100)
    )
    selected = version_of(driver, 50)
    decide(driver, "promote", selected)
    driver.log.write("p", commands)
    driver.run()
    assert (
        registry(driver).served,
        driver.processor.state.control.paused,
        audit_entries(driver),
    ) == (
        selected,
        False,
        [],
    )


def test_a_decision_waits_while_the_store_is_away(driver: LearnerDriver) -> None:
    target = version_of(driver, 100)
    decide(driver, "rollback", target)
    remove_store(driver.folder)
    driver.transaction(10)
    driver.transaction(10)
    assert (driver.processor.waiting_for, driver.processor.state.control.decision) == (
        WaitReason.DECISION,
        0,
    )
    assert alarms(driver) == [("store-unavailable", True)]
    restore_store(driver.folder)
    driver.start()
    driver.run()
    assert (driver.champion(), scores_of_state(driver)) == (target, offline(STREAM[:100]))


def test_a_decision_whose_version_does_not_load_is_skipped_in_every_replay(
    driver: LearnerDriver,
) -> None:
    target = registry(driver).manifest(version_of(driver, 100))
    driver.store.delete(target.sha256)
    decide(driver, "rollback", target.version)
    driver.fill(STREAM[200:300])
    driver.run()
    assert ("decision-not-applied", True) in alarms(driver)
    assert (driver.processor.state.control.decision, scores_of_state(driver)) == (
        0,
        offline(STREAM[:300]),
    )
    state = driver.log.topics["p.learn.state/0"]
    driver.log.topics["p.learn.state/0"] = [
        record for record in state if record.key != b"checkpoint"
    ]
    driver.start()
    assert scores_of_state(driver) == offline(STREAM[:300])


def test_relearning_is_done_in_time_slices(driver: LearnerDriver) -> None:
    target = version_of(driver, 0)
    offset = decide(driver, "rollback", target, since=0)
    records = [record for record in driver.log.topics["p.examples/0"] if record.offset == offset]
    calls = 0
    while not driver.processor.ready(records, driver.now):
        assert driver.processor.idle(driver.now, at_end=False) == []
        calls += 1
    assert calls < 50
    driver.transaction(10)
    assert scores_of_state(driver) == offline(STREAM[:200])


def test_an_example_with_the_key_of_control_records_is_learned(driver: LearnerDriver) -> None:
    driver.log.append("p.examples", CONTROL_KEY, STREAM[200].encode())
    driver.run()
    assert (driver.processor.state.learned.examples, driver.processor.state.unlearnable) == (201, 0)


def test_selected_and_pinned_versions_are_retained(tmp_path: Path) -> None:
    driver = learned(LearnerDriver(tmp_path / "store", pipeline(), publish_seconds=1.0, keep=2))
    assert len(driver.manifests()) == 2
    first, second = driver.manifests()
    decide(driver, "rollback", first)
    decide(driver, "pin", second)
    driver.fill(STREAM[200:400])
    driver.run()
    assert {first, second} < driver.manifests().keys()
    driver.start()
    decide(driver, "unpin", second)
    driver.fill(STREAM[400:500])
    driver.run()
    assert (first in driver.manifests(), second in driver.manifests(), len(driver.manifests())) == (
        True,
        False,
        3,
    )


def test_a_version_that_was_just_retired_can_be_selected(tmp_path: Path) -> None:
    driver = learned(LearnerDriver(tmp_path / "store", pipeline(), publish_seconds=1.0, keep=2))
    retired = next(
        int((key or b"").split(b"/")[1])
        for key, value in reversed(list(models(driver)))
        if value is None
    )
    decide(driver, "rollback", retired)
    driver.run()
    assert registry(driver).served == retired
    driver.predictions(retired)


def models(driver: LearnerDriver) -> list[tuple[bytes | None, bytes | None]]:
    return list(driver.log.read_all("p.models", 0))


def test_manifests_describe_the_model(driver: LearnerDriver) -> None:
    manifest = registry(driver).current
    assert manifest.features == sorted(STREAM[0].features)
    assert manifest.parameters["LogisticRegression.optimizer"] == "AdaGrad"
    assert (manifest.created_by, manifest.origin, manifest.seed) == ("learner", "learned", None)
    assert manifest.thresholds["decision"] == 0.5
    # The first window has not closed yet.
    assert manifest.window is None
    assert fits("manifest", orjson.loads(manifest.encode()))
    driver.fill(STREAM[200:600])
    driver.run()
    manifest = registry(driver).current
    assert manifest.window is not None
    assert fits("manifest", orjson.loads(manifest.encode()))


def test_offline_metrics_and_profile_are_inherited(driver: LearnerDriver) -> None:
    parent = registry(driver).current
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
    signed = open_signer(driver.settings, "p").sign(trained)
    driver.log.append("p.models", b"version/1000000", signed.encode())
    decide(driver, "promote", trained.version)
    driver.fill(STREAM[200:250])
    driver.run()
    newest = registry(driver).current
    assert (newest.origin, newest.offline_metrics, newest.profile) == (
        "learned",
        {"roc_auc": 0.9},
        profile,
    )
    assert (newest.learned, trained.version in driver.manifests()) == (57, True)


def test_a_checkpoint_of_another_release_is_ignored_and_all_examples_are_relearned(
    driver: LearnerDriver,
) -> None:
    earlier = open_signer(driver.settings, "p").sign(driver.checkpoint()._replace(state_format=1))
    driver.log.append("p.learn.state", b"checkpoint", earlier.encode())
    driver.start()
    assert scores_of_state(driver) == offline(STREAM[:200])


def finished(driver: LearnerDriver, *, crashes: bool) -> LearnerDriver:
    """Let a driver process the rest of its log; with `crashes`, it crashes at every step."""
    more = True
    while more:
        if crashes:
            driver.transaction(25, crash=True)
            driver.start()
        more = driver.transaction(25)
        if crashes:
            driver.start()
    return driver


def check_same_versions(whole: LearnerDriver, crashed: LearnerDriver) -> None:
    """Check that versions which both have published predict the same."""
    shared = whole.manifests().keys() & crashed.manifests().keys()
    assert len(shared) > 5
    assert all(whole.predictions(version) == crashed.predictions(version) for version in shared)


def run_decisions(folder: Path, *, crashes: bool) -> LearnerDriver:
    """Return a driver after a rollback, a pause, a resumption and a promotion.

    With `crashes`, it crashes at every step.
    """
    driver = learned(LearnerDriver(folder, pipeline(), publish_seconds=1.0))
    decide(driver, "rollback", version_of(driver, 100), since=offsets(driver)[150])
    driver.fill(STREAM[200:260])
    decide(driver, "pause")
    driver.fill(STREAM[260:320])
    decide(driver, "resume", since=offsets(driver)[280])
    driver.fill(STREAM[320:360])
    decide(driver, "promote", version_of(driver, 150), decision=2)
    driver.fill(STREAM[360:400])
    return finished(driver, crashes=crashes)


def test_a_crash_at_every_step_does_not_change_the_applied_decisions(tmp_path: Path) -> None:
    whole, crashed = (
        run_decisions(tmp_path / str(crashes), crashes=crashes) for crashes in (False, True)
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
    check_same_versions(whole, crashed)
    assert registry(whole).decision == registry(crashed).decision == 2


def run_rules(folder: Path, *, crashes: bool) -> LearnerDriver:
    """Return a driver after a paused source, an exclusion, a rollback and a resumption.

    With `crashes`, it crashes at every step.
    """
    driver = learned(LearnerDriver(folder, pipeline(), publish_seconds=1.0))
    decide(driver, "pause", decision=0, source="bank")
    driver.fill(SOURCED[200:260])
    decide(driver, "exclude", decision=0, exclusion=1, start=SPAN.start, end=SPAN.stop)
    decide(driver, "rollback", version_of(driver, 100), since=offsets(driver)[100])
    driver.fill(SOURCED[260:320])
    decide(driver, "resume", source="bank", since=offsets(driver)[210])
    driver.fill(SOURCED[320:340])
    return finished(driver, crashes=crashes)


def test_a_crash_at_every_step_does_not_change_what_is_left_out(tmp_path: Path) -> None:
    whole, crashed = (
        run_rules(tmp_path / str(crashes), crashes=crashes) for crashes in (False, True)
    )
    ours, theirs = whole.processor.state, crashed.processor.state
    kept = [one for one in SOURCED if one.label_time not in SPAN]
    relearned = [one for one in kept if one in SOURCED[100:320] and one.label_source != "bank"]
    late = [one for one in kept if one in SOURCED[210:320] and one.label_source == "bank"]
    expected = [
        *SOURCED[:100],
        *relearned,
        *late,
        *(one for one in kept if one in SOURCED[320:340]),
    ]
    assert scores_of_state(whole) == scores_of_state(crashed) == offline(expected)
    assert (ours.control, ours.not_learned, ours.learned.paused_from) == (
        theirs.control,
        theirs.not_learned,
        theirs.learned.paused_from,
    )
    assert set(ours.not_learned) == {"source-paused", "excluded"}
    check_same_versions(whole, crashed)


def test_examples_that_are_not_learned_are_counted_by_reason(driver: LearnerDriver) -> None:
    def counted(reason: str) -> float:
        return (
            REGISTRY.get_sample_value("stream_app_examples_not_learned_total", {"reason": reason})
            or 0.0
        )

    before = {reason: counted(reason) for reason in ("paused", "source-paused", "excluded")}
    decide(driver, "pause", decision=0, source="bank")
    driver.fill(SOURCED[200:220])
    decide(driver, "exclude", decision=0, exclusion=1, start=0, end=2**50)
    driver.fill(SOURCED[220:240])
    decide(driver, "pause", decision=0)
    driver.fill(SOURCED[240:245])
    driver.run()
    assert {reason: counted(reason) - count for reason, count in before.items()} == {
        "paused": 5,
        "source-paused": 20,
        "excluded": 10,
    }
    driver.start()
    driver.fill(SOURCED[245:247])
    driver.run()
    assert counted("paused") - before["paused"] == 7
