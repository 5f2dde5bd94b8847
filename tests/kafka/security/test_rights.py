"""Rights by role: they are enough, they are not more than that, and what a missing one says."""

import json
import time
from pathlib import Path
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
from stream_app.kafka.acl import AclRule, grant, rights
from stream_app.kafka.acl_roles import AclRole
from stream_app.kafka.clients import make_admin
from stream_app.kafka.topic_uses import USES
from stream_app.kafka.topics import check_topics, create_topics, describe_topics
from stream_app.loading import load_pipeline
from stream_app.model_admin.decisions import reason
from stream_app.offline.version_publishing import TrainedModelPublisher
from stream_app.settings import KafkaSettings, Settings
from stream_app.topic_kinds import KINDS
from stream_app.transfer.consume import consume
from stream_app.transfer.produce import produce_file
from stream_app.transfer.record_selection import RecordSelection
from tests.kafka.security.cluster import PASSWORD, SecuredCluster
from tests.kafka.security.commands import run
from tests.offline.exported import export
from tests.offline.trained import train
from tests.running_system import System, kafka_environment
from tests.small_pipeline import event, label, small_pipeline

pytestmark = pytest.mark.broker


@pytest.fixture
def system(cluster: SecuredCluster, tmp_path: Path) -> System:
    """A pipeline whose topics exist; the test itself is a super user."""
    return System(cluster.address("INSIDE"), tmp_path, f"rights-{uuid4().hex[:8]}", partitions=2)


def test_the_uses_of_topics_are_those_of_all_kinds() -> None:
    assert set(USES) == set(KINDS)


def test_with_the_rights_of_its_role_everybody_can_work(
    cluster: SecuredCluster, system: System, tmp_path: Path
) -> None:
    now = int(time.time() * 1000) - 3_600_000
    events = "".join(json.dumps(event(number, now + number)) + "\n" for number in range(50))
    labels = "".join(json.dumps(label(number, now + 1000 + number)) + "\n" for number in range(50))
    pipeline = str(system.pipeline)
    users, two = {role: cluster.user() for role in AclRole}, {"STREAM_APP_TOPICS__PARTITIONS": "2"}
    for role, kafka in users.items():
        grant(cluster.admin, f"User:{kafka.username}", rights(system.name, role))
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
        system.sent.update(raw=51, labels=50)
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
        held = run(tmp_path, users[AclRole.OBSERVER], "learning", "hold", pipeline, "--why", "test")
        assert f"use the transactional id {system.name}-aliases" in held.errors, held
        for typed in (
            "learning hold",
            "learning resume",
            "models pin",
            "models gc",
            "models audit",
            "learning status",
        ):
            group, command = typed.split()
            version = [str(listed.json["served"])] if command == "pin" else []
            why = ["--why", "test"] if command in ("hold", "resume", "pin") else []
            done = run(
                tmp_path,
                users[AclRole.MODELLER],
                group,
                command,
                pipeline,
                *version,
                *why,
                "--json",
            )
            assert done.code == 0, done
        assert work_in_the_laboratory(system, tmp_path, users, events, labels) == 50
        for worker in list(system.workers):
            system.terminate(worker)
            assert PASSWORD not in (tmp_path / f"{worker}.log").read_text()


def work_in_the_laboratory(
    system: System, folder: Path, users: dict[AclRole, KafkaSettings], events: str, labels: str
) -> int:
    """Train and publish as a modeller, export as a consumer; how many examples that are."""
    known, told = folder / "events.jsonl", folder / "labels.jsonl"
    known.write_text(events)
    told.write_text(labels)
    pipeline, modeller = load_pipeline(str(system.pipeline)), users[AclRole.MODELLER]
    trained = train(str(system.pipeline), str(known), str(told))
    TrainedModelPublisher(Settings(data_dir=folder, kafka=modeller), pipeline).publish(
        trained, reason("test")
    )
    return export(
        system, folder / "examples.jsonl", settings=Settings(kafka=users[AclRole.CONSUMER])
    ).examples


