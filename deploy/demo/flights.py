"""Sends the flights that left New York in 2013 and their labels, in the order of their time.

``python flights.py 100`` sends 100 records per second until the end of the year, one in 500 with an
injected mistake. Started again, it continues where it ended. After a `kill -9`, the records of the
last fifth of a second are sent twice, as a producer's retry may do; they count as duplicates.
"""

import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice, pairwise
from math import ceil
from threading import Event

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from stream_app.demo.demo import scheduled_sends
from stream_app.examples.flights import pipeline
from stream_app.examples.nycflights import Item, read_flights, timeline
from stream_app.kafka.clients import client_config, make_consumer, make_producer
from stream_app.kafka.retrying_reader import RetryingReader
from stream_app.records import InputPartition
from stream_app.settings import Settings, load_settings
from stream_app.topic_kinds import topic_name

log = logging.getLogger("flights")

MONTHS = [datetime(2013, month, 1, tzinfo=UTC) for month in range(1, 13)] + [
    datetime(2014, 1, 1, tzinfo=UTC)
]
# Seconds between two flushes, each of which keeps the position.
FLUSH_SECONDS = 0.2


def year() -> Iterator[Item]:
    """Yields events and labels by time, read month by month.

    A label may belong to the month after that of its event.
    """
    later: list[Item] = []
    for start, end in pairwise(MONTHS):
        items = sorted(later + timeline(read_flights(start, end)), key=lambda item: item[1])
        ends = end.timestamp() * 1000
        later = [item for item in items if item[1] >= ends]
        yield from items[: len(items) - len(later)]
    yield from later


class Position:
    """Number of records that were sent, kept as a committed offset of a consumer group.

    The offset is one of the first partition of the events. A reset of the pipeline deletes it
    together with the topic.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        config, group = client_config(settings), f"{name}.demo"
        self._consumer = make_consumer(config, group)
        # A new cluster has no coordinator of the group at first.
        self._reader = RetryingReader(config, group)
        self._partition = InputPartition(topic_name(name, "raw"), 0)

    def read(self) -> int:
        """Returns the number, 0 if there is none.

        Raises:
            StreamAppError: Kafka does not answer.
        """
        return max(0, self._reader.committed([self._partition])[self._partition])

    def commit(self, number: int) -> None:
        """Keeps the number; without an answer, the next call does."""
        with suppress(KafkaException):
            offset = TopicPartition(*self._partition, number)
            self._consumer.commit(offsets=[offset], asynchronous=False)


def send(settings: Settings, name: str, rate: float) -> None:
    """Sends the records that a pipeline has not got yet, `rate` per second, until SIGTERM.

    Raises:
        KafkaException: Kafka was away for longer than the producer tries again.
    """
    stopped = Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    failures: list[KafkaError] = []
    producer, position = make_producer(settings), Position(settings, name)
    sent = position.read()
    if sent:
        log.info("continuing after %d records", sent)
    records = islice(scheduled_sends(year(), mistakes=0.002, seed=2013), sent, None)
    next_at = time.monotonic()
    while not stopped.is_set() and (chunk := list(islice(records, ceil(rate * FLUSH_SECONDS)))):
        stopped.wait(next_at - time.monotonic())
        for record in chunk:
            topic = topic_name(name, record.kind)
            producer.produce(
                topic,
                record.value,
                record.key,
                on_delivery=lambda error, _: failures.append(error) if error else None,
            )
        producer.flush()
        if failures:
            raise KafkaException(failures[0])
        sent += len(chunk)
        position.commit(sent)
        next_at += len(chunk) / rate
    log.info("%d records are sent", sent)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    send(load_settings(), pipeline.name, float(sys.argv[1]))
