"""Decisions on a real broker, with a real learner and a real scorer: what they do, and how soon it is served."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import orjson
import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.core.learning.examples_log import Control, decode_control
from stream_app.errors import DecisionError, ModelError
from stream_app.model_admin.decisions import (
    hold,
    learning_status,
    pin,
    reason,
    resume,
    switch,
    unpin,
)
from stream_app.model_admin.garbage_collection import collect, find_garbage
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_admin.version_checks import newest_examples, replay
from tests.learning import fits
from tests.model_admin.decision_setup import BATCH, Versioned

pytestmark = pytest.mark.broker

SERVED_SECONDS = 1.0


@pytest.fixture(scope="module")
def system(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Versioned]:
    """Several versions, with the workers at work."""
    with Versioned(broker, tmp_path_factory.mktemp("models")) as versioned:
        versioned.start_all()
        versioned.learn(4)
        yield versioned


def controls(system: Versioned) -> list[Control]:
    found = [decode_control(message.value()) for message in system.read("examples")]
    return [control for control in found if control is not None]


def test_a_rollback_is_served_within_a_second_and_is_in_log_and_audit(system: Versioned) -> None:
    seconds = []
    for _ in range(3):
        seen = system.registry
        before, to = seen.served, system.checker.before(seen)
        assert before is not None
        given = time.monotonic()
        switch(system.desk, seen, "rollback", to, reason("test"))
        system.serves(to.version)
        seconds.append(time.monotonic() - given)
        control = controls(system)[-1]
        assert control[:3] == ("rollback", to.version, seen.decision + 1)
        act = system.desk.acts()[-1]
        assert (act["act"], act["before"], act["after"]) == (
            "rollback",
            f"version {before}",
            f"version {to.version}",
        )
        assert all(fits("audit", act) for act in system.desk.acts())
    assert median(seconds) < SERVED_SECONDS
    system.check_registry()


def test_of_two_at_once_one_wins(system: Versioned) -> None:
    seen = system.registry
    targets = [manifest for manifest in seen.versions.values() if manifest.version != seen.served][
        :2
    ]
    with ThreadPoolExecutor(2) as both:
        ended = list(both.map(lambda to: system.switch("rollback", to, seen), targets))
    assert sorted(ended) == ["FencedError", "done"]
    winner = targets[ended.index("done")].version
    assert system.registry.served == winner
    assert (controls(system)[-1].version, controls(system)[-1].epoch) == (winner, seen.decision + 1)
    system.serves(winner)


def test_a_decision_on_an_outdated_view_is_refused(system: Versioned) -> None:
    seen = system.registry
    first, second = [
        manifest for manifest in seen.versions.values() if manifest.version != seen.served
    ][:2]
    assert system.switch("rollback", first, seen) == "done"
    assert system.switch("rollback", second, seen) == "FencedError"
    assert system.switch("rollback", first) == "DecisionError"


def test_a_promotion_replays_the_newest_examples_first(system: Versioned) -> None:
    seen = system.registry
    to = seen.manifest(max(seen.versions))
    examples = newest_examples(system.desk, system.checker.fingerprint, system.checker.task, 100)
    assert [example.event_id for example in examples][-1:] == [
        orjson.loads(message.value() or b"")["event_id"]
        for message in system.read("examples")
        if message.key() != b"control"
    ][-1:]
    found = replay(system.checker.load(to), examples)
    assert (found.version, found.n) == (to.version, 100)
    assert found.loss is not None
    assert found.loss > 0
    with pytest.raises(DecisionError, match="fails in the replay"):
        replay(system.checker.load(to), [examples[0]._replace(features={"amount": "much"})])
    assert system.switch("promote", to) == "done"
    system.serves(to.version)
    system.learn()
    newest = system.registry.current
    assert (newest.decision, newest.learned) == (seen.decision + 1, to.learned + BATCH)
    assert to in system.registry.ancestors(newest.version)


def test_pins_are_told_and_refused_twice(system: Versioned) -> None:
    version = min(system.registry.versions)
    pin(system.desk, version, reason("reference"))
    assert system.registry.pins[version].why == "reference"
    with pytest.raises(DecisionError, match="pinned already"):
        pin(system.desk, version, reason("again"))
    unpin(system.desk, version, reason("over"))
    assert system.registry.pins == {}
    with pytest.raises(DecisionError, match="not pinned"):
        unpin(system.desk, version, reason("again"))
    with pytest.raises(ModelError, match="no model version 999999"):
        pin(system.desk, 999_999, reason("a typing error"))
    assert [control[:2] for control in controls(system)[-2:]] == [
        ("pin", version),
        ("unpin", version),
    ]


def test_learning_is_held_and_resumed(system: Versioned) -> None:
    system.obey()
    status = learning_status(system.desk)
    assert (status.held, status.served) == (False, system.registry.served)
    with pytest.raises(DecisionError, match="not held"):
        resume(system.desk, reason("test"))
    hold(system.desk, reason("labels are being mended"))
    status = learning_status(system.desk)
    assert (status.held, status.why) == (True, "labels are being mended")
    before = system.registry
    system.send_batch()
    system.settle()
    system.obey()
    assert system.registry.versions == before.versions
    with pytest.raises(DecisionError, match="held already"):
        hold(system.desk, reason("again"))
    with pytest.raises(DecisionError, match="none of them"):
        resume(system.desk, reason("test"), since=10**9)
    start = status.log_end
    resume(system.desk, reason("mended"), since=start)
    system.obey()
    assert not learning_status(system.desk).held
    system.learn()
    assert system.registry.current.learned == before.current.learned + 2 * BATCH
    assert [(one.command, one.since) for one in controls(system)[-2:]] == [
        ("pause", None),
        ("resume", start),
    ]


def test_a_rollback_can_hold_learning_and_says_what_it_may_learn_again(system: Versioned) -> None:
    seen = system.registry
    to = next(one for one in seen.versions.values() if one.version not in (seen.served, 0))
    with pytest.raises(DecisionError, match="learn those from 0 on twice"):
        switch(system.desk, seen, "rollback", to, reason("test"), since=0)
    switch(system.desk, seen, "rollback", to, reason("test"), since=to.version, hold=True)
    assert system.registry.paused
    assert [(one.command, one.since) for one in controls(system)[-2:]] == [
        ("rollback", to.version),
        ("pause", None),
    ]
    resume(system.desk, reason("test"))


def test_only_what_nothing_names_is_collected_and_only_when_it_is_old(system: Versioned) -> None:
    system.garbage(3)
    young = system.checker.store.put(b"not yet named")
    found = find_garbage(system.desk, system.checker.store, 3600, time.time())
    assert (len(found.artifacts), found.young >= 1) == (3, True)
    seen: list[tuple[int, int]] = []
    collected = collect(
        system.desk, system.checker.store, 3600, reason("test"), lambda *done: seen.append(done)
    )
    assert collected.artifacts == found.artifacts
    assert seen[-1] == (3, found.size)
    assert young.sha256 in {one.sha256 for one in system.checker.store.stored()}
    assert system.desk.acts()[-1]["counts"] == {"artifacts": 3, "bytes": found.size}
    assert find_garbage(system.desk, system.checker.store, 3600, time.time()).artifacts == []
    system.check_registry()


def test_a_version_stored_again_is_young(system: Versioned) -> None:
    system.garbage(1)
    system.checker.store.put(b"garbage 0")
    assert find_garbage(system.desk, system.checker.store, 3600, time.time()).artifacts == []


def test_a_version_that_does_not_load_is_passed_over(system: Versioned, tmp_path: Path) -> None:
    seen = system.registry
    newest = max(seen.versions)
    if seen.served != newest:
        assert system.switch("promote", seen.manifest(newest)) == "done"
    seen = system.registry
    first, second, *_ = seen.ancestors(newest)
    file = Path(system.checker.store.locate(first.sha256))
    good = file.read_bytes()
    file.write_bytes(b"damaged")
    try:
        assert system.checker.before(seen) == second
        assert system.checker.before(seen, load=False) == first
        assert "is damaged" in (system.checker.problem(first) or "")
    finally:
        file.write_bytes(good)


def test_a_damaged_manifest_stops_collecting_and_nothing_else(system: Versioned) -> None:
    system.producer.produce(f"{system.name}.models", b"{", b"version/5")
    system.producer.flush()
    desk = ModelAdmin(system.settings, system.name)
    assert desk.registry().unreadable == ["version/5"]
    assert desk.registry().served == system.registry.served
    with pytest.raises(ModelError, match="version/5"):
        find_garbage(desk, system.checker.store, 0, time.time())
    system.producer.produce(f"{system.name}.models", None, b"version/5")
    system.producer.flush()
    assert desk.registry().unreadable == []
