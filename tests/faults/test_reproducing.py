"""Versions of a run with decisions in it are learned again; events of every fate are explained."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from stream_app.broker import EmbeddedBroker
from stream_app.kafka.clients import make_admin
from stream_app.model_store.manifest import version_key
from stream_app.model_store.signing import open_signer
from tests.faults.replay import check_replay
from tests.model_admin.decision_setup import BATCH, VersionedSystem

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def system(
    broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VersionedSystem]:
    """Four versions, a rollback to the second with learning held, resumed from an offset on, and more versions."""
    with VersionedSystem(broker, tmp_path_factory.mktemp("reproducing")) as versioned:
        versioned.environment["STREAM_APP_LEARN__PUBLISH_SHARE"] = (
            "1"  # however slow the machine is
        )
        versioned.start_all()
        versioned.learn(4)
        second = sorted(versioned.registry.versions)[2]
        typed(
            versioned,
            "models",
            "rollback",
            "PIPELINE",
            "--to",
            str(second),
            "--why",
            "test",
            "--pause",
        )
        print(f"\nrolled back, and served {versioned.serves(second):.1f} s after the command")
        versioned.send_batch()
        versioned.await_outcomes()
        typed(
            versioned, "learning", "resume", "PIPELINE", "--why", "test", "--since", str(3 * BATCH)
        )
        versioned.until(lambda: versioned.registry.served != second, 60, "it does not learn on")
        learned = versioned.learned()
        versioned.send_batch()
        versioned.await_outcomes()
        versioned.until(lambda: versioned.learned() == learned + BATCH, 60, "it does not learn on")
        yield versioned


def typed(system: VersionedSystem, *words: str, code: int = 0) -> str:
    """What a command prints, or the last line of its complaint."""
    done = system.command(*words)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr.splitlines()[-1]


def explained(system: VersionedSystem, event_id: str) -> Any:
    return json.loads(typed(system, "explain", "PIPELINE", event_id, "--json"))


def test_every_version_and_every_prediction_comes_out_again(system: VersionedSystem) -> None:
    assert check_replay(system) > 4 * BATCH


def test_the_command_learns_a_version_again_across_the_decisions(system: VersionedSystem) -> None:
    versions = system.registry.versions
    newest, early = list(versions)[-1], list(versions)[2]
    verdict = json.loads(typed(system, "models", "verify", "PIPELINE", "--json"))
    assert (verdict["reproduced"], verdict["version"], verdict["base"] in versions) == (
        True,
        newest,
        True,
    )
    with hidden(
        system, {versions[between].sha256 for between in versions if early < between < newest}
    ):
        line = typed(system, "models", "verify", "PIPELINE", str(newest))
    assert f"from version {early} over" in line
    assert "is equal bit for bit" in line


@contextmanager
def hidden(system: VersionedSystem, artifacts: set[str]) -> Iterator[None]:
    """Meanwhile these artifacts are not in the store."""
    files = [Path(system.loader.store.locate(sha256)) for sha256 in artifacts]
    for file in files:
        file.rename(file.with_suffix(".away"))
    yield
    for file in files:
        file.with_suffix(".away").rename(file)


def test_a_version_that_the_log_does_not_give_ends_with_12(system: VersionedSystem) -> None:
    """Its manifest, signed by the learner's own key, claims another number of examples."""
    right = system.registry.current
    wrong = right._replace(learned=right.learned + 1, key_id="", signature="")
    signed = open_signer(system.settings, system.name).sign(wrong)
    system.send("models", signed.encode(), version_key(wrong.version).encode())
    system.producer.flush()
    complaint = typed(system, "models", "verify", "PIPELINE", str(wrong.version), code=12)
    assert "is NOT equal: the models differ in learned" in complaint


def test_an_event_that_was_scored_and_learned(system: VersionedSystem) -> None:
    trace = explained(system, "e5")
    assert (trace["outcome"], trace["label"], trace["rescored"]["equal"]) == (
        "scored",
        "joined",
        True,
    )
    assert [event["outcome"] for event in trace["events"]] == ["scored"]
    assert [label["outcome"] for label in trace["labels"]] == ["joined"]
    assert trace["prepared"]["features"] == {"amount": 5.0, "domestic": True}
    assert trace["learned"]["version"] > trace["learned"]["offset"]
    text = typed(system, "explain", "PIPELINE", "e5")
    assert "the same" in text
    assert "the first version that learned it is" in text


def test_events_of_every_other_fate(system: VersionedSystem) -> None:
    system.send_event(700_001, system.now)
    system.send_event(700_001, system.now)
    system.send_label(700_002, system.now)
    system.send_event(700_003, system.now, amount="much")
    system.send("raw", b"{broken", b"e700004")
    system.await_outcomes()
    waiting, label, dead, broken = (explained(system, f"e70000{number}") for number in (1, 2, 3, 4))
    assert (waiting["outcome"], waiting["label"]) == ("scored", "awaited")
    assert [event["outcome"] for event in waiting["events"]] == ["scored", "duplicate"]
    assert (label["outcome"], label["label"]) == ("no event yet", "waiting for its event")
    for trace, code in ((dead, "wrong-type"), (broken, "invalid-json")):
        assert (trace["outcome"], trace["events"][0]["failure"]["code"]) == ("dead-lettered", code)
        assert trace["prepared"]["failure"]["code"] == code
    assert "No record of" in typed(system, "explain", "PIPELINE", "e-1", code=18)


def test_what_is_gone_is_said_so(system: VersionedSystem) -> None:
    served = explained(system, "e5")["scored"]["model"]["version"]
    system.send("models", None, f"version/{served}".encode())
    source = explained(system, "e5")["events"][0]
    place = TopicPartition(source["topic"], source["partition"], source["offset"] + 1)
    admin = make_admin(system.settings)
    for done in admin.delete_records([place]).values():
        done.result(30)
    trace = explained(system, "e5")
    assert (trace["raw_deleted"], trace["outcome"], trace["label"]) == (True, "scored", "joined")
    assert trace["rescored"]["problem"] == f"version {served} is deleted"
    assert "deleted by the topic's retention" in typed(system, "explain", "PIPELINE", "e5")
