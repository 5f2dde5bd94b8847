"""One defect after the other, on a real broker: each is found, and nothing else is said to be wrong."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from stream_app.broker import EmbeddedBroker
from stream_app.doctor import (
    cluster_checks,
    group_checks,
    producer_checks,
    registry_checks,
    store_checks,
    topic_checks,
)
from stream_app.doctor.context import DoctorContext
from stream_app.doctor.runner import Check, CheckFunction, Reported, run_checks
from stream_app.formatting import duration
from stream_app.kafka.topics import create_topics, topic_specs
from stream_app.schema_registry import open_registry
from stream_app.settings import RegistrySettings, TopicSettings
from tests.small_pipeline import EVENT_SCHEMA, LABEL_SCHEMA
from tests.transfer.clusters import admin, producer, send, settings_for, unique_name

pytestmark = pytest.mark.broker

PARTITIONS = 4
SOURCE = "from tests.small_pipeline import small_pipeline\npipeline = small_pipeline('NAME')\n"


class Patient:
    """A pipeline file, its settings and its topics."""

    def __init__(self, broker: EmbeddedBroker, folder: Path, source: str = SOURCE) -> None:
        self.name = unique_name()
        self.settings = settings_for(broker, partitions=PARTITIONS).model_copy(
            update={"data_dir": folder}
        )
        self.admin: AdminClient = admin(self.settings)
        self.file = folder / f"declared_{self.name.replace('-', '_')}.py"
        self.file.write_text(source.replace("NAME", self.name))

    def create(self) -> "Patient":
        create_topics(self.admin, self.name, self.settings)
        return self

    def topic(self, kind: str) -> str:
        return f"{self.name}.{kind}"

    def examine(self, *checks: CheckFunction, **settings: Any) -> list[Reported]:
        """Findings of these checks; `settings` replace those of the patient."""
        examined = DoctorContext(str(self.file))
        examined.known["settings"] = self.settings.model_copy(update=settings)
        found = list(run_checks([Check("area", check) for check in checks], examined))
        examined.close()
        return found

    def examine_until(
        self, condition: Callable[[list[Reported]], bool], check: CheckFunction
    ) -> list[Reported]:
        """Findings that meet the condition; a change takes the broker a moment."""
        deadline = time.monotonic() + 20
        while not condition(found := self.examine(check)):
            assert time.monotonic() < deadline, found
        return found

    def set(self, kind: str, **config: str) -> None:
        """Change a topic's settings by hand."""
        entries = [
            ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
            for name, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, self.topic(kind), incremental_configs=entries)
        for future in self.admin.incremental_alter_configs([resource]).values():
            future.result(10)


@pytest.fixture
def patient(broker: EmbeddedBroker, tmp_path: Path) -> Patient:
    return Patient(broker, tmp_path)


def levels(found: list[Reported]) -> list[str]:
    return [one.level for one in found]


def test_producers_with_another_partitioner_or_without_keys(patient: Patient) -> None:
    patient.create()
    theirs = producer(patient.settings, partitioner="consistent_random")
    ours = producer(patient.settings, partitioner="murmur2_random")
    for number in range(100):
        theirs.produce(patient.topic("raw"), b"{}", b"key-%d" % number)
        ours.produce(patient.topic("labels"), b"{}", b"key-%d" % number)
    assert (theirs.flush(20), ours.flush(20)) == (0, 0)
    raw, labels = patient.examine(producer_checks.check_partitioner)
    assert raw.level == "problem"
    assert "they lie where librdkafka's own partitioner puts them" in raw.message
    assert "partitioner=murmur2_random" in raw.remedy
    assert (labels.level, labels.message) == (
        "ok", f"{patient.topic('labels')}: the 100 newest keys are where Java's partitioner puts them"
    )  # fmt: skip
    ours.produce(patient.topic("labels"), b"{}", None)
    ours.flush(20)
    _, keyless, _ = patient.examine(producer_checks.check_partitioner)
    assert keyless.message.startswith(
        f"1 of the 101 newest records of {patient.topic('labels')} have no key"
    )


def test_topics_that_somebody_changed(patient: Patient) -> None:
    patient.create()
    assert levels(patient.examine(topic_checks.check_shape, topic_checks.check_settings)) == [
        "ok",
        "ok",
    ]
    patient.set("score.state", cleanup_policy="compact,delete")
    patient.set("examples", retention_ms="3600000")
    patient.set("scored", min_insync_replicas="2")
    reported = patient.examine_until(lambda found: len(found) == 3, topic_checks.check_settings)
    found = {one.message.split()[0]: one for one in reported}
    assert {name: one.level for name, one in found.items()} == {
        patient.topic("score.state"): "problem",
        patient.topic("examples"): "problem",
        patient.topic("scored"): "problem",
    }
    assert found[patient.topic("score.state")].remedy.endswith(
        "--add-config cleanup.policy=compact"
    )
    assert "nothing can be written" in found[patient.topic("scored")].message


