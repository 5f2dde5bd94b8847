"""Tests on a real broker that each defect is found, and nothing else is reported."""

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
    model_checks,
    topic_checks,
    worker_checks,
)
from stream_app.doctor.context import Check, CheckFunction, DoctorContext, ReportedResult
from stream_app.doctor.runner import run_checks
from stream_app.formatting import duration
from stream_app.kafka.topics import create_topics, topic_specs
from stream_app.schema_registry import open_registry
from stream_app.settings import RegistrySettings, TopicSettings
from tests.patience import PATIENCE
from tests.small_pipeline import EVENT_SCHEMA, LABEL_SCHEMA
from tests.transfer.clusters import admin, producer, send, settings_for, unique_name

pytestmark = pytest.mark.broker

PARTITIONS = 4
SOURCE = "from tests.small_pipeline import small_pipeline\npipeline = small_pipeline('NAME')\n"


class ExaminedPipeline:
    """A pipeline file, its settings and its topics."""

    def __init__(self, broker: EmbeddedBroker, folder: Path, source: str = SOURCE) -> None:
        self.name = unique_name()
        self.settings = settings_for(broker, partitions=PARTITIONS).model_copy(
            update={"data_dir": folder}
        )
        self.admin: AdminClient = admin(self.settings)
        self.file = folder / f"declared_{self.name.replace('-', '_')}.py"
        self.file.write_text(source.replace("NAME", self.name))

    def create(self) -> "ExaminedPipeline":
        create_topics(self.admin, self.name, self.settings)
        return self

    def topic(self, kind: str) -> str:
        return f"{self.name}.{kind}"

    def examine(self, *checks: CheckFunction, **settings: Any) -> list[ReportedResult]:
        """Return the results of these checks; `settings` replace those of the pipeline."""
        context = DoctorContext(str(self.file))
        context.values["settings"] = self.settings.model_copy(update=settings)
        found = list(run_checks([Check("area", check) for check in checks], context))
        context.close()
        return found

    def examine_until(
        self, condition: Callable[[list[ReportedResult]], bool], check: CheckFunction
    ) -> list[ReportedResult]:
        """Return results that meet the condition; a change takes the broker a moment."""
        deadline = time.monotonic() + 20 * PATIENCE
        while not condition(found := self.examine(check)):
            assert time.monotonic() < deadline, found
        return found

    def set(self, kind: str, **config: str) -> None:
        """Change the settings of a topic."""
        entries = [
            ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
            for name, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, self.topic(kind), incremental_configs=entries)
        for future in self.admin.incremental_alter_configs([resource]).values():
            future.result(60)


@pytest.fixture
def pipeline(broker: EmbeddedBroker, tmp_path: Path) -> ExaminedPipeline:
    return ExaminedPipeline(broker, tmp_path)


def levels(found: list[ReportedResult]) -> list[str]:
    return [one.level for one in found]


def test_another_partitioner_or_missing_keys_of_producers_are_problems(
    pipeline: ExaminedPipeline,
) -> None:
    pipeline.create()
    theirs = producer(pipeline.settings, partitioner="consistent_random")
    ours = producer(pipeline.settings, partitioner="murmur2_random")
    for number in range(100):
        theirs.produce(pipeline.topic("raw"), b"{}", b"key-%d" % number)
        ours.produce(pipeline.topic("labels"), b"{}", b"key-%d" % number)
    assert (theirs.flush(20), ours.flush(20)) == (0, 0)
    raw, labels = pipeline.examine(topic_checks.check_partitioner)
    assert raw.level == "problem"
    assert "they are where crc32 puts them, the default of librdkafka and kcat" in raw.message
    assert "partitioner=murmur2_random" in raw.remedy
    assert (labels.level, labels.message) == (
        "ok",
        f"{pipeline.topic('labels')}: the 100 newest keys are where murmur2 puts them",
    )  # fmt: skip
    ours.produce(pipeline.topic("labels"), b"{}", None)
    ours.flush(20)
    _, keyless, _ = pipeline.examine(topic_checks.check_partitioner)
    assert keyless.message.startswith(
        f"1 of the 101 newest records of {pipeline.topic('labels')} have no key"
    )


