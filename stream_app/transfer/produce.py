"""Sending a file's records to a pipeline, as they are: whether they are good is for the pipeline to say."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from confluent_kafka import KafkaError, KafkaException, Message

from stream_app.errors import AccessError, StreamAppError
from stream_app.kafka.access_errors import kafka_error, missing_right
from stream_app.kafka.client_config import bootstrap_servers
from stream_app.kafka.clients import ConnectionErrors, make_producer
from stream_app.kafka.offsets import find_partitions
from stream_app.pipeline import Pipeline, parsed
from stream_app.schema_registry import open_registry
from stream_app.schema_registry.registry import value_schema_id
from stream_app.settings import Settings
from stream_app.topic_kinds import topic_name
from stream_app.transfer.input_files import Format, format_of, rows_of
from stream_app.transfer.json_lines import BadLine, InputLines, Row, open_lines
from stream_app.transfer.send_progress import SendProgress, reporter
from stream_app.transfer.value_encoding import encoded

_DELIVERY_MS = 60_000
_BATCH_BYTES = 1_000_000
_SHOWN = 100  # problems; the others are counted only
_WAIT = 0.2  # seconds; Ctrl-C is noticed in between


@dataclass(slots=True)
class ProduceSummary:
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
    encoding: Literal["json", "avro"] | None = None,
    rate: float | None = None,
) -> ProduceSummary:
    """Send the file to the raw or labels topic of a loaded pipeline, at most `rate` records a second.

    `encoding` is what is sent: JSON as it is, or Avro by the pipeline's schema; the pipeline's format by default. Bad
    and undelivered lines are told on standard error by their number; the first 100 of each are in the summary. Raises
    `InputError` for a file that cannot be read, `TopicsError` for a missing topic, `KafkaUnavailableError`,
    `RegistryError`.

    ``produce_file(load_settings(), load_pipeline("flights"), "flights.csv", rate=100)``
    """
    topic = topic_name(pipeline.name, "labels" if labels else "raw")
    with open_lines(path) as lines:
        rows = rows_of(lines, file_format or format_of(path), pipeline, labels=labels)
        if (encoding or pipeline.format) == "avro":
            rows = _as_avro(
                rows, settings, topic, parsed(pipeline.label.schema if labels else pipeline.schema)
            )
        with reporter(f"sending to {topic}", lines.size) as progress:
            sender = _Sender(settings, topic, lines, progress)
            sender.send_all(rows, rate)
    return sender.summary


def _as_avro(
    rows: Iterator[Row | BadLine], settings: Settings, topic: str, schema: Mapping[str, Any]
) -> Iterator[Row | BadLine]:
    registry = open_registry(settings.registry)
    return encoded(rows, schema, value_schema_id(registry, topic, schema))


class _Sender:
    """Sends rows and counts what became of them."""

    def __init__(
        self, settings: Settings, topic: str, lines: InputLines, progress: SendProgress
    ) -> None:
        self.summary = ProduceSummary(topic)
        self._failure: StreamAppError | None = (
            None  # because of which there is no point in sending more
        )
        self._lines = lines
        self._progress = progress
        limit = (
            settings.topics.max_message_bytes
        )  # holds for batches, which librdkafka does not split
        errors = ConnectionErrors(bootstrap_servers(settings), settings.kafka)
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
        except KafkaException as error:  # any call may raise what is fatal to a producer
            self._note_failure(error.args[0])
        finally:
            self._flush()
        self._check_failure()

    def _flush(self) -> None:
        try:
            while self._producer.flush(_WAIT):
                self._update()
        except KafkaException as error:
            self._note_failure(error.args[0])

    def _note_failure(self, error: KafkaError) -> None:
        if not isinstance(
            self._failure, AccessError
        ):  # which tells the cause of what is merely fatal
            self._failure = kafka_error(error, f"write to {self.summary.topic}")

    def _check_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _send(self, row: Row) -> None:
        delivered = partial(self._delivered, row.number)
        while True:
            try:
                self._producer.produce(
                    self.summary.topic, row.value, row.key, on_delivery=delivered
                )
                break
            except BufferError:
                self._producer.poll(_WAIT)
                self._update()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
                self._fail(row.number, error.args[0])
                break
        self._producer.poll(0)
        self._check_failure()

    def _poll_until(self, due: float) -> None:
        while (wait := due - time.monotonic()) > 0:
            self._producer.poll(min(wait, _WAIT))
            self._update()

    def _delivered(self, number: int, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.summary.produced += 1
        elif missing_right(error, ""):
            self._note_failure(error)
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
