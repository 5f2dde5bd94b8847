"""The ACLs of each role suffice; a missing one is an error that names the resource."""

import json
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from stream_app.errors import AccessError, TopicsError
from stream_app.kafka.acl import AclRole, AclRule, grant_acls, required_acls
from stream_app.kafka.clients import make_admin
from stream_app.kafka.topic_uses import USES
from stream_app.kafka.topics import check_topics, create_topics, describe_topics
from stream_app.loading import load_pipeline
from stream_app.model_store.model_registry import reason
from stream_app.offline.version_publishing import TrainedModelPublisher
from stream_app.retrying import wait_until
from stream_app.settings import KafkaSettings, Settings
from stream_app.topic_kinds import KINDS
from stream_app.transfer.consume import RecordSelection, consume
from stream_app.transfer.produce import produce_file
from tests.kafka.security.cluster import PASSWORD, SecuredCluster
from tests.kafka.security.commands import run
from tests.offline.exported import export
from tests.offline.trained import train
from tests.patience import PATIENCE
from tests.running_system import System, kafka_environment
from tests.small_pipeline import event, label, small_pipeline

pytestmark = pytest.mark.broker


@pytest.fixture
def system(cluster: SecuredCluster, tmp_path: Path) -> System:
    """A pipeline whose topics exist; the test itself is a super user."""
    return System(cluster.address("INSIDE"), tmp_path, f"rights-{uuid4().hex[:8]}", partitions=2)


def test_every_kind_of_topic_has_a_use() -> None:
    assert set(USES) == set(KINDS)


def test_the_acls_of_a_role_suffice_for_its_work(
    cluster: SecuredCluster, system: System, tmp_path: Path
) -> None:
    now = int(time.time() * 1000) - 3_600_000
    events = "".join(json.dumps(event(number, now + number)) + "\n" for number in range(50))
    labels = "".join(json.dumps(label(number, now + 1000 + number)) + "\n" for number in range(50))
    pipeline = str(system.pipeline)
    users = {role: cluster.user() for role in AclRole}
    two: dict[str, Any] = {"STREAM_APP_TOPICS__PARTITIONS": "2"}
    for role, kafka in users.items():
        cluster.grant(f"User:{kafka.username}", required_acls(system.name, role))
    with system:
        system.start("learn", **kafka_environment(users[AclRole.LEARNER]))
        system.start("score", **kafka_environment(users[AclRole.SCORER]))
        system.start("monitor", **kafka_environment(users[AclRole.MONITOR]))
        for typed, words in ((events + '{"id": "bad"}\n', ()), (labels, ("--labels",))):
            sent = run(
                tmp_path,
                users[AclRole.PRODUCER],
                "produce",
                pipeline,
                "-",
                "--json",
                *words,
                typed=typed,
            )
            assert sent.json["failed"] == 0, sent
        # The labels' completeness has a record in each of two partitions.
        system.sent.update(raw=51, labels=50 + 2)
        system.check_outcomes()
        system.until(lambda: system.learned() == 50, 60, "not everything is learned")
        system.until(
            lambda: any(m.key() == b"state" for m in system.read("monitor.state")),
            60,
            "nothing monitored",
        )
        for kind in ("scored", "dead-letters"):
            read = run(
                tmp_path,
                users[AclRole.CONSUMER],
                "consume",
                pipeline,
                kind,
                "--until-end",
                "--json",
            )
            assert len(read.output.splitlines()) == {"scored": 50, "dead-letters": 1}[kind], read
        created = run(
            tmp_path, users[AclRole.OPERATOR], "topics", "create", pipeline, "--json", **two
        )
        assert {topic["result"] for topic in created.json} == {"exists"}
        shown = run(tmp_path, users[AclRole.OPERATOR], "topics", "show", pipeline, "--json")
        assert all(topic["exists"] for topic in shown.json)
        status = run(tmp_path, users[AclRole.OBSERVER], "status", pipeline, "--json", **two)
        assert status.json["pipeline"] == system.name, status
        listed = run(tmp_path, users[AclRole.OBSERVER], "models", "list", pipeline, "--json")
        assert listed.json["served"] is not None, listed
        paused = run(
            tmp_path, users[AclRole.OBSERVER], "learning", "pause", pipeline, "--why", "test"
        )
        refused = f"use the transactional id {system.name}.model-admin.decisions"
        assert refused in paused.errors, paused
        for typed in (
            "learning pause",
            "learning resume",
            "models pin",
            "models gc",
            "models audit",
            "learning status",
            "monitor window",
        ):
            group, command = typed.split()
            value = {"pin": [str(listed.json["served"])], "window": ["1h"]}.get(command, [])
            why = ["--why", "test"] if command in ("pause", "resume", "pin", "window") else []
            done = run(
                tmp_path,
                users[AclRole.MODEL_ADMIN],
                group,
                command,
                pipeline,
                *value,
                *why,
                "--json",
            )
            assert done.code == 0, done
        silence = ("alarms", "silence", pipeline, "event-volume", "--for", "1h", "--why", "test")
        silenced = run(tmp_path, users[AclRole.OBSERVER], *silence)
        assert f"transactional id {system.name}.alarm-admin.decisions" in silenced.errors, silenced
        silenced = run(tmp_path, users[AclRole.ALARM_ADMIN], *silence, "--json")
        assert silenced.code == 0, silenced
        listed = run(tmp_path, users[AclRole.OBSERVER], "alarms", "list", pipeline, "--json")
        assert [one["name"] for one in listed.json["silences"]] == ["event-volume"], listed
        assert train_and_export(system, tmp_path, users, events, labels) == 50
        for worker in list(system.workers):
            system.terminate(worker)
            assert PASSWORD not in (tmp_path / f"{worker}.log").read_text()


