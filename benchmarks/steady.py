"""Sender of flights at a constant rate, and reader of their outcomes."""

import threading
import time
from itertools import islice

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.cluster import EndOffsets, Records
from benchmarks.contenders import RunConfig

# Time between two sends at the full rate, and before it.
SEND_INTERVAL_SECONDS = 0.002
WARM_UP_INTERVAL_SECONDS = 0.2


class Sender:
    """Sends events from its own thread, slowly until the full rate is requested.

    Attributes:
        sent: time of each send in monotonic seconds, by key.
    """

    def __init__(self, config: RunConfig, records: Records, rate: int) -> None:
        self.sent: dict[bytes, float] = {}
        self._producer = Producer(
            {
                "bootstrap.servers": config.servers,
                "partitioner": "murmur2_random",
                "linger.ms": 0,
                "log_level": 0,
            }
        )
        self._topic, self._records, self._rate = config.raw, iter(records), rate
        self._full, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def start_full_rate(self) -> None:
        """Switches to the full rate."""
        self._full.set()

    def stop(self) -> None:
        """Stops sending."""
        self._stopped.set()
        self._full.set()
        self._thread.join()
        self._producer.purge()
        self._producer.flush(5)

    def _run(self) -> None:
        while not self._full.wait(WARM_UP_INTERVAL_SECONDS):
            self._send(1)
        started, count = time.monotonic(), 0
        while not self._stopped.wait(SEND_INTERVAL_SECONDS):
            due = int((time.monotonic() - started) * self._rate)
            self._send(due - count)
            count = due

    def _send(self, count: int) -> None:
        for key, value in islice(self._records, count):
            self.sent[key] = time.monotonic()
            self._producer.produce(self._topic, value, key)
        self._producer.poll(0)


def outcome_reader(config: RunConfig) -> Consumer:
    """Returns a consumer of committed outcomes from the beginning of the topics."""
    consumer = Consumer(
        {
            "bootstrap.servers": config.servers,
            "group.id": "latency",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 1,
            "log_level": 0,
        }
    )
    partitions = EndOffsets(config.servers, config.outputs).partitions
    consumer.assign([TopicPartition(one.topic, one.partition, 0) for one in partitions])
    return consumer
