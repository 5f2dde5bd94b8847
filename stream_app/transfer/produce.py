"""Producer of a file's records, which are not validated: that is the pipeline's task."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from confluent_kafka import KafkaError, KafkaException, Message

from stream_app.core.reading.decoding import decode
from stream_app.core.reading.validator import compile_validator
from stream_app.errors import AccessError, KafkaUnavailableError, StreamAppError
from stream_app.interruption import uninterrupted
from stream_app.kafka.access_errors import kafka_error, missing_right
from stream_app.kafka.clients import ConnectionErrors, make_producer
from stream_app.kafka.offsets import find_partitions
from stream_app.kafka.partitioner import Partitioner, partitioner_of
from stream_app.pipeline import Pipeline, parsed
from stream_app.records import Failure
from stream_app.schema_registry import open_registry
from stream_app.schema_registry.registry import value_schema_id
from stream_app.settings import Settings
from stream_app.topic_kinds import topic_name
from stream_app.transfer.completeness_sending import LabelTimes
from stream_app.transfer.input_files import Format, infer_format, read_rows
from stream_app.transfer.json_lines import BadLine, InputLines, Row, open_lines
from stream_app.transfer.progress import ProgressReporter, report_progress

SENT_TWICE = "scorers recognise records that had arrived, and score none twice"
"""Says why records that may have been delivered can be sent again."""

_DELIVERY_MS = 60_000
# Time without any confirmation after which no further records are sent.
_GIVE_UP_SECONDS = 300.0
_BATCH_BYTES = 1_000_000
# Answers after which a record is certainly not in Kafka. After any other error, as when no answer
# comes, it may have arrived.
_REJECTIONS = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.INVALID_RECORD,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)
# Problems of one kind that are listed; further ones are only counted.
_MAX_LISTED = 100
# Ctrl-C is noticed between two polls.
_POLL_SECONDS = 0.2


@dataclass(slots=True)
class ProduceSummary:
    """Results by line.

    Attributes:
        topic: full name of the topic.
        produced: number of records that Kafka has acknowledged.
        bad: number of lines that are not records.
        failed: number of records that were not delivered.
        unconfirmed: number of records that Kafka did not confirm in time. They may be in the topic;
            if they are sent again, scorers recognise those that had arrived.
        unlabelled: number of rows of a table that have no label yet, when labels are sent.
        bad_lines: numbers of the first 100 bad lines.
        failed_lines: line numbers of the first 100 records that were not delivered.
        unconfirmed_lines: line numbers of the first 100 unconfirmed records.
        complete_until: time until which the labels of the file are complete in Unix milliseconds.
            None for events, for fewer than four labels, and unless all records were delivered.
    """

    topic: str
    produced: int = 0
    bad: int = 0
    failed: int = 0
    unconfirmed: int = 0
    unlabelled: int = 0
    bad_lines: list[int] = field(default_factory=list)
    failed_lines: list[int] = field(default_factory=list)
    unconfirmed_lines: list[int] = field(default_factory=list)
    complete_until: int | None = None


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
    """Send a file to the raw or the labels topic of a loaded pipeline.

    Bad, undelivered and unconfirmed lines are reported on standard error by their numbers.

    Args:
        path: file, or `-` for standard input.
        labels: True to send labels.
        file_format: format of the file, by default that of its suffix.
        encoding: encoding of the values sent: JSON unchanged, or Avro by the pipeline's schema; by
            default the pipeline's format.
        rate: largest number of records per second, None for no limit.

    Raises:
        InputError: the file cannot be read.
        TopicsError: the topic is missing.
        AccessError: the cluster rejects this client.
        KafkaUnavailableError: the cluster does not answer, or confirms nothing for five minutes.
        RegistryError: the schema registry does not answer, or lacks the schema.

    ``produce_file(load_settings(), load_pipeline("flights"), "flights.csv", rate=100)``
    """
    topic = topic_name(pipeline.name, "labels" if labels else "raw")
    schema = parsed(pipeline.label.schema if labels else pipeline.schema)
    with open_lines(path) as lines:
        rows = read_rows(lines, file_format or infer_format(path), pipeline, labels=labels)
        times = LabelTimes(pipeline) if labels else None
        if times is not None:
            rows = times.observe(rows)
        if (encoding or pipeline.format) == "avro":
            rows = _as_avro(rows, settings, topic, schema)
        with report_progress(f"sending to {topic}", lines.size) as progress:
            producer = _FileProducer(settings, topic, partitioner_of(pipeline), lines, progress)
            producer.send_all(rows, rate)
    summary = producer.summary
    summary.unlabelled = lines.unlabelled
    if times is not None and not summary.failed and not summary.unconfirmed:
        summary.complete_until = times.complete_until()
    return summary


def _as_avro(
    rows: Iterator[Row | BadLine], settings: Settings, topic: str, schema: Mapping[str, Any]
) -> Iterator[Row | BadLine]:
    registry = open_registry(settings.registry)
    return encode_rows(rows, schema, value_schema_id(registry, topic, schema))


class _FileProducer:
    """Sends rows and counts the results."""

    def __init__(
        self,
        settings: Settings,
        topic: str,
        partitioner: Partitioner,
        lines: InputLines,
        progress: ProgressReporter,
    ) -> None:
        self.summary = ProduceSummary(topic)
        # Error that makes further sending pointless.
        self._failure: StreamAppError | None = None
        self._sent_line = 0
        self._confirmed_at = time.monotonic()
        self._lines = lines
        self._progress = progress
        # The limit also applies to batches, which librdkafka does not split.
        batch_bytes = min(_BATCH_BYTES, settings.topics.max_message_bytes)
        errors = ConnectionErrors.of(settings)
        self._producer = make_producer(
            settings,
            errors,
            partitioner=partitioner.producer_option,
            batch_size=batch_bytes,
            message_timeout_ms=_DELIVERY_MS,
        )
        find_partitions(self._producer, errors, [topic])

    def send_all(self, rows: Iterator[Row | BadLine], rate: float | None) -> None:
        """Send rows and wait until each is delivered or has failed, also after an error."""
        started, count = time.monotonic(), 0
        self._confirmed_at = started
        try:
            for row in rows:
                if isinstance(row, BadLine):
                    self._report(row, self.summary.bad_lines)
                    self.summary.bad += 1
                    continue
                if rate is not None:
                    self._poll_until(started + count / rate)
                self._send(row)
                count += 1
                self._update()
        # Any call may raise the fatal error of a producer.
        except KafkaException as error:
            self._set_failure(error.args[0])
        except KafkaUnavailableError:
            # Raised again when the records in the queue have failed, too.
            pass
        finally:
            self._flush()
        self._check_failure()

    def _flush(self) -> None:
        try:
            while self._producer.flush(_POLL_SECONDS):
                self._update()
        except KafkaException as error:
            self._set_failure(error.args[0])

    def _set_failure(self, error: KafkaError) -> None:
        # An access error is the cause of a later, merely fatal one.
        if not isinstance(self._failure, AccessError):
            self._failure = kafka_error(error, f"write to {self.summary.topic}")

    def _check_failure(self) -> None:
        if isinstance(self._failure, KafkaUnavailableError):
            raise KafkaUnavailableError(
                f"{self._failure.message}; of the lines up to {self._sent_line:,}, Kafka confirmed "
                f"{self.summary.produced:,} and did not confirm {self.summary.unconfirmed:,}, "
                "and no later line was sent",
                f"{self._failure.remedy}, then send the file again: {SENT_TWICE}",
            )
        if self._failure is not None:
            raise self._failure

    def _send(self, row: Row) -> None:
        delivered = uninterrupted(partial(self._delivered, row.number))
        while True:
            self._check_failure()
            try:
                self._producer.produce(
                    self.summary.topic, row.value, row.key, on_delivery=delivered
                )
                self._sent_line = row.number
                break
            except BufferError:
                self._producer.poll(_POLL_SECONDS)
                self._update()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
                self._fail(row.number, error.args[0])
                break
        self._producer.poll(0)

    def _poll_until(self, due: float) -> None:
        while (wait := due - time.monotonic()) > 0:
            self._producer.poll(min(wait, _POLL_SECONDS))
            self._update()

    def _delivered(self, number: int, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.summary.produced += 1
            self._confirmed_at = time.monotonic()
        elif missing_right(error, ""):
            self._set_failure(error)
        elif error.code() in _REJECTIONS:
            self._fail(number, error)
        else:
            self._doubt(number, error)

    def _doubt(self, number: int, error: KafkaError) -> None:
        """Report a record that may have been delivered; give up if none is confirmed any more."""
        line = BadLine(number, f"not confirmed by Kafka, perhaps delivered: {error.str()}")
        self._report(line, self.summary.unconfirmed_lines)
        self.summary.unconfirmed += 1
        if time.monotonic() - self._confirmed_at > _GIVE_UP_SECONDS:
            self._set_failure(error)

    def _fail(self, number: int, error: KafkaError) -> None:
        self._report(BadLine(number, f"not delivered: {error.str()}"), self.summary.failed_lines)
        self.summary.failed += 1

    def _report(self, line: BadLine, numbers: list[int]) -> None:
        if len(numbers) < _MAX_LISTED:
            numbers.append(line.number)
            self._progress.print(f"line {line.number}: {line.problem}")
            if len(numbers) == _MAX_LISTED:
                self._progress.print("further lines of this kind are only counted")

    def _update(self) -> None:
        self._progress.update(self._lines.position, self.summary.produced)


def encode_rows(
    rows: Iterator[Row | BadLine], schema: Mapping[str, Any], schema_id: int
) -> Iterator[Row | BadLine]:
    """Yield the rows encoded as Avro; a row that does not fit the schema is a bad line."""
    from stream_app.core.reading.avro_writer import compile_writer

    validate, write = compile_validator(schema), compile_writer(schema, schema_id)
    for row in rows:
        if isinstance(row, BadLine):
            yield row
            continue
        fields = decode(row.value)
        if not isinstance(fields, Failure):
            fields = validate(fields)
        if isinstance(fields, Failure):
            yield BadLine(row.number, fields.message)
        else:
            yield row._replace(value=write(fields))
