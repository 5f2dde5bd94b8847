"""A broker, its topics, and real flights to load into them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
from confluent_kafka import IsolationLevel, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from benchmarks.workload import to_payload
from stream_app.broker import EmbeddedBroker
from stream_app.examples.nycflights import Flight, read_flights

BAD_EVERY = 100
# January has more flights.
MONTH_FLIGHTS = 26_000

Records = list[tuple[bytes, bytes]]
"""Keys and values."""


@contextmanager
def running_broker() -> Iterator[tuple[str, Path]]:
    """Yields the bootstrap servers of a new broker, and a scratch folder."""
    with TemporaryDirectory(prefix="bench-") as folder:
        broker = EmbeddedBroker(Path(folder) / "kafka", owned=True, heap="1g")
        broker.start()
        try:
            yield broker.bootstrap_servers, Path(folder)
        finally:
            broker.kill()


@cache
def first_flights(months: int = 12) -> list[Flight]:
    """Returns the flights of the first months of 2013 in the order of their departure."""
    year, month = divmod(months, 12)
    return read_flights(datetime(2013, 1, 1), datetime(2013 + year, month + 1, 1))


def flights(count: int, payload: str = "flights", bad_every: int = BAD_EVERY) -> Records:
    """Returns keys and values of `count` events, one in `bad_every` of them truncated JSON.

    The flights of 2013 are repeated under new ids until there are enough. With `bad_every` 0, all
    are valid.
    """
    records = []
    # A month is enough for a test, and quick to read.
    known = first_flights(1 if count < MONTH_FLIGHTS else 12)
    for number in range(count):
        lap, position = divmod(number, len(known))
        event = known[position].event
        event_id = f"{event['event_id']}{f'-{lap}' if lap else ''}"
        value = orjson.dumps(to_payload({**event, "event_id": event_id}, payload))
        is_bad = bad_every and number % bad_every == 7
        records.append((event_id.encode(), value[:-9] if is_bad else value))
    return records


def create(servers: str, topics: dict[str, int]) -> None:
    """Creates topics with these partition counts."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    for future in admin.create_topics(
        [NewTopic(name, count, 1) for name, count in topics.items()]
    ).values():
        future.result(30)


def delete(servers: str, topics: list[str]) -> None:
    """Deletes topics to free their disk space."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    for future in admin.delete_topics(topics).values():
        future.result(30)


def preload(servers: str, topic: str, records: Records) -> None:
    """Produces all records, partitioned as Java clients do."""
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


class EndOffsets:
    """Reads the end offsets of topics."""

    def __init__(self, servers: str, topics: list[str]) -> None:
        self._admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
        self.partitions = [
            TopicPartition(name, p) for name in topics for p in self._partitions(name)
        ]
        self._asked = {partition: OffsetSpec.latest() for partition in self.partitions}

    def _partitions(self, name: str) -> list[int]:
        for _ in range(100):
            topic = self._admin.list_topics(name, timeout=10).topics[name]
            if topic.error is None and topic.partitions:
                return sorted(topic.partitions)
            # A new topic is not known to every broker thread yet.
            time.sleep(0.1)
        raise RuntimeError(f"topic {name} does not exist")

    def now(self) -> tuple[int, ...]:
        """Returns the last stable offset of each partition; transaction markers count as well."""
        for _ in range(50):
            # A new topic has no leader for a moment.
            with suppress(KafkaException):
                found = self._admin.list_offsets(
                    self._asked, isolation_level=IsolationLevel.READ_COMMITTED
                )
                return tuple(found[partition].result(10).offset for partition in self.partitions)
            time.sleep(0.1)
        raise RuntimeError(f"{self.partitions[0].topic} has no leader")
