"""Versions are reproduced across decisions, and `explain` covers every outcome of an event."""

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
from tests.faults.relearning import check_relearning
from tests.model_admin.decision_setup import BATCH, VersionedSystem

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def system(
    broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VersionedSystem]:
    """Yields a run with four versions, a rollback that pauses learning, and a later resume."""
    with VersionedSystem(broker, tmp_path_factory.mktemp("reproducing")) as versioned:
        # Versions are published in time on a slow machine, too.
        versioned.environment["STREAM_APP_LEARN__PUBLISH_SHARE"] = "1"
        versioned.start_all()
        versioned.learn(4)
        second = sorted(versioned.registry.versions)[2]
        run_command(
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
        run_command(
            versioned, "learning", "resume", "PIPELINE", "--why", "test", "--since", str(3 * BATCH)
        )
        versioned.until(lambda: versioned.registry.served != second, 60, "learning does not resume")
        learned = versioned.learned()
        versioned.send_batch()
        versioned.await_outcomes()
        versioned.until(
            lambda: versioned.learned() == learned + BATCH, 60, "learning does not resume"
        )
        yield versioned


def run_command(system: VersionedSystem, *words: str, code: int = 0) -> str:
    """Runs a command; returns its output, or the last line of its error output."""
    result = system.command(*words)
    assert result.returncode == code, result.stderr
    return result.stdout if code == 0 else result.stderr.splitlines()[-1]


def explained(system: VersionedSystem, event_id: str) -> Any:
    return json.loads(run_command(system, "explain", "PIPELINE", event_id, "--json"))


def test_relearning_reproduces_every_version_and_every_prediction(system: VersionedSystem) -> None:
    assert check_relearning(system) > 4 * BATCH


def test_models_verify_reproduces_a_version_across_the_decisions(system: VersionedSystem) -> None:
    versions = system.registry.versions
    newest, early = list(versions)[-1], list(versions)[2]
    result = json.loads(run_command(system, "models", "verify", "PIPELINE", "--json"))
    assert (result["reproduced"], result["version"], result["base"] in versions) == (
        True,
        newest,
        True,
    )
    with hidden(
        system, {versions[between].sha256 for between in versions if early < between < newest}
    ):
        line = run_command(system, "models", "verify", "PIPELINE", str(newest))
    assert f"from version {early} over" in line
    assert "is equal bit for bit" in line


@contextmanager
def hidden(system: VersionedSystem, artifacts: set[str]) -> Iterator[None]:
    """Removes these artifacts from the store for the duration of a block."""
    files = [Path(system.loader.store.locate(sha256)) for sha256 in artifacts]
    for file in files:
        file.rename(file.with_suffix(".away"))
    yield
    for file in files:
        file.with_suffix(".away").rename(file)


def test_models_verify_of_a_version_that_differs_from_the_log_exits_with_12(
    system: VersionedSystem,
) -> None:
    """Its manifest has the learner's own signature but a wrong number of examples."""
    right = system.registry.current
    wrong = right._replace(learned=right.learned + 1, key_id="", signature="")
    signed = open_signer(system.settings, system.name).sign(wrong)
    system.send("models", signed.encode(), version_key(wrong.version).encode())
    system.producer.flush()
    message = run_command(system, "models", "verify", "PIPELINE", str(wrong.version), code=12)
    assert "is NOT equal: the models differ in learned" in message


def test_explain_of_an_event_that_was_scored_and_learned(system: VersionedSystem) -> None:
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
    text = run_command(system, "explain", "PIPELINE", "e5")
    assert "the same" in text
    assert "the first version that learned it is" in text


def test_explain_of_events_with_every_other_outcome(system: VersionedSystem) -> None:
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
    assert "No record of" in run_command(system, "explain", "PIPELINE", "e-1", code=18)


def test_explain_names_deleted_records_and_versions(system: VersionedSystem) -> None:
    served = explained(system, "e5")["scored"]["model"]["version"]
    system.send("models", None, f"version/{served}".encode())
    source = explained(system, "e5")["events"][0]
    deleted_before = TopicPartition(source["topic"], source["partition"], source["offset"] + 1)
    admin = make_admin(system.settings)
    for done in admin.delete_records([deleted_before]).values():
        done.result(30)
    trace = explained(system, "e5")
    assert (trace["raw_deleted"], trace["outcome"], trace["label"]) == (True, "scored", "joined")
    assert trace["rescored"]["problem"] == f"version {served} is deleted"
    assert "deleted by the topic's retention" in run_command(system, "explain", "PIPELINE", "e5")
