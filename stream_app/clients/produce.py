"""Sending a file's records to a pipeline, as they are: whether they are good is for the pipeline to say."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from typing import Literal

from confluent_kafka import KafkaError, KafkaException, Message

from stream_app.clients.kafka import ConnectionErrors, bootstrap_servers, make_producer
from stream_app.clients.lines import BadLine, Lines, Row, json_rows, open_lines
from stream_app.clients.offsets import find_partitions
from stream_app.clients.progress import Reporter, reporter
from stream_app.clients.tables import csv_rows
from stream_app.errors import InputError, KafkaUnavailableError
from stream_app.pipeline import Pipeline, parsed
from stream_app.settings import Settings
from stream_app.topics import topic_name

Format = Literal["json", "csv"]

_FORMATS: dict[str, Format] = {".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json"}
_DELIVERY_MS = 60_000
_BATCH_BYTES = 1_000_000
_SHOWN = 100  # problems; the others are counted only
_WAIT = 0.2  # seconds; Ctrl-C is noticed in between


@dataclass(slots=True)
class Summary:
    """What became of the lines: `produced` are acknowledged by Kafka, `bad` were no records, `failed` not delivered."""

    topic: str
    produced: int = 0
    bad: int = 0
    failed: int = 0
    bad_lines: list[int] = field(default_factory=list)
    failed_lines: list[int] = field(default_factory=list)


def produce_file(
    settings: Settings,
    pipeline: Pipeline,
    path: str,
    *,
    labels: bool = False,
    file_format: Format | None = None,
    rate: float | None = None,
) -> Summary:
    """Send the file to the raw or labels topic of a loaded pipeline, at most `rate` records a second.

    Bad and undelivered lines are told on standard error by their number; the first 100 of each are in the summary.
    Raises `InputError` for a file that cannot be read, `TopicsError` for a missing topic, `KafkaUnavailableError`.

    ``produce_file(load_settings(), load_pipeline("flights"), "flights.csv", rate=100)``
    """
    topic = topic_name(pipeline.name, "labels" if labels else "raw")
    with open_lines(path) as lines:
        rows = _rows(lines, file_format or _format_of(path), pipeline, labels)
        with reporter(f"sending to {topic}", lines.size) as progress:
            sender = _Sender(settings, topic, lines, progress)
            sender.send_all(rows, rate)
    return sender.summary


def _format_of(path: str) -> Format:
    suffix = PurePath(path).suffix.lower()
    if path != "-" and suffix not in _FORMATS:
        raise InputError(f"The format of {path} is not known by its name", "Add --format json or --format csv")
    return _FORMATS.get(suffix, "json")


def _rows(lines: Lines, file_format: Format, pipeline: Pipeline, labels: bool) -> Iterator[Row | BadLine]:
    key = pipeline.key or pipeline.event_id
    schema = pipeline.label.schema if labels else pipeline.schema
    return csv_rows(lines, parsed(schema), key) if file_format == "csv" else json_rows(lines, key)


class _Sender:
    """Sends rows and counts what became of them."""

    def __init__(self, settings: Settings, topic: str, lines: Lines, progress: Reporter) -> None:
        self.summary = Summary(topic)
        self._lines = lines
        self._progress = progress
        limit = settings.topics.max_message_bytes  # holds for batches, which librdkafka does not split
        errors = ConnectionErrors(bootstrap_servers(settings))
        self._producer = make_producer(
            settings, errors, batch_size=min(_BATCH_BYTES, limit), message_timeout_ms=_DELIVERY_MS
        )
        find_partitions(self._producer, errors, [topic])

    def send_all(self, rows: Iterator[Row | BadLine], rate: float | None) -> None:
        """Send and wait until each is delivered or given up; what was sent before an error is delivered too."""
        started, count = time.monotonic(), 0
        try:
            for row in rows:
                if isinstance(row, BadLine):
                    self._note(row, self.summary.bad_lines)
                    self.summary.bad += 1
                    continue
                if rate is not None:
                    self._poll_until(started + count / rate)
                self._send(row)
                count += 1
                self._update()
        finally:
            while self._producer.flush(_WAIT):
                self._update()

    def _send(self, row: Row) -> None:
        delivered = partial(self._delivered, row.number)
        while True:
            try:
                self._producer.produce(self.summary.topic, row.value, row.key, on_delivery=delivered)
                break
            except BufferError:
                self._producer.poll(_WAIT)
                self._update()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise KafkaUnavailableError(f"Sending failed: {error.args[0].str()}", "Try again") from None
                self._fail(row.number, error.args[0])
                break
        self._producer.poll(0)

    def _poll_until(self, due: float) -> None:
        while (wait := due - time.monotonic()) > 0:
            self._producer.poll(min(wait, _WAIT))
            self._update()

    def _delivered(self, number: int, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.summary.produced += 1
        else:
            self._fail(number, error)

    def _fail(self, number: int, error: KafkaError) -> None:
        self._note(BadLine(number, f"not delivered: {error.str()}"), self.summary.failed_lines)
        self.summary.failed += 1

    def _note(self, line: BadLine, numbers: list[int]) -> None:
        if len(numbers) < _SHOWN:
            numbers.append(line.number)
            self._progress.say(f"line {line.number}: {line.problem}")
            if len(numbers) == _SHOWN:
                self._progress.say("further lines of this kind are only counted")

    def _update(self) -> None:
        self._progress.update(self._lines.position, self.summary.produced)
