"""A broker, topics and a preloaded raw topic of real flights for one race."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from stream_app.broker import EmbeddedBroker
from stream_app.examples.nycflights import read_flights

BAD_EVERY = 100

Records = list[tuple[bytes, bytes]]
"""Keys and values."""


@contextmanager
def running_broker() -> Iterator[tuple[str, Path]]:
    """Bootstrap servers of a fresh broker, and a folder for whatever else is needed."""
    with TemporaryDirectory(prefix="bench-") as folder:
        broker = EmbeddedBroker(Path(folder) / "kafka", owned=True, heap="1g")
        broker.start()
        try:
            yield broker.bootstrap_servers, Path(folder)
        finally:
            broker.kill()


def flights(count: int) -> Records:
    """Key and value of the first `count` flights of 2013; one in a hundred is broken."""
    records = []
    for number, flight in enumerate(read_flights(datetime(2013, 1, 1), datetime(2014, 1, 1))[:count]):
        value = orjson.dumps(flight.event)
        records.append((flight.event["event_id"].encode(), value[:-9] if number % BAD_EVERY == 7 else value))
    return records


def create(servers: str, topics: dict[str, int]) -> None:
    """Make topics with these partition counts."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    for future in admin.create_topics([NewTopic(name, count, 1) for name, count in topics.items()]).values():
        future.result(30)


def delete(servers: str, topics: list[str]) -> None:
    """Remove topics, to keep the disk small."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    for future in admin.delete_topics(topics).values():
        future.result(30)


def preload(servers: str, topic: str, records: Records) -> None:
    """Write all records, spread over the partitions as Java would."""
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "partitioner": "murmur2_random",
            "linger.ms": 20,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    for key, value in records:
        producer.produce(topic, value, key)
        producer.poll(0)
    producer.flush()


class Ends:
    """How many committed offsets the topics have together."""

    def __init__(self, servers: str, topics: list[str]) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": servers, "group.id": "ends", "isolation.level": "read_committed", "log_level": 0}
        )
        metadata = self._consumer.list_topics(timeout=10).topics
        self._partitions = [TopicPartition(name, p) for name in topics for p in metadata[name].partitions]

    def total(self) -> int:
        """The sum of the last stable offsets; a transaction's marker counts as one."""
        return sum(self._end(partition) for partition in self._partitions)

    def _end(self, partition: TopicPartition) -> int:
        for _ in range(20):
            try:
                return int(self._consumer.get_watermark_offsets(partition, timeout=10)[1])
            except KafkaException:  # a topic just created has no leader for a moment
                time.sleep(0.1)
        raise RuntimeError(f"{partition.topic} has no leader")

    def close(self) -> None:
        self._consumer.close()
