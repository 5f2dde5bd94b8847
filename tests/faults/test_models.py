"""Crashes and concurrency in publishing, promoting, rolling back and garbage collection."""

import re
import signal
import time
from collections.abc import Iterator

import orjson
import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.core.learning.control_commands import decode_control
from stream_app.model_admin.learning_decisions import include
from stream_app.model_store.model_registry import ModelRegistry, reason
from tests.model_admin.decision_setup import VersionedSystem
from tests.running_system import ROOT

pytestmark = pytest.mark.faults

FAULT_POINTS = sorted(
    {
        point
        for file in (ROOT / "stream_app").rglob("*.py")
        for point in re.findall(r'\bkill_at\("([\w-]+)"\)', file.read_text(encoding="utf-8"))
    }
)
PUBLISHING = [point for point in FAULT_POINTS if point.startswith("publish-")]
DECIDING = [point for point in FAULT_POINTS if point.startswith("decision-")]
COLLECTING = [point for point in FAULT_POINTS if point.startswith("collection-")]
BEFORE_COMMIT = {"decision-begun", "decision-written"}


@pytest.fixture(scope="module")
def system(
    broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VersionedSystem]:
    with VersionedSystem(broker, tmp_path_factory.mktemp("models")) as versioned:
        versioned.start_all()
        versioned.learn(4)
        yield versioned


def killed_at(system: VersionedSystem, point: str, *words: str) -> None:
    """Runs a command that is killed at this point."""
    process = system.start_command(*words, STREAM_APP_FAULT_POINT=point)
    assert process.wait(90) == -signal.SIGKILL, system.log("command")


def rollback(system: VersionedSystem, version: int) -> int:
    """Rolls back; returns the exit code."""
    return system.command(
        "models", "rollback", "PIPELINE", "--to", str(version), "--why", "test"
    ).returncode


def what_is_decided(system: VersionedSystem, registry: ModelRegistry) -> tuple[object, ...]:
    """Returns the decisions as recorded in models topic, examples topic and audit."""
    controls = [decode_control(message.value()) for message in system.read("examples")]
    decided = [control for control in controls if control is not None]
    made = registry.requested, registry.learning, registry.rules
    return *made, len(decided), len(system.read("audit"))


def test_every_fault_point_of_the_code_is_tested() -> None:
    assert sorted(PUBLISHING + DECIDING + COLLECTING) == FAULT_POINTS
    assert len(FAULT_POINTS) == 7


@pytest.mark.parametrize("point", PUBLISHING)
def test_a_learner_killed_while_it_publishes_publishes_after_its_restart(
    system: VersionedSystem, point: str
) -> None:
    system.learn()
    system.terminate("learn-0")
    learner = system.start("learn", STREAM_APP_FAULT_POINT=point)
    while learner.poll() is None:
        system.send_batch(5)
        time.sleep(0.1)
    assert learner.returncode == -signal.SIGKILL, system.log("learn-0")
    before = system.check_registry()
    system.start("learn")
    system.await_outcomes()
    system.until(
        lambda: system.learned() == system.sent["labels"], 40, "some labels are not learned"
    )
    after = system.check_registry()
    assert max(after.versions) > max(before.versions)


@pytest.mark.parametrize("point", DECIDING)
@pytest.mark.parametrize("operation", ["rollback", "promote", "pause", "exclude"])
def test_a_killed_decision_is_applied_as_a_whole_or_not_at_all(
    system: VersionedSystem, operation: str, point: str
) -> None:
    """The repeated command applies it, or reports that it is already applied."""
    before = system.check_registry()
    target = next(one for one in reversed(before.versions) if one not in (before.served, 0))
    words = {
        "rollback": (
            "models",
            "rollback",
            "PIPELINE",
            "--to",
            str(target),
            "--why",
            "test",
            "--pause",
        ),
        "promote": ("models", "promote", "PIPELINE", str(target), "--why", "test", "--yes"),
        "pause": ("learning", "pause", "PIPELINE", "--why", "test"),
        # No label is of that time.
        "exclude": ("learning", "exclude", "PIPELINE", "2000-01-01..2000-01-02", "--why", "test"),
    }[operation]
    decided = what_is_decided(system, before)
    killed_at(system, point, *words)
    done = what_is_decided(system, system.check_registry()) != decided
    assert done is (point not in BEFORE_COMMIT)
    repeated = system.command(*words)
    assert repeated.returncode == (20 if done else 0), repeated.stderr
    end = system.check_registry()
    assert end.paused is (operation in ("rollback", "pause"))
    assert len(end.rules.exclusions) == (operation == "exclude")
    for one in end.rules.exclusions:
        include(system.admin, one.number, reason("test"))
    if operation in ("rollback", "promote"):
        assert end.served == target
        system.serves(target)
    if end.paused:
        assert system.command("learning", "resume", "PIPELINE", "--why", "test").returncode == 0


@pytest.mark.parametrize("point", [*DECIDING, *COLLECTING])
def test_a_killed_garbage_collection_is_completed_by_the_next(
    system: VersionedSystem, point: str
) -> None:
    system.store_garbage(3)
    killed_at(system, point, "models", "gc", "PIPELINE", "--yes")
    system.check_registry()
    repeated = system.command("models", "gc", "PIPELINE", "--yes", "--json")
    assert repeated.returncode == 0, repeated.stderr
    assert orjson.loads(repeated.stdout)["artifacts"] == (2 if point in COLLECTING else 3)
    system.check_registry()


def test_of_two_concurrent_rollbacks_one_or_both_succeed(system: VersionedSystem) -> None:
    """The other fails because of the concurrent decision; the last one applied is served."""
    for _ in range(3):
        before = system.check_registry()
        targets = [version for version in before.versions if version != before.served][:2]
        started = [
            system.start_command("models", "rollback", "PIPELINE", "--to", str(to), "--why", "test")
            for to in targets
        ]
        ended = [process.wait(60) for process in started]
        assert set(ended) <= {0, 8}
        assert 0 in ended
        after = system.check_registry()
        assert after.decision - before.decision == ended.count(0)
        assert after.served in [to for to, code in zip(targets, ended, strict=True) if code == 0]


def test_a_rollback_while_the_learner_is_down_and_far_behind_stays_in_effect(
    system: VersionedSystem,
) -> None:
    system.learn()
    system.kill("learn-0")
    before = system.check_registry()
    system.send_batch(3000)
    system.await_outcomes()
    target = next(one for one in reversed(before.versions) if one not in (before.served, 0))
    bad = {version for version in before.versions if version > target}
    started = time.monotonic()
    assert rollback(system, target) == 0
    command = time.monotonic() - started
    served = system.serves(target)
    print(f"\nthe command took {command:.1f} s; after it, the version was served in {served:.2f} s")
    system.start("learn")
    served_by: set[int] = set()
    deadline = time.monotonic() + 60
    while (system.admin.learned_to() or 0) + 1 < system.admin.ends("examples")[1]:
        assert time.monotonic() < deadline, system.log("learn-0")
        before_event = len(system.read("scored"))
        system.send_event(2 * 10**6 + system.sent["raw"], system.now)
        system.await_outcomes()
        served_by |= {value["model"]["version"] for value in system.values("scored")[before_event:]}
    after = system.check_registry()
    assert served_by & bad == set(), "the rollback was undone"
    assert after.served == target or target in {
        one.version for one in after.ancestors(after.served or 0)
    }
