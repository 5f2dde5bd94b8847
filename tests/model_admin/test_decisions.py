"""Tests effect and speed of decisions on a real broker, with a real learner and scorer."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
from msgspec.structs import replace

from stream_app.broker import EmbeddedBroker
from stream_app.core.learning.control_commands import Control, decode_control
from stream_app.core.monitoring.partition_watermark import WINDOW_KEY, decode_window
from stream_app.errors import DecisionError, ModelError
from stream_app.model_admin.decisions import change_version, change_window, pin, unpin
from stream_app.model_admin.learning_decisions import exclude, include, pause, resume
from stream_app.model_admin.learning_status import learning_status
from stream_app.model_admin.model_admin import ModelAdmin, collect, find_garbage
from stream_app.model_admin.version_checks import evaluate_version, newest_examples
from stream_app.model_store.model_registry import reason
from tests.learning import fits
from tests.model_admin.decision_setup import BATCH, VersionedSystem
from tests.patience import PATIENCE

pytestmark = pytest.mark.broker

SERVED_SECONDS = 1.0 * PATIENCE


@pytest.fixture(scope="module")
def system(
    broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VersionedSystem]:
    """Start the workers and publish several versions."""
    with VersionedSystem(broker, tmp_path_factory.mktemp("models")) as versioned:
        versioned.start_all()
        versioned.learn(4)
        yield versioned


def controls(system: VersionedSystem) -> list[Control]:
    found = [decode_control(message.value()) for message in system.read("examples")]
    return [control for control in found if control is not None]


def test_a_rollback_is_served_within_a_second_and_written_to_log_and_audit(
    system: VersionedSystem,
) -> None:
    seconds = []
    for _ in range(3):
        seen = system.registry
        before, to = seen.served, system.loader.previous(seen)
        assert before is not None
        given = time.monotonic()
        change_version(system.admin, seen, "rollback", to, reason("test"))
        system.serves(to.version)
        seconds.append(time.monotonic() - given)
        control = controls(system)[-1]
        assert control[:3] == ("rollback", to.version, seen.decision + 1)
        entry = system.admin.audit_entries()[-1]
        assert (entry["operation"], entry["before"], entry["after"]) == (
            "rollback",
            f"version {before}",
            f"version {to.version}",
        )
        assert all(fits("audit", entry) for entry in system.admin.audit_entries())
    # The others may have waited for the processor.
    assert min(seconds) < SERVED_SECONDS
    system.check_registry()


def test_one_of_two_concurrent_decisions_is_fenced(system: VersionedSystem) -> None:
    seen = system.registry
    targets = [manifest for manifest in seen.versions.values() if manifest.version != seen.served][
        :2
    ]
    with ThreadPoolExecutor(2) as both:
        ended = list(both.map(lambda to: system.change_version("rollback", to, seen), targets))
    assert sorted(ended) == ["FencedError", "done"]
    winner = targets[ended.index("done")].version
    assert system.registry.served == winner
    assert (controls(system)[-1].version, controls(system)[-1].decision) == (
        winner,
        seen.decision + 1,
    )
    system.serves(winner)


def test_a_decision_based_on_an_outdated_registry_is_fenced(system: VersionedSystem) -> None:
    seen = system.registry
    first, second = [
        manifest for manifest in seen.versions.values() if manifest.version != seen.served
    ][:2]
    assert system.change_version("rollback", first, seen) == "done"
    assert system.change_version("rollback", second, seen) == "FencedError"
    assert system.change_version("rollback", first) == "DecisionError"


def test_a_version_is_evaluated_on_the_newest_examples_before_promotion(
    system: VersionedSystem,
) -> None:
    seen = system.registry
    to = seen.manifest(max(version for version in seen.versions if version != seen.served))
    examples = newest_examples(system.admin, system.loader.fingerprint, system.loader.task, 100)
    assert [example.event_id for example in examples][-1:] == [
        orjson.loads(message.value() or b"")["event_id"]
        for message in system.read("examples")
        if message.key() != b"control"
    ][-1:]
    found = evaluate_version(system.loader.load(to), examples)
    assert (found.version, found.n) == (to.version, 100)
    assert found.loss is not None
    assert found.loss > 0
    with pytest.raises(DecisionError, match="fails on the newest examples"):
        evaluate_version(
            system.loader.load(to), [replace(examples[0], features={"amount": "much"})]
        )
    assert system.change_version("promote", to) == "done"
    system.serves(to.version)
    system.learn()
    newest = system.registry.current
    assert (newest.decision, newest.learned) == (seen.decision + 1, to.learned + BATCH)
    assert to in system.registry.ancestors(newest.version)


def test_a_version_can_be_pinned_and_unpinned_only_once(system: VersionedSystem) -> None:
    version = min(system.registry.versions)
    pin(system.admin, version, reason("reference"))
    assert system.registry.pins[version].why == "reference"
    with pytest.raises(DecisionError, match="pinned already"):
        pin(system.admin, version, reason("again"))
    unpin(system.admin, version, reason("over"))
    assert system.registry.pins == {}
    with pytest.raises(DecisionError, match="not pinned"):
        unpin(system.admin, version, reason("again"))
    with pytest.raises(ModelError, match="no model version 999999"):
        pin(system.admin, 999_999, reason("a typing error"))
    assert [control[:2] for control in controls(system)[-2:]] == [
        ("pin", version),
        ("unpin", version),
    ]


def test_learning_is_paused_and_resumed(system: VersionedSystem) -> None:
    system.wait_until_applied()
    status = learning_status(system.admin)
    assert (status.paused, status.served) == (False, system.registry.served)
    with pytest.raises(DecisionError, match="not paused"):
        resume(system.admin, reason("test"))
    pause(system.admin, reason("wrong labels"))
    status = learning_status(system.admin)
    assert (status.paused, status.why) == (True, "wrong labels")
    before = system.registry
    system.send_batch()
    system.await_outcomes()
    system.wait_until_applied()
    assert system.registry.versions == before.versions
    with pytest.raises(DecisionError, match="paused already"):
        pause(system.admin, reason("again"))
    with pytest.raises(DecisionError, match="is outside"):
        resume(system.admin, reason("test"), since=10**9)
    start = status.log_end
    resume(system.admin, reason("labels corrected"), since=start)
    system.wait_until_applied()
    assert not learning_status(system.admin).paused
    system.learn()
    assert system.registry.current.learned == before.current.learned + 2 * BATCH
    assert [(one.command, one.since) for one in controls(system)[-2:]] == [
        ("pause", None),
        ("resume", start),
    ]


def test_a_source_is_paused_and_a_span_excluded_until_both_are_withdrawn(
    system: VersionedSystem,
) -> None:
    admin, before = system.admin, system.registry
    first, end = system.now, system.now + 10**9
    served = before.current
    pause(admin, reason("empty file"), "disputes")
    made, kept = exclude(admin, first, end, reason("inverted"))
    assert kept is None or (kept.learned_through or 0) < first <= (served.learned_through or 0)
    for again, message in (
        (lambda: pause(admin, reason("again"), "disputes"), "from disputes is paused already"),
        (lambda: exclude(admin, first, end, reason("again")), "excluded already"),
        (lambda: include(admin, made.number + 1, reason("x")), "does not exist"),
        (lambda: resume(admin, reason("x"), source="bank"), "from bank is not paused"),
    ):
        with pytest.raises(DecisionError, match=message):
            again()
    system.send_batch()
    system.await_outcomes()
    system.wait_until_applied()
    status = learning_status(admin)
    assert (status.paused, list(status.paused_sources), status.exclusions) == (
        False,
        ["disputes"],
        (made,),
    )
    # All labels are of the span: they are evaluated only, so nothing is published.
    assert system.registry.versions == before.versions
    include(admin, made.number, reason("they were right"))
    resume(admin, reason("corrected"), source="disputes")
    with pytest.raises(DecisionError, match="withdrawn already"):
        include(admin, made.number, reason("again"))
    assert system.registry.rules.is_empty
    system.learn()
    assert system.registry.current.learned == served.learned + BATCH
    assert [(one.command, one.source, one.exclusion) for one in controls(system)[-4:]] == [
        ("pause", "disputes", None),
        ("exclude", None, made.number),
        ("include", None, made.number),
        ("resume", "disputes", None),
    ]
    entries = admin.audit_entries()
    assert all(fits("audit", entry) for entry in entries)
    assert [entry["operation"] for entry in entries[-4:]] == [
        "pause",
        "exclude",
        "include",
        "resume",
    ]


def test_a_rollback_can_pause_learning_and_rejects_learning_twice(system: VersionedSystem) -> None:
    seen = system.registry
    to = next(one for one in seen.versions.values() if one.version not in (seen.served, 0))
    with pytest.raises(DecisionError, match="learn those from 0 on twice"):
        change_version(system.admin, seen, "rollback", to, reason("test"), since=0)
    change_version(system.admin, seen, "rollback", to, reason("test"), since=to.version, pause=True)
    assert system.registry.paused
    assert [(one.command, one.since) for one in controls(system)[-2:]] == [
        ("rollback", to.version),
        ("pause", None),
    ]
    resume(system.admin, reason("test"))


def test_a_change_of_windows_is_in_the_log_of_watermarks_and_in_the_audit(
    system: VersionedSystem,
) -> None:
    change_window(system.admin, 3_600_000, reason("more data"))
    commands = [one for one in system.read("watermarks") if one.key() == WINDOW_KEY]
    assert [decode_window(one.value()) for one in commands] == [3_600_000]
    (entry,) = [one for one in system.values("audit") if one["operation"] == "window"]
    assert (entry["after"], entry["why"]) == ("60 min", "more data")
    assert fits("audit", entry)


def test_only_old_artifacts_that_nothing_names_are_collected(system: VersionedSystem) -> None:
    system.store_garbage(3)
    young = system.loader.store.put(b"not yet named")
    found = find_garbage(system.admin, system.loader.store, 3600, time.time())
    assert (len(found.artifacts), found.young >= 1) == (3, True)
    seen: list[tuple[int, int]] = []
    collected = collect(
        system.admin, system.loader.store, 3600, reason("test"), lambda *done: seen.append(done)
    )
    assert collected.artifacts == found.artifacts
    assert seen[-1] == (3, found.size)
    assert young.sha256 in {one.sha256 for one in system.loader.store.stored()}
    assert system.admin.audit_entries()[-1]["counts"] == {"artifacts": 3, "bytes": found.size}
    assert find_garbage(system.admin, system.loader.store, 3600, time.time()).artifacts == []
    system.check_registry()


def test_an_artifact_that_is_stored_again_is_not_collected(system: VersionedSystem) -> None:
    system.store_garbage(1)
    system.loader.store.put(b"garbage 0")
    assert find_garbage(system.admin, system.loader.store, 3600, time.time()).artifacts == []


def test_a_rollback_skips_a_version_that_does_not_load(
    system: VersionedSystem, tmp_path: Path
) -> None:
    seen = system.registry
    newest = max(seen.versions)
    if seen.served != newest:
        assert system.change_version("promote", seen.manifest(newest)) == "done"
    seen = system.registry
    first, second, *_ = seen.ancestors(newest)
    file = Path(system.loader.store.locate(first.sha256))
    good = file.read_bytes()
    file.write_bytes(b"damaged")
    try:
        assert system.loader.previous(seen) == second
        assert system.loader.previous(seen, load=False) == first
        assert "is damaged" in (system.loader.problem(first) or "")
    finally:
        file.write_bytes(good)


def test_a_damaged_manifest_prevents_garbage_collection_only(system: VersionedSystem) -> None:
    system.producer.produce(f"{system.name}.models", b"{", b"version/5")
    system.producer.flush()
    admin = ModelAdmin(system.settings, system.name)
    assert admin.registry().unreadable == ["version/5"]
    assert admin.registry().served == system.registry.served
    with pytest.raises(ModelError, match="version/5"):
        find_garbage(admin, system.loader.store, 0, time.time())
    system.producer.produce(f"{system.name}.models", None, b"version/5")
    system.producer.flush()
    assert admin.registry().unreadable == []
