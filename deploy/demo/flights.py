"""Sends the flights that left New York in 2013 and their labels, in the order of their time.

``python flights.py 100`` sends 100 records per second until the end of the year, one in 500 with an
injected mistake. Started again, it continues where it ended, even after a `kill -9`: each
transaction also commits the number of records sent so far.
"""

import logging
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice, pairwise

from stream_app.demo.demo import scheduled_sends
from stream_app.errors import KafkaUnavailableError, StreamAppError
from stream_app.examples.flights import pipeline
from stream_app.examples.nycflights import Item, read_flights, timeline
from stream_app.kafka.clients import client_config, producer_config
from stream_app.kafka.retrying_reader import RetryingReader
from stream_app.records import InputPartition, Output
from stream_app.settings import Settings, load_settings
from stream_app.topic_kinds import topic_name
from stream_app.worker.transaction_writer import Membership, TransactionWriter

log = logging.getLogger("flights")

MONTHS = [datetime(2013, month, 1, tzinfo=UTC) for month in range(1, 13)] + [
    datetime(2014, 1, 1, tzinfo=UTC)
]
# Seconds between two transactions, and after which Kafka ends one of a job that was killed.
TRANSACTION_SECONDS = 0.2
TIMEOUT_SECONDS = 10
# The producer selects the partition by the key.
BY_KEY = -1


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
        self._settings = settings
        self._group = f"{name}.demo"
        self.partition = InputPartition(topic_name(name, "raw"), 0)
        self.membership = Membership(self._group, -1, "", None)

    def read(self) -> int:
        """Returns the committed number, 0 if there is none."""
        reader = RetryingReader(client_config(self._settings), self._group)
        return max(0, reader.committed([self.partition])[self.partition])


def send(settings: Settings, name: str, rate: float) -> None:
    """Sends the records that a pipeline has not got yet, `rate` per second."""
    position = Position(settings, name)
    config = {**producer_config(settings), "transaction.timeout.ms": TIMEOUT_SECONDS * 1000}
    writer = TransactionWriter(config, f"{name}.demo", lambda kind: topic_name(name, kind))
    try:
        # Ends the last transaction of a job that was killed.
        writer.take_over()
        sent = position.read()
        if sent:
            log.info("continuing after %d records", sent)
        records = islice(scheduled_sends(year(), mistakes=0.002, seed=2013), sent, None)
        next_at = time.monotonic()
        while chunk := list(islice(records, max(1, round(rate * TRANSACTION_SECONDS)))):
            time.sleep(max(0.0, next_at - time.monotonic()))
            writer.write([Output(one.kind, BY_KEY, one.key, one.value) for one in chunk])
            sent += len(chunk)
            writer.commit({position.partition: sent}, position.membership)
            next_at += len(chunk) / rate
        log.info("all %d records are sent", sent)
    finally:
        writer.close()


def main(rate: float) -> int:
    """Sends all records, also if Kafka is away for a while; returns the exit code."""
    while True:
        try:
            send(load_settings(), pipeline.name, rate)
        except KafkaUnavailableError as error:
            log.error("%s", error)
        except StreamAppError as error:
            log.error("%s", error)
            return error.exit_code
        else:
            return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sys.exit(main(float(sys.argv[1])))
