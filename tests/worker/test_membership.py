"""The broker rejects offsets of anybody but a present member of the group."""

import asyncio
from uuid import uuid4

import aiokafka
import pytest
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from stream_app.broker import EmbeddedBroker
from stream_app.worker.transaction_writer import Membership


def commit(producer: Producer, topic: str, membership: Membership, offset: int) -> str:
    """Commit an offset in a transaction; returns `committed` or the broker's error."""
    producer.begin_transaction()
    try:
        producer.send_offsets_to_transaction(
            [TopicPartition(topic, 0, offset)], membership.metadata(), 60
        )
        producer.commit_transaction(60)
    except KafkaException as error:
        producer.abort_transaction(60)
        return str(error.args[0].name())
    return "committed"


@pytest.mark.parametrize("instance", [None, "instance-1"])
def test_only_the_present_generation_and_member_may_commit(
    broker: EmbeddedBroker, instance: str | None
) -> None:
    topic = f"membership-{uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)

    async def results() -> list[str]:
        consumer = aiokafka.AIOKafkaConsumer(
            topic,
            bootstrap_servers=broker.bootstrap_servers,
            group_id=topic,
            group_instance_id=instance,
            enable_auto_commit=False,
            partition_assignment_strategy=[RangePartitionAssignor],
        )
        await consumer.start()
        try:
            while not consumer.assignment():
                await asyncio.sleep(0.05)
            coordinator = consumer._coordinator
            present = Membership(topic, coordinator.generation, coordinator.member_id, instance)
            producer = Producer(
                {
                    "bootstrap.servers": broker.bootstrap_servers,
                    "transactional.id": topic,
                    "log_level": 0,
                }
            )
            await asyncio.to_thread(producer.init_transactions, 60)
            memberships = [
                present,
                present._replace(generation=present.generation + 5),
                present._replace(member="nobody"),
                present,
            ]
            return [
                await asyncio.to_thread(commit, producer, topic, one, 10) for one in memberships
            ]
        finally:
            await consumer.stop()

    unknown_member = "FENCED_INSTANCE_ID" if instance else "UNKNOWN_MEMBER_ID"
    assert asyncio.run(results()) == [
        "committed",
        "ILLEGAL_GENERATION",
        unknown_member,
        "committed",
    ]
