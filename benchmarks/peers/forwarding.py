"""Hand-written transactional loop that forwards records under another key, as `ingest` does.

It decodes the key and the time, and writes the value with the key and one header. It has no filter,
no dead letters, no state, no journal, and reads its partitions as they come.
"""

import sys
from collections.abc import Callable
from time import monotonic
from typing import Any

import msgspec
from confluent_kafka import Message, TopicPartition

from benchmarks.peers.exactly_once import committed_reader, transactional_producer
from benchmarks.peers.tuned import BATCH_RECORDS, IDLE_SECONDS, collect_less, to_milliseconds
from stream_app.headers import SOURCE
from stream_app.settings import WorkerSettings
from stream_app.worker.stream_task import CATCH_UP_SECONDS


class Flight(msgspec.Struct, gc=False):
    """Selected fields of a record."""

    event_id: str
    scheduled_departure: str


class Forwarding:
    """Forwards records to a topic.

    Attributes:
        positions: next offsets by partition.
        watermark: largest time so far in Unix milliseconds.
    """

    def __init__(self, produce: Callable[..., Any], target: str) -> None:
        self._produce, self._target = produce, target
        self._decode = msgspec.json.Decoder(Flight).decode
        self.positions: dict[int, int] = {}
        self.watermark = 0

    def forward(self, messages: list[Message]) -> None:
        """Writes records with the pipeline's key and their origin."""
        produce, target, decode = self._produce, self._target, self._decode
        positions, watermark = self.positions, self.watermark
        for message in messages:
            value, partition, offset = message.value(), message.partition(), message.offset()
            flight = decode(value)
            watermark = max(watermark, to_milliseconds(flight.scheduled_departure))
            origin = b"flights/%d/%d/%d" % (partition, offset, message.timestamp()[1])
            produce(target, value, flight.event_id.encode(), headers=[(SOURCE, origin)])
            positions[partition] = offset + 1
        self.watermark = watermark


def main(servers: str, source: str, target: str) -> None:
    """Runs until killed, with transactions as large as those of a worker that catches up."""
    most = WorkerSettings().commit_records
    consumer = committed_reader(servers, target)
    consumer.subscribe([source])
    producer = transactional_producer(servers, target)
    producer.init_transactions()
    forwarding = Forwarding(producer.produce, target)
    collect_less()
    while True:
        # Returns at the first record, and leaves the others to the loop below.
        first = consumer.poll(IDLE_SECONDS)
        if first is None:
            continue
        producer.begin_transaction()
        commit_at, count = monotonic() + CATCH_UP_SECONDS, 0
        messages = [first]
        while messages or monotonic() < commit_at:
            forwarding.forward(messages)
            count += len(messages)
            remaining = commit_at - monotonic()
            if remaining <= 0 or count >= most:
                break
            messages = consumer.consume(BATCH_RECORDS, remaining)
        offsets = [TopicPartition(source, *place) for place in forwarding.positions.items()]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
        producer.commit_transaction()
        forwarding.positions.clear()


if __name__ == "__main__":
    main(*sys.argv[1:])
