"""A steady stream of flights, and a reader of what becomes of them."""

import threading
import time
from itertools import islice

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.cluster import Ends, Records
from benchmarks.contenders import Race

TICK = 0.002  # seconds between two sends at the full rate
TRICKLE = 0.2  # and before it


class Sender:
    """Sends in a thread of its own: an event now and then, at the full rate once told; `sent` has when, by key."""

    def __init__(self, race: Race, records: Records, rate: int) -> None:
        self.sent: dict[bytes, float] = {}
        self._producer = Producer(
            {
                "bootstrap.servers": race.servers,
                "partitioner": "murmur2_random",
                "linger.ms": 0,
                "log_level": 0,
            }
        )
        self._topic, self._records, self._rate = race.raw, iter(records), rate
        self._full, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def hurry(self) -> None:
        """Go to the full rate."""
        self._full.set()

    def stop(self) -> None:
        """Send nothing more."""
        self._stopped.set()
        self._full.set()
        self._thread.join()
        self._producer.purge()
        self._producer.flush(5)

    def _run(self) -> None:
        while not self._full.wait(TRICKLE):
            self._send(1)
        started, count = time.monotonic(), 0
        while not self._stopped.wait(TICK):
            due = int((time.monotonic() - started) * self._rate)
            self._send(due - count)
            count = due

    def _send(self, count: int) -> None:
        for key, value in islice(self._records, count):
            self.sent[key] = time.monotonic()
            self._producer.produce(self._topic, value, key)
        self._producer.poll(0)


def outcome_reader(race: Race) -> Consumer:
    """Reads committed outcomes from the beginning on; `poll` it."""
    consumer = Consumer(
        {
            "bootstrap.servers": race.servers,
            "group.id": "latency",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 1,
            "log_level": 0,
        }
    )
    partitions = Ends(race.servers, race.outputs).partitions
    consumer.assign([TopicPartition(one.topic, one.partition, 0) for one in partitions])
    return consumer
