"""Dead letters: their references, their contents, and reading them from their topics."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

from confluent_kafka import Message

from stream_app import headers as names
from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas, decode
from stream_app.error_codes import UNREADABLE, Stage
from stream_app.kafka.partition_reader import PartitionReader, headers_of
from stream_app.records import Failure, Fields, Headers, Record
from stream_app.topic_kinds import DeadLetterKind, topic_name

# Offsets. Across a smaller gap, reading on is faster than a seek.
_MAX_GAP = 2000

# Dead letters per fetch range. A seek discards what was fetched ahead.
_MAX_RANGE = 50_000


class Origin(NamedTuple):
    """Topic, partition and offset at which a record failed for the first time."""

    topic: str
    partition: int
    offset: int


class DeadLetterRef(NamedTuple):
    """Reference to one dead letter.

    Attributes:
        kind: kind of the topic that holds it.
        partition: partition of that topic.
        offset: offset in that partition.
        error_id: id of the failure, the same each time the same record fails.
        origin: position of the failed record.
    """

    kind: DeadLetterKind
    partition: int
    offset: int
    error_id: str
    origin: Origin


@dataclass(frozen=True)
class DeadLetter:
    """A dead letter as stored on its topic. Edit functions receive it.

    Attributes:
        ref: position of the dead letter, its error id and its origin.
        timestamp: time at which the record became a dead letter, in Unix milliseconds.
        key: key of the failed record; if `ingest` wrote the dead letter, that of the source.
        value: value of the failed record. It is also None if the value was too large to be stored
            or its batch is unreadable (`is_shortened`); the bytes are then only at `ref.origin`,
            until retention deletes them.
        headers: all headers in their order.
        schemas: writer schemas for Avro values.
    """

    ref: DeadLetterRef
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    schemas: Schemas = field(default_factory=lambda: NO_SCHEMAS, repr=False, compare=False)

    @classmethod
    def of(
        cls, ref: DeadLetterRef, message: Message, schemas: Schemas = NO_SCHEMAS
    ) -> "DeadLetter":
        """Return the dead letter that a message of the topic holds."""
        headers = headers_of(message)
        return cls(ref, message.timestamp()[1], message.key(), message.value(), headers, schemas)

    @cached_property
    def header_texts(self) -> Mapping[str, str]:
        """All headers as text by name; `DEAD_LETTER_HEADERS` describes those of the failure."""
        return {name: _text(content) for name, content in self.headers}

    @cached_property
    def record(self) -> Fields | None:
        """Decoded fields of the value, JSON or Avro; None if the bytes cannot be decoded."""
        fields = decode(self.value, self.original_headers, self.schemas)
        return None if isinstance(fields, Failure) else fields

    @cached_property
    def original_headers(self) -> Headers:
        """Headers of the record: those of its producer, and its position in a source."""
        return [(name, content) for name, content in self.headers if names.is_of_record(name)]

    @property
    def is_shortened(self) -> bool:
        """True if the value is not in the dead letter: it was too large, or is unreadable."""
        return self.value is None and (
            names.ORIGINAL_SIZE in self.header_texts or self.code == UNREADABLE
        )

    @property
    def code(self) -> str:
        """Error code, one of `stream_app.error_codes`, or "unknown"."""
        return self.header_texts.get(names.ERROR_CODE, "unknown")

    @property
    def error_class(self) -> str:
        """Class of the error, which names who has to act."""
        return self.header_texts.get(names.ERROR_CLASS, "")

    @property
    def stage(self) -> str:
        """Stage of the pipeline that failed."""
        return self.header_texts.get(names.ERROR_STAGE, "")

    @property
    def is_of_ingest(self) -> bool:
        """True if `ingest` wrote it: key and value are those of the source."""
        return self.stage == Stage.INGEST

    @property
    def message(self) -> str:
        """Description of the failure, without values of the record."""
        return self.header_texts.get(names.ERROR_MESSAGE, "")

    @property
    def group(self) -> str:
        """Fingerprint of the cause: the same for all failures with one cause."""
        return self.header_texts.get(names.ERROR_FINGERPRINT, "")

    def original_record(self) -> Record:
        """Return the record as it was when it failed, with its producer's headers."""
        timestamp = self.header_texts.get(names.ORIGINAL_TIMESTAMP, "")
        time = int(timestamp) if timestamp.isdecimal() else self.timestamp
        return Record(*self.ref.origin, time, self.key, self.value, self.original_headers)


class DeadLetterReader:
    """Reads chosen dead letters of a pipeline with a consumer that nothing else uses."""

    def __init__(
        self, reader: PartitionReader, pipeline: str, schemas: Schemas = NO_SCHEMAS
    ) -> None:
        self._reader = reader
        self._pipeline = pipeline
        self._schemas = schemas

    def read(self, refs: Iterable[DeadLetterRef]) -> Iterator[DeadLetter]:
        """Yield dead letters in the order of `refs`, without those no longer on their topic.

        Reading is fast in the order of `Index.select`. Only one iterator may be active at a time.

        Raises:
            AccessError: the topic may not be read.
            KafkaUnavailableError: the cluster does not answer.
        """
        for _, partition_refs in groupby(refs, key=lambda ref: (ref.kind, ref.partition)):
            for fetch_range in _fetch_ranges(partition_refs):
                yield from self._read(fetch_range)

    def _read(self, refs: list[DeadLetterRef]) -> Iterator[DeadLetter]:
        wanted = {ref.offset: ref for ref in refs}
        partition = topic_name(self._pipeline, refs[0].kind), refs[0].partition
        bounds = {partition: (refs[0].offset, refs[-1].offset + 1)}
        for message in self._reader.records(bounds):
            ref = wanted.get(message.offset() or 0)
            if ref is not None:
                yield DeadLetter.of(ref, message, self._schemas)


def read_ref(kind: DeadLetterKind, message: Message) -> DeadLetterRef:
    """Return the reference to a dead letter, read from a message of its topic."""
    found = dict(headers_of(message))
    origin = Origin(
        _text(found.get(names.ORIGINAL_TOPIC)),
        _number(found.get(names.ORIGINAL_PARTITION)),
        _number(found.get(names.ORIGINAL_OFFSET)),
    )
    partition, offset = message.partition() or 0, message.offset() or 0
    return DeadLetterRef(kind, partition, offset, _text(found.get(names.ERROR_ID)), origin)


def _fetch_ranges(refs: Iterable[DeadLetterRef]) -> Iterator[list[DeadLetterRef]]:
    """Yield the references of one partition, split where a seek is faster than reading on."""
    found: list[DeadLetterRef] = []
    for ref in refs:
        if found and (
            len(found) == _MAX_RANGE or not 0 < ref.offset - found[-1].offset <= _MAX_GAP
        ):
            yield found
            found = []
        found.append(ref)
    if found:
        yield found


def _text(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "replace")


def _number(content: bytes | None) -> int:
    return int(content) if content and len(content) < 19 and content.isdigit() else -1
