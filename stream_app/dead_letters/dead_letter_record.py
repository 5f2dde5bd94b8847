"""A dead letter: where it is, and what it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas, decode
from stream_app.headers import (
    DEAD_LETTER_HEADERS,
    ERROR_CLASS,
    ERROR_CODE,
    ERROR_FINGERPRINT,
    ERROR_MESSAGE,
    ERROR_STAGE,
    ORIGINAL_SIZE,
    ORIGINAL_TIMESTAMP,
)
from stream_app.records import Failure, Fields, Headers, Record

Kind = Literal["raw.dlq", "labels.dlq"]
KINDS: tuple[Kind, ...] = ("raw.dlq", "labels.dlq")


class Origin(NamedTuple):
    """Where a record stood when it failed."""

    topic: str
    partition: int
    offset: int


class DeadLetterRef(NamedTuple):
    """Names one dead letter: its place on a topic of dead letters, its error id, and where its record came from."""

    kind: Kind
    partition: int
    offset: int
    error_id: str
    origin: Origin


@dataclass(frozen=True)
class DeadLetter:
    """A dead letter as it is on its topic; `timestamp` is epoch milliseconds of the time of becoming one.

    `headers` are all of them, in their order. `value` is None also where it was too large to be kept (`is_shortened`):
    its bytes are then only at `ref.origin`, as long as they are kept there.
    """

    ref: DeadLetterRef
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    schemas: Schemas = field(default_factory=lambda: NO_SCHEMAS, repr=False, compare=False)

    @cached_property
    def facts(self) -> Mapping[str, str]:
        """All headers as text, by name; those that say what happened are `DEAD_LETTER_HEADERS`."""
        return {name: (content or b"").decode("utf-8", "replace") for name, content in self.headers}

    @cached_property
    def record(self) -> Fields | None:
        """The decoded fields, JSON or Avro; None if the bytes cannot be decoded."""
        fields = decode(self.value, self.original_headers, self.schemas)
        return None if isinstance(fields, Failure) else fields

    @cached_property
    def original_headers(self) -> Headers:
        """The headers that the record came with."""
        return [
            (name, content) for name, content in self.headers if name not in DEAD_LETTER_HEADERS
        ]

    @property
    def is_shortened(self) -> bool:
        """Whether the value was too large to be kept here."""
        return self.value is None and ORIGINAL_SIZE in self.facts

    @property
    def code(self) -> str:
        """What went wrong; see `stream_app.error_codes`."""
        return self.facts.get(ERROR_CODE, "unknown")

    @property
    def error_class(self) -> str:
        """Who has to act."""
        return self.facts.get(ERROR_CLASS, "")

    @property
    def stage(self) -> str:
        """Where in the pipeline it went wrong."""
        return self.facts.get(ERROR_STAGE, "")

    @property
    def message(self) -> str:
        """What went wrong, without values."""
        return self.facts.get(ERROR_MESSAGE, "")

    @property
    def group(self) -> str:
        """The fingerprint: the same for all failures of one cause."""
        return self.facts.get(ERROR_FINGERPRINT, "")

    def as_record(self) -> Record:
        """The record as it was when it failed, with the headers that it came with."""
        timestamp = self.facts.get(ORIGINAL_TIMESTAMP, "")
        time = int(timestamp) if timestamp.isdecimal() else self.timestamp
        return Record(*self.ref.origin, time, self.key, self.value, self.original_headers)
