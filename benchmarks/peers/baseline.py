"""Hand-written baseline, at least once: a consume loop with periodic flush and commit."""

import sys
from contextlib import suppress
from time import monotonic

from confluent_kafka import Consumer, KafkaException, Producer

from benchmarks.peers.work import BAD, score, trained_model

COMMIT_SECONDS = 1.0


def main(servers: str, raw: str, scored: str, dead: str) -> None:
    """Runs until killed."""
    model = trained_model()
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": scored,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([raw])
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "linger.ms": 50,
            "compression.type": "lz4",
            # More than it produces between two flushes.
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    began: float | None = None
    while True:
        messages = consumer.consume(1000, 0.05)
        if messages and began is None:
            began = monotonic()
        for message in messages:
            try:
                producer.produce(scored, score(model, message.value()), message.key())
            except BAD:
                producer.produce(dead, message.value(), message.key())
        producer.poll(0)
        if began is not None and monotonic() - began > COMMIT_SECONDS:
            producer.flush()
            # Fails if the partitions have been revoked.
            with suppress(KafkaException):
                consumer.commit(asynchronous=False)
            began = None


if __name__ == "__main__":
    main(*sys.argv[1:])
