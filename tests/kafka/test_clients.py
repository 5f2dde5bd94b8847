"""Clients reach the cluster, or raise one error that names the reason."""

import time
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Message
from confluent_kafka.admin import NewTopic

from stream_app.broker import EmbeddedBroker
from stream_app.errors import KafkaUnavailableError
from stream_app.kafka.clients import (
    ONE_IN_FLIGHT,
    bootstrap_servers,
    client_config,
    make_admin,
    make_producer,
    make_transactional_producer,
)
from stream_app.kafka.partition_reader import PartitionReader
from stream_app.kafka.topics import create_topics
from stream_app.settings import KafkaSettings, LogSettings, Settings
from stream_app.topic_kinds import topic_name
from tests.patience import PATIENCE
from tests.transfer.clusters import settings_for, unique_name


@pytest.mark.parametrize(
    ("servers", "reason"),
    [("127.0.0.1:1", "Connection refused"), ("nowhere.invalid:9092", "Failed to resolve")],
)
def test_a_wrong_address_is_one_error_with_its_reason(
    servers: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    with pytest.raises(KafkaUnavailableError, match=reason) as caught:
        make_admin(Settings(kafka=KafkaSettings(bootstrap_servers=servers)), timeout=2)
    assert servers in caught.value.message
    assert "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS" in caught.value.remedy
    assert time.monotonic() - began < 6 * PATIENCE
    assert capfd.readouterr().err == ""


def test_without_configuration_the_embedded_broker_must_run(tmp_path: Path) -> None:
    with pytest.raises(KafkaUnavailableError, match="stream-app broker start"):
        bootstrap_servers(Settings(data_dir=tmp_path))


def test_librdkafka_is_silent_unless_debugging() -> None:
    kafka = KafkaSettings(bootstrap_servers="kafka:9092")
    assert client_config(Settings(kafka=kafka))["log_level"] == 0
    assert client_config(Settings(kafka=kafka, log=LogSettings(level="debug")))["log_level"] == 7


@pytest.mark.broker
@pytest.mark.parametrize("transactional", [False, True])
def test_every_acknowledged_record_of_a_new_topic_is_there(
    broker: EmbeddedBroker, transactional: bool
) -> None:
    """With five batches in flight, half of the new topics lack acknowledged records."""
    settings, admin = settings_for(broker), make_admin(settings_for(broker))
    reader = PartitionReader.open(settings)
    delivered: list[KafkaError | None] = []

    def note(error: KafkaError | None, _: Message) -> None:
        delivered.append(error)

    for _ in range(8):
        delivered.clear()
        topic = unique_name()
        producer = (
            make_transactional_producer(
                {
                    **client_config(settings),
                    **ONE_IN_FLIGHT,
                    "transactional.id": topic,
                    "batch.size": 500,
                    "linger.ms": 0,
                }
            )
            if transactional
            else make_producer(settings, linger_ms=0, batch_size=500)
        )
        if transactional:
            producer.init_transactions(60)
            producer.begin_transaction()
        admin.create_topics([NewTopic(topic, 4, 1)])
        for number in range(200):
            producer.produce(topic, b"x" * 100, b"%d" % number, on_delivery=note)
            producer.poll(0.003 if number % 10 == 0 else 0)
        producer.flush(30)
        if transactional:
            producer.commit_transaction(30)
        assert delivered == [None] * 200
        until = time.monotonic() + 20 * PATIENCE
        read = 0
        while read < 200 and time.monotonic() < until:
            read = len(list(reader.records(reader.topic_bounds([topic]))))
        assert read == 200
    reader.close()


@pytest.mark.broker
def test_the_producer_chooses_the_same_partitions_as_java(broker: EmbeddedBroker) -> None:
    settings, name = settings_for(broker), unique_name()
    create_topics(make_admin(settings), name, settings)
    topic = topic_name(name, "raw")
    # From Kafka's own UtilsTest.testMurmur2: the hash of the key, positive, modulo 4 partitions.
    hashes = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    producer = make_producer(settings)
    for key in hashes:
        producer.produce(topic, value=b"{}", key=key)
    assert producer.flush(60) == 0
    with PartitionReader.open(settings) as reader:
        records = list(reader.records(reader.topic_bounds([topic])))
    seen = {record.key(): record.partition() for record in records}
    assert seen == {key: (value & 0x7FFFFFFF) % 4 for key, value in hashes.items()}


@pytest.mark.broker
def test_an_admin_client_of_a_running_cluster_has_its_brokers(broker: EmbeddedBroker) -> None:
    assert make_admin(settings_for(broker)).list_topics(timeout=60).brokers