def test_changed_topic_settings_are_problems(pipeline: ExaminedPipeline) -> None:
    pipeline.create()
    assert levels(
        pipeline.examine(topic_checks.check_shape, topic_checks.check_topic_settings)
    ) == [
        "ok",
        "ok",
    ]
    pipeline.set("score.state", cleanup_policy="compact,delete")
    pipeline.set("examples", retention_ms="3600000")
    pipeline.set("scored", min_insync_replicas="2")
    reported = pipeline.examine_until(
        lambda found: len(found) == 3, topic_checks.check_topic_settings
    )
    found = {one.message.split()[0]: one for one in reported}
    assert {name: one.level for name, one in found.items()} == {
        pipeline.topic("score.state"): "problem",
        pipeline.topic("examples"): "problem",
        pipeline.topic("scored"): "problem",
    }
    assert found[pipeline.topic("score.state")].remedy.endswith(
        "--add-config cleanup.policy=compact"
    )
    assert "nothing can be written" in found[pipeline.topic("scored")].message


def test_missing_topics_and_different_partition_counts_are_problems(
    pipeline: ExaminedPipeline,
) -> None:
    (nothing,) = pipeline.examine(topic_checks.check_shape)
    assert nothing.level == "problem"
    assert nothing.message.startswith("Missing topics of pipeline")
    odd = [
        NewTopic(spec.name, PARTITIONS - 1 if spec.kind == "labels" else spec.partitions, 1)
        for spec in topic_specs(pipeline.name, pipeline.settings)
    ]
    for future in pipeline.admin.create_topics(odd, operation_timeout=10).values():
        future.result(60)
    differ = pipeline.examine_until(
        lambda found: "Missing" not in found[0].message, topic_checks.check_shape
    )
    assert [(one.level, one.message.split(":")[0]) for one in differ] == [
        ("problem", "Partition counts differ, so keys and state would not meet")
    ]


def test_a_partition_count_unlike_the_settings_is_a_warning(pipeline: ExaminedPipeline) -> None:
    found = pipeline.create().examine(topic_checks.check_shape, topics=TopicSettings(partitions=9))
    assert levels(found) == ["ok", "warning"]
    assert "STREAM_APP_TOPICS__PARTITIONS=4" in found[1].remedy


def test_a_record_from_the_future_is_a_warning(pipeline: ExaminedPipeline) -> None:
    pipeline.create()
    assert levels(pipeline.examine(cluster_checks.check_clock)) == ["ok"]
    # The broker rejects a timestamp that is an hour ahead.
    ahead = 30 * 60_000
    send(
        pipeline.settings, pipeline.topic("raw"), [b"{}"], timestamp=int(time.time() * 1000) + ahead
    )
    (found,) = pipeline.examine(cluster_checks.check_clock)
    assert found.level == "warning"
    assert (
        found.message == f"{pipeline.topic('raw')} has a record from {duration(ahead / 1000)} "
        "ahead of this machine's clock"
    )


def test_records_deleted_unread_and_a_foreign_member_are_problems(
    pipeline: ExaminedPipeline,
) -> None:
    pipeline.create()
    raw = pipeline.topic("raw")
    send(pipeline.settings, raw, [b"{}"] * 10, partition=0)
    stranger = joined(pipeline, f"{pipeline.name}.score", raw)
    try:
        members, offsets = pipeline.examine(
            worker_checks.check_members, worker_checks.check_offsets
        )
        assert members.level == "problem"
        assert members.message.startswith(
            f"stranger on 127.0.0.1 is in group {pipeline.name}.score"
        )
        assert (offsets.level, offsets.message) == ("skipped", "no group has committed anything")
        stranger.commit(offsets=[TopicPartition(raw, 0, 2)], asynchronous=False)
    finally:
        stranger.close()
    for future in pipeline.admin.delete_records([TopicPartition(raw, 0, 7)]).values():
        future.result(60)
    members, offsets = pipeline.examine(worker_checks.check_members, worker_checks.check_offsets)
    assert (members.level, members.message) == ("warning", "no scorer runs, and 3 records wait")
    assert (offsets.level, offsets.message) == (
        "problem",
        f"5 records of {raw}[0] were deleted before score read them",
    )