def train_and_export(
    system: System, folder: Path, users: dict[AclRole, KafkaSettings], events: str, labels: str
) -> int:
    """Train and publish as a model admin, export as a consumer; return the number of examples."""
    events_file, labels_file = folder / "events.jsonl", folder / "labels.jsonl"
    events_file.write_text(events)
    labels_file.write_text(labels)
    pipeline, model_admin = load_pipeline(str(system.pipeline)), users[AclRole.MODEL_ADMIN]
    trained = train(str(system.pipeline), str(events_file), str(labels_file))
    TrainedModelPublisher(Settings(data_dir=folder, kafka=model_admin), pipeline).publish(
        trained, reason("test")
    )
    return export(
        system, folder / "examples.jsonl", settings=Settings(kafka=users[AclRole.CONSUMER])
    ).examples


def test_acls_are_applied_as_they_are_shown(
    cluster: SecuredCluster, system: System, tmp_path: Path
) -> None:
    pipeline, two = str(system.pipeline), ("--role", "learner", "--role", "consumer")
    shown = run(tmp_path, system.settings.kafka, "acl", "show", pipeline, *two, "--json")
    assert shown.json == {
        role: [rule._asdict() for rule in required_acls(system.name, AclRole(role))]
        for role in ("learner", "consumer")
    }
    apply = ("acl", "apply", pipeline, *two, "--principal", f"User:{system.name}", "--json")
    applied = run(tmp_path, system.settings.kafka, *apply)
    assert applied.json["granted"] == [
        rule._asdict() for rule in required_acls(system.name, AclRole.LEARNER, AclRole.CONSUMER)
    ]
    anything = AclBindingFilter(
        ResourceType.ANY,
        None,
        ResourcePatternType.ANY,
        f"User:{system.name}",
        None,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    granted = {
        (rule["operation"], rule["resource"], rule["name"]) for rule in applied.json["granted"]
    }

    def present() -> set[tuple[str, str, str]]:
        found = cluster.admin.describe_acls(anything).result(60)
        return {(acl.operation.name.lower(), acl.restype.name.lower(), acl.name) for acl in found}

    # The broker answers from its own copy, which follows the controller's.
    wait_until(time.monotonic() + 10 * PATIENCE, lambda: present() == granted, 0.1)
    assert present() == granted


def test_an_operator_can_create_missing_topics(cluster: SecuredCluster, tmp_path: Path) -> None:
    name = f"made-{uuid4().hex[:8]}"
    pipeline = tmp_path / "declared.py"
    pipeline.write_text(
        f"from tests.small_pipeline import small_pipeline\npipeline = small_pipeline('{name}')\n"
    )
    created = run(
        tmp_path,
        cluster.user(required_acls(name, AclRole.OPERATOR)),
        "topics",
        "create",
        str(pipeline),
        "--json",
    )
    assert {topic["result"] for topic in created.json} == {"created"}


def test_a_check_of_topics_creates_none(cluster: SecuredCluster, tmp_path: Path) -> None:
    """The brokers are configured to create topics that clients ask for."""
    name, settings = f"absent-{uuid4().hex[:8]}", Settings(kafka=cluster.settings("INSIDE"))
    file = tmp_path / "rows.jsonl"
    file.write_text('{"id": "a"}\n')
    with pytest.raises(TopicsError):
        check_topics(make_admin(settings), name, settings)
    with pytest.raises(TopicsError):
        produce_file(settings, small_pipeline(name), str(file))
    with pytest.raises(TopicsError):
        list(
            consume(
                settings, name, RecordSelection(kind="scored", start="beginning", until_end=True)
            )
        )
    assert not any(topic.exists for topic in describe_topics(make_admin(settings), name, settings))


def test_a_missing_acl_is_named(cluster: SecuredCluster, system: System) -> None:
    name, pipeline = system.name, small_pipeline(system.name)
    system.send("scored", b"{}", b"a")
    system.producer.flush()
    nobody, producer = cluster.user(), cluster.user(required_acls(name, AclRole.PRODUCER))
    consumer = cluster.user(required_acls(name, AclRole.CONSUMER))
    seeing = cluster.user([AclRule("describe", "topic", f"{name}.{kind}") for kind in KINDS])
    file = system.folder / "rows.jsonl"
    file.write_text('{"id": "a"}\n')

    def create(settings: Settings) -> object:
        return create_topics(make_admin(settings), name, settings)

    def show(settings: Settings) -> object:
        return describe_topics(make_admin(settings), name, settings)

    def check(settings: Settings) -> object:
        return check_topics(make_admin(settings), name, settings)

    def produce(settings: Settings) -> object:
        return produce_file(settings, pipeline, str(file))

    def produce_labels(settings: Settings) -> object:
        return produce_file(settings, pipeline, str(file), labels=True)

    def read(settings: Settings) -> object:
        return list(
            consume(
                settings, name, RecordSelection(kind="scored", start="beginning", until_end=True)
            )
        )

    def allow(settings: Settings) -> None:
        grant_acls(make_admin(settings), "User:ann", required_acls(name, AclRole.PRODUCER))

    writing_raw = [
        AclRule("write", "topic", f"{name}.raw"),
        AclRule("describe", "topic", f"{name}.labels"),
    ]
    for kafka, action, expected in (
        (nobody, create, f"create {name}.raw: an ACL on the topic"),
        (nobody, show, f"see {name}.raw"),
        (nobody, check, f"see {name}.raw"),
        (seeing, show, "read the topics' settings"),
        (consumer, produce, f"see {name}.raw"),
        (seeing, produce, f"write to {name}.raw"),
        (cluster.user(writing_raw), produce_labels, f"write to {name}.labels"),
        (producer, read, f"see {name}.scored"),
        (seeing, read, f"read {name}.scored"),
        (consumer, allow, "ALTER on the cluster is missing"),
    ):
        with pytest.raises(AccessError, match=expected):
            action(Settings(kafka=kafka))


def test_a_worker_without_an_acl_ends_and_names_it(cluster: SecuredCluster, system: System) -> None:
    name, needed = system.name, required_acls(system.name, AclRole.SCORER)
    lacking = {
        "group": ("read", "group", f"join the group {name}.score"),
        "identity": ("write", "transactional_id", f"use the transactional id {name}.score."),
        "models": ("read", f"{name}.models", f"read {name}.models"),
        "state": ("read", f"{name}.score.state", f"read {name}.score.state"),
        "examples": ("write", f"{name}.examples", f"{name}.examples"),
    }
    now = int(time.time() * 1000) - 3_600_000
    with system:
        system.start("learn")
        for number in range(20):
            system.send_event(number, now)
            system.send_label(number, now + 1)
        system.producer.flush()
        for instance, (operation, resource, expected) in lacking.items():
            granted = [
                r
                for r in needed
                if not (r.operation == operation and resource in (r.name, r.resource))
            ]
            granted += [AclRule("describe", "topic", resource)] if resource.startswith(name) else []
            worker = system.start("score", instance, **kafka_environment(cluster.user(granted)))
            assert worker.wait(60 * PATIENCE) == AccessError.exit_code, system.log(
                f"score-{instance}"
            )
            lines = (system.folder / f"score-{instance}.log").read_text().splitlines()
            complaints = [line for line in lines if '"level": "info"' not in line]
            assert len(complaints) == 1, complaints
            assert "Kafka does not allow this user to" in complaints[0]
            assert expected in complaints[0]
        system.start("score")
        system.check_outcomes()


def test_a_revoked_acl_ends_the_worker_and_loses_nothing(
    cluster: SecuredCluster, system: System
) -> None:
    kafka, name = cluster.user(required_acls(system.name, AclRole.SCORER)), system.name
    now = int(time.time() * 1000) - 3_600_000
    with system:
        system.start("learn")
        worker = system.start("score", **kafka_environment(kafka))
        for operation, resource, target in (
            ("write", "topic", f"{name}.scored"),
            ("read", "topic", f"{name}.raw"),
            ("read", "group", f"{name}.score"),
        ):
            send(system, now)
            system.await_outcomes()
            cluster.revoke(f"User:{kafka.username}", operation, resource, target)
            send(system, now)
            assert worker.wait(60 * PATIENCE) == AccessError.exit_code, system.log("score-0")
            assert "Kafka does not allow this user to" in system.log("score-0").splitlines()[-1]
            cluster.grant(f"User:{kafka.username}", required_acls(name, AclRole.SCORER))
            worker = system.start("score", **kafka_environment(kafka))
        system.check_outcomes()
        assert "Traceback" not in (system.folder / "score-0.log").read_text()


def send(system: System, now: int) -> None:
    """Send the events of several transactions."""
    for _ in range(100):
        system.send_event(system.sent["raw"], now + system.sent["raw"])
    system.producer.flush()