def test_rights_are_applied_as_they_are_shown(
    cluster: SecuredCluster, system: System, tmp_path: Path
) -> None:
    pipeline, two = str(system.pipeline), ("--role", "learner", "--role", "consumer")
    shown = run(tmp_path, system.settings.kafka, "acl", "show", pipeline, *two, "--json")
    assert shown.json == {
        role: [right._asdict() for right in rights(system.name, AclRole(role))]
        for role in ("learner", "consumer")
    }
    apply = ("acl", "apply", pipeline, *two, "--principal", f"User:{system.name}", "--json")
    applied = run(tmp_path, system.settings.kafka, *apply)
    assert applied.json["granted"] == [
        right._asdict() for right in rights(system.name, AclRole.LEARNER, AclRole.CONSUMER)
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
    found = cluster.admin.describe_acls(anything).result(10)
    assert {(acl.operation.name.lower(), acl.restype.name.lower(), acl.name) for acl in found} == {
        (right["operation"], right["resource"], right["name"]) for right in applied.json["granted"]
    }


def test_an_operator_can_make_topics_that_are_not_there(
    cluster: SecuredCluster, tmp_path: Path
) -> None:
    name = f"made-{uuid4().hex[:8]}"
    pipeline = tmp_path / "declared.py"
    pipeline.write_text(
        f"from tests.small_pipeline import small_pipeline\npipeline = small_pipeline('{name}')\n"
    )
    created = run(
        tmp_path,
        cluster.user(rights(name, AclRole.OPERATOR)),
        "topics",
        "create",
        str(pipeline),
        "--json",
    )
    assert {topic["result"] for topic in created.json} == {"created"}


def test_looking_for_topics_makes_none(cluster: SecuredCluster, tmp_path: Path) -> None:
    """Not even where the brokers make topics that clients ask for."""
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


def test_clients_say_which_right_is_missing(cluster: SecuredCluster, system: System) -> None:
    name, pipeline = system.name, small_pipeline(system.name)
    system.send("scored", b"{}", b"a")
    system.producer.flush()
    nobody, producer = cluster.user(), cluster.user(rights(name, AclRole.PRODUCER))
    consumer = cluster.user(rights(name, AclRole.CONSUMER))
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
        grant(make_admin(settings), "User:ann", rights(name, AclRole.PRODUCER))

    writing_raw = [
        AclRule("write", "topic", f"{name}.raw"),
        AclRule("describe", "topic", f"{name}.labels"),
    ]
    for kafka, action, expected in (
        (nobody, create, f"create {name}.raw: a right on the topic"),
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


def test_a_worker_that_lacks_a_right_ends_and_says_which(
    cluster: SecuredCluster, system: System
) -> None:
    name, needed = system.name, rights(system.name, AclRole.SCORER)
    lacking = {
        "group": ("read", "group", f"join the group {name}-score"),
        "identity": ("write", "transactional_id", f"use the transactional id {name}-score-"),
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
            assert worker.wait(60) == AccessError.exit_code, system.log(f"score-{instance}")
            lines = (system.folder / f"score-{instance}.log").read_text().splitlines()
            complaints = [line for line in lines if '"level": "info"' not in line]
            assert len(complaints) == 1, complaints
            assert "Kafka does not let us" in complaints[0]
            assert expected in complaints[0]
        system.start("score")
        system.check_outcomes()


def test_rights_revoked_at_work_end_the_worker_and_lose_nothing(
    cluster: SecuredCluster, system: System
) -> None:
    kafka, name = cluster.user(rights(system.name, AclRole.SCORER)), system.name
    now = int(time.time() * 1000) - 3_600_000
    with system:
        system.start("learn")
        worker = system.start("score", **kafka_environment(kafka))
        for operation, resource, target in (
            ("write", "topic", f"{name}.scored"),
            ("read", "topic", f"{name}.raw"),
            ("read", "group", f"{name}-score"),
        ):
            send(system, now)
            system.settle()
            revoke(cluster, f"User:{kafka.username}", operation, resource, target)
            send(system, now)
            assert worker.wait(60) == AccessError.exit_code, system.log("score-0")
            assert "Kafka does not let us" in system.log("score-0").splitlines()[-1]
            grant(cluster.admin, f"User:{kafka.username}", rights(name, AclRole.SCORER))
            worker = system.start("score", **kafka_environment(kafka))
        system.check_outcomes()
        assert "Traceback" not in (system.folder / "score-0.log").read_text()


def send(system: System, now: int) -> None:
    """Events, as many as several transactions hold."""
    for _ in range(100):
        system.send_event(system.sent["raw"], now + system.sent["raw"])
    system.producer.flush()


def revoke(
    cluster: SecuredCluster, principal: str, operation: str, resource: str, name: str
) -> None:
    """Take one right away."""
    deleted = cluster.admin.delete_acls(
        [
            AclBindingFilter(
                ResourceType[resource.upper()],
                name,
                ResourcePatternType.LITERAL,
                principal,
                None,
                AclOperation[operation.upper()],
                AclPermissionType.ANY,
            )
        ]
    )
    for future in deleted.values():
        assert len(future.result(10)) == 1
