"""Sending of completeness records, and the time until which a file of labels is complete."""

import time
from collections.abc import Iterator
from heapq import heappush, heappushpop

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from stream_app.clock import now_ms
from stream_app.core.reading.completeness import Completeness
from stream_app.core.reading.record_reader import LabelReader
from stream_app.core.scoring.event_clock import LABELS_NEEDED
from stream_app.errors import KafkaUnavailableError, StreamAppError
from stream_app.interruption import uninterrupted
from stream_app.kafka.access_errors import kafka_error
from stream_app.kafka.clients import ConnectionErrors, make_producer
from stream_app.kafka.offsets import find_partitions
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, Record
from stream_app.settings import Settings
from stream_app.topic_kinds import topic_name
from stream_app.transfer.json_lines import BadLine, Row

_DELIVERY_MS = 60_000
# Ctrl-C is noticed between two flushes.
_FLUSH_SECONDS = 0.2


class LabelTimes:
    """Newest times of the labels of a file.

    Args:
        pipeline: loaded pipeline.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._reader = LabelReader(pipeline)
        self._newest: list[int] = []

    def observe(self, rows: Iterator[Row | BadLine]) -> Iterator[Row | BadLine]:
        """Yield the rows, whose values are JSON, and note the times of those that are labels."""
        now = now_ms()
        for row in rows:
            if isinstance(row, Row):
                label = self._reader.read(Record("", 0, 0, now, row.key, row.value), now)
                if not isinstance(label, Failure):
                    self._add(min(label.label_time, now))
            yield row

    def complete_until(self) -> int | None:
        """Return the time until which the file is complete in Unix milliseconds.

        It leaves out the newest three labels, whose times may be wrong. None for fewer labels.
        """
        return self._newest[0] if len(self._newest) == LABELS_NEEDED else None

    def _add(self, label_time: int) -> None:
        if len(self._newest) < LABELS_NEEDED:
            heappush(self._newest, label_time)
        else:
            heappushpop(self._newest, label_time)


def send_completeness(settings: Settings, pipeline: str, statement: Completeness) -> int:
    """Write a completeness record into every partition of `<p>.labels`; return their number.

    Raises:
        TopicsError: the topic is missing.
        AccessError: the cluster rejects this client.
        KafkaUnavailableError: the cluster does not answer, or did not confirm all of them in time.
            Sending them again does no harm.
    """
    topic, errors = topic_name(pipeline, "labels"), ConnectionErrors.of(settings)
    producer = make_producer(settings, errors, message_timeout_ms=_DELIVERY_MS)
    partitions = [number for _, number in find_partitions(producer, errors, [topic])]
    failures: list[KafkaError] = []

    @uninterrupted
    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    try:
        for partition in partitions:
            producer.produce(
                topic,
                partition=partition,
                headers=list(statement.headers()),
                on_delivery=delivered,
            )
        _flush(producer)
    except KafkaException as error:
        failures.append(error.args[0])
    if failures:
        raise _failure(failures[0], topic)
    return len(partitions)


def _flush(producer: Producer) -> None:
    until = time.monotonic() + 2 * _DELIVERY_MS / 1000
    while producer.flush(_FLUSH_SECONDS) and time.monotonic() < until:
        pass


def _failure(error: KafkaError, topic: str) -> StreamAppError:
    found = kafka_error(error, f"write to {topic}")
    if isinstance(found, KafkaUnavailableError):
        return KafkaUnavailableError(f"{found.args[0]}", "Run the command again when Kafka answers")
    return found