def joined(pipeline: ExaminedPipeline, group: str, topic: str) -> Consumer:
    """A consumer of the group that has partitions."""
    consumer = Consumer(
        {
            "bootstrap.servers": pipeline.settings.kafka.bootstrap_servers,
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


def test_a_store_that_cannot_be_written_is_a_problem(
    pipeline: ExaminedPipeline, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    (found,) = pipeline.examine(model_checks.check_store, store_url=(tmp_path / "file").as_uri())
    assert found.level == "problem"
    assert str(tmp_path / "file") in found.message
    (found,) = pipeline.examine(model_checks.check_store)
    assert found.level == "ok"
    assert list((tmp_path / "store" / pipeline.name).iterdir()) == []


def test_both_clients_connect_to_a_good_cluster(pipeline: ExaminedPipeline) -> None:
    found = pipeline.examine(
        cluster_checks.check_connection,
        cluster_checks.check_second_client,
        cluster_checks.check_broker_limits,
    )
    assert levels(found) == ["ok"] * 4
    assert found[1].message == "connected without a user name, without encryption"
    assert "the broker is Kafka 4.1 or newer" in found[2].message


AVRO = SOURCE.replace("'NAME'", "'NAME', format='avro'")


def test_unregistered_schemas_are_problems_of_an_avro_pipeline(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    pipeline = ExaminedPipeline(broker, tmp_path, AVRO).create()
    (none,) = pipeline.examine(model_checks.check_registry)
    assert (none.level, none.message) == (
        "problem",
        "No schema registry is configured, and Avro needs one",
    )
    settings = RegistrySettings(url=(tmp_path / "schemas").as_uri())
    (tmp_path / "schemas").mkdir()
    older = EVENT_SCHEMA | {"fields": EVENT_SCHEMA["fields"][:-1]}
    open_registry(settings).register(f"{pipeline.topic('raw')}-value", json.dumps(older))
    open_registry(settings).register(f"{pipeline.topic('labels')}-value", json.dumps(LABEL_SCHEMA))
    found = pipeline.examine(model_checks.check_registry, registry=settings)
    assert levels(found) == ["warning", "ok", "problem", "problem"]
    assert "an older schema of" in found[0].message
    assert f"{pipeline.topic('scored')}-value" in found[2].message
    assert "stream-app schemas register" in found[2].remedy
    pipeline.file.write_text(AVRO.replace("NAME", pipeline.name).replace("'avro'", "'json'"))
    assert levels(pipeline.examine(model_checks.check_registry, registry=settings)) == ["ok"] * 4
    assert levels(pipeline.examine(model_checks.check_registry)) == ["skipped"]


def test_a_registry_that_a_json_pipeline_does_not_need_is_a_warning(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    pipeline = ExaminedPipeline(broker, tmp_path).create()
    away = RegistrySettings(url="http://127.0.0.1:9", timeout_seconds=0.5)
    (found,) = pipeline.examine(model_checks.check_registry, registry=away)
    assert found.level == "warning"
    assert "the pipeline writes JSON, and its workers need no registry" in found.message
    assert "STREAM_APP_REGISTRY__URL" in found.remedy
    settings = RegistrySettings(url=(tmp_path / "schemas").as_uri())
    (tmp_path / "schemas").mkdir()
    other = json.dumps({"type": "record", "name": "Other", "fields": []})
    open_registry(settings).register(f"{pipeline.topic('raw')}-value", other)
    found_in = pipeline.examine(model_checks.check_registry, registry=settings)
    assert levels(found_in) == ["warning", "ok", "ok", "ok"]
    pipeline.file.write_text(AVRO.replace("NAME", pipeline.name))
    assert levels(pipeline.examine(model_checks.check_registry, registry=away)) == ["problem"]
