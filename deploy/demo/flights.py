"""Sends the flights that left New York in 2013 and their labels, in the order of their time.

``python flights.py 100`` sends 100 records per second until the end of the year, one in 500 with an
injected mistake.
"""

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

from stream_app.demo.send_schedule import scheduled_sends
from stream_app.examples.flights import pipeline
from stream_app.examples.nycflights import Item, read_flights, timeline
from stream_app.kafka.clients import make_producer
from stream_app.settings import load_settings
from stream_app.topic_kinds import topic_name

MONTHS = [datetime(2013, month, 1, tzinfo=UTC) for month in range(1, 13)] + [
    datetime(2014, 1, 1, tzinfo=UTC)
]


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


def main(rate: float) -> None:
    """Sends `rate` records per second."""
    producer = make_producer(load_settings())
    started = time.monotonic()
    for number, record in enumerate(scheduled_sends(year(), mistakes=0.002, seed=2013)):
        time.sleep(max(0.0, started + number / rate - time.monotonic()))
        producer.produce(topic_name(pipeline.name, record.kind), record.value, record.key)
        producer.poll(0)
    producer.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]))