def test_missing_topics_and_partitions_that_do_not_match(patient: Patient) -> None:
    (nothing,) = patient.examine(topic_checks.check_shape)
    assert nothing.level == "problem"
    assert nothing.message.startswith("Missing topics of pipeline")
    odd = [
        NewTopic(spec.name, PARTITIONS - 1 if spec.kind == "labels" else spec.partitions, 1)
        for spec in topic_specs(patient.name, patient.settings)
    ]
    for future in patient.admin.create_topics(odd, operation_timeout=10).values():
        future.result(10)
    differ = patient.examine_until(
        lambda found: "Missing" not in found[0].message, topic_checks.check_shape
    )
    assert [(one.level, one.message.split(":")[0]) for one in differ] == [
        ("problem", "Partition counts differ, so keys and state would not meet")
    ]


def test_another_number_of_partitions_than_this_machine_would_make(patient: Patient) -> None:
    found = patient.create().examine(topic_checks.check_shape, topics=TopicSettings(partitions=9))
    assert levels(found) == ["ok", "warning"]
    assert "STREAM_APP_TOPICS__PARTITIONS=4" in found[1].remedy


def test_a_record_from_the_future(patient: Patient) -> None:
    patient.create()
    assert levels(patient.examine(cluster_checks.check_clock)) == ["ok"]
    ahead = 30 * 60_000  # from an hour on the broker refuses it
    send(patient.settings, patient.topic("raw"), [b"{}"], timestamp=int(time.time() * 1000) + ahead)
    (found,) = patient.examine(cluster_checks.check_clock)
    assert found.level == "warning"
    assert (
        found.message
        == f"{patient.topic('raw')} has a record from {duration(ahead / 1000)} ahead of this machine's clock"
    )


def test_records_that_were_deleted_unread_and_a_foreign_member(patient: Patient) -> None:
    patient.create()
    raw = patient.topic("raw")
    send(patient.settings, raw, [b"{}"] * 10, partition=0)
    stranger = joined(patient, f"{patient.name}-score", raw)
    try:
        members, offsets = patient.examine(group_checks.check_members, group_checks.check_offsets)
        assert members.level == "problem"
        assert members.message.startswith(f"stranger on 127.0.0.1 is in group {patient.name}-score")
        assert (offsets.level, offsets.message) == ("skipped", "no group has committed anything")
        stranger.commit(offsets=[TopicPartition(raw, 0, 2)], asynchronous=False)
    finally:
        stranger.close()
    for future in patient.admin.delete_records([TopicPartition(raw, 0, 7)]).values():
        future.result(10)
    members, offsets = patient.examine(group_checks.check_members, group_checks.check_offsets)
    assert (members.level, members.message) == ("warning", "no scorer runs, and 3 records wait")
    assert (offsets.level, offsets.message) == (
        "problem",
        f"5 records of {raw}[0] were deleted before score had read them",
    )


def joined(patient: Patient, group: str, topic: str) -> Consumer:
    """A consumer of the group that has partitions."""
    consumer = Consumer(
        {
            "bootstrap.servers": patient.settings.kafka.bootstrap_servers,
            "group.id": group,
            "client.id": "stranger",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    consumer.subscribe([topic])
    while not consumer.assignment():
        consumer.poll(0.1)
    return consumer


def test_a_store_that_cannot_be_written(patient: Patient, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    (found,) = patient.examine(store_checks.check_store, store_url=(tmp_path / "file").as_uri())
    assert found.level == "problem"
    assert str(tmp_path / "file") in found.message
    (found,) = patient.examine(store_checks.check_store)
    assert found.level == "ok"
    assert list((tmp_path / "store" / patient.name).iterdir()) == []


def test_brokers_and_both_clients(patient: Patient) -> None:
    found = patient.examine(
        cluster_checks.check_connection,
        cluster_checks.check_second_client,
        cluster_checks.check_broker_limits,
    )
    assert levels(found) == ["ok"] * 4
    assert found[1].message == "it lets us in as anyone, without encryption"
    assert "speaks as Kafka 4.1 or newer" in found[2].message


AVRO = "from tests.small_pipeline import small_pipeline\npipeline = small_pipeline('NAME', format='avro')\n"


def test_schemas_that_are_not_registered(broker: EmbeddedBroker, tmp_path: Path) -> None:
    patient = Patient(broker, tmp_path, AVRO).create()
    (none,) = patient.examine(registry_checks.check_registry)
    assert (none.level, none.message) == (
        "problem",
        "No schema registry is configured, and Avro needs one",
    )
    settings = RegistrySettings(url=(tmp_path / "schemas").as_uri())
    (tmp_path / "schemas").mkdir()
    older = EVENT_SCHEMA | {"fields": EVENT_SCHEMA["fields"][:-1]}
    open_registry(settings).register(f"{patient.topic('raw')}-value", json.dumps(older))
    open_registry(settings).register(f"{patient.topic('labels')}-value", json.dumps(LABEL_SCHEMA))
    found = patient.examine(registry_checks.check_registry, registry=settings)
    assert levels(found) == ["warning", "ok", "problem", "problem"]
    assert "an older schema of" in found[0].message
    assert f"{patient.topic('scored')}-value" in found[2].message
    assert "stream-app schemas register" in found[2].remedy
    patient.file.write_text(AVRO.replace("NAME", patient.name).replace("'avro'", "'json'"))
    assert levels(patient.examine(registry_checks.check_registry, registry=settings)) == ["ok"] * 4
    assert levels(patient.examine(registry_checks.check_registry)) == ["skipped"]
