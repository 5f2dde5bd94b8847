"""Names of the Kafka record headers that the program writes or reads, and their texts."""

from collections.abc import Iterable
from typing import NamedTuple

# All headers of the program begin with it, so that none is mistaken for one of a producer. Headers
# of the producer stay on dead letters and replayed records unless they begin with it.
HEADER_PREFIX = "stream-app-"

# Failure of a record: on dead letters.
ERROR_ID = f"{HEADER_PREFIX}error-id"
ERROR_CODE = f"{HEADER_PREFIX}error-code"
ERROR_CLASS = f"{HEADER_PREFIX}error-class"
ERROR_STAGE = f"{HEADER_PREFIX}error-stage"
ERROR_MESSAGE = f"{HEADER_PREFIX}error-message"
ERROR_EXCEPTION = f"{HEADER_PREFIX}error-exception"
ERROR_STACKTRACE = f"{HEADER_PREFIX}error-stacktrace"
ERROR_FINGERPRINT = f"{HEADER_PREFIX}error-fingerprint"
ERROR_ATTEMPTS = f"{HEADER_PREFIX}error-attempts"
ERROR_FIRST_FAILED_AT = f"{HEADER_PREFIX}error-first-failed-at"
ERROR_LAST_FAILED_AT = f"{HEADER_PREFIX}error-last-failed-at"

# Origin of the failed record: on dead letters and on replayed records.
ORIGINAL_TOPIC = f"{HEADER_PREFIX}original-topic"
ORIGINAL_PARTITION = f"{HEADER_PREFIX}original-partition"
ORIGINAL_OFFSET = f"{HEADER_PREFIX}original-offset"
ORIGINAL_TIMESTAMP = f"{HEADER_PREFIX}original-timestamp"
ORIGINAL_SIZE = f"{HEADER_PREFIX}original-size"

# Origin of a record that `ingest` forwarded from a source, and the key that it had there if a field
# comes from it: on records of `<p>.raw` and `<p>.labels`. The first header of such a record.
SOURCE = f"{HEADER_PREFIX}source"
SOURCE_KEY = f"{HEADER_PREFIX}source-key"
_FORWARDED = (SOURCE, SOURCE_KEY)

# Versions in use when the record failed: on dead letters.
MODEL_VERSION = f"{HEADER_PREFIX}model-version"
SCHEMA_VERSION = f"{HEADER_PREFIX}schema-version"
APP_VERSION = f"{HEADER_PREFIX}app-version"

# Replay of a dead letter: on replayed records, and on dead letters that were replayed.
REPLAY_COUNT = f"{HEADER_PREFIX}replay-count"
REPLAY_ID = f"{HEADER_PREFIX}replay-id"

# Options of a replay, believed only on `<p>.raw.replay`, which no producer writes. `REPLAY_LEARN`
# is "no" if the event must not become an example; `REPLAY_MODEL` is the version that scores the
# event instead of the served one.
REPLAY_LEARN = f"{HEADER_PREFIX}replay-learn"
REPLAY_MODEL = f"{HEADER_PREFIX}replay-model"
REPLAY_OPTIONS = (REPLAY_LEARN, REPLAY_MODEL)

# On `<p>.ingest.replay`: the input, `raw` or `labels`, that the record belongs to.
REPLAY_INPUT = f"{HEADER_PREFIX}replay-input"

# Headers of the failure that a replayed record keeps, so that a further dead letter has them.
REPLAYED_HEADERS = (
    ERROR_ATTEMPTS,
    ERROR_FIRST_FAILED_AT,
    ORIGINAL_TOPIC,
    ORIGINAL_PARTITION,
    ORIGINAL_OFFSET,
    ORIGINAL_TIMESTAMP,
)

# Statement that an input is complete until a time, in the format of `docs/clock.md`.
COMPLETENESS = f"{HEADER_PREFIX}completeness"

# W3C trace context, copied from raw records to scored records.
TRACEPARENT = "traceparent"

# Id of the Avro schema of the value, as Confluent's serializers write it.
VALUE_SCHEMA_ID = "__value_schema_id"

# Headers of a dead letter in the order in which they are written, each with its documentation.
DEAD_LETTER_HEADERS = {
    ERROR_ID: "Identifies the failure; the same whenever the same record fails again.",
    ERROR_CODE: "Stable code of the failure.",
    ERROR_CLASS: "Class of the failure, which says who has to act.",
    ERROR_STAGE: "Stage of the pipeline that failed.",
    ERROR_MESSAGE: "Description with names of fields and types, never values; "
    "at most 1,000 characters.",
    ERROR_EXCEPTION: "Class of the exception, empty if none was raised.",
    ERROR_STACKTRACE: "Frames of the exception without its message; "
    "at most the last 4,000 characters.",
    ERROR_FINGERPRINT: "The same for all failures with the same cause.",
    ERROR_ATTEMPTS: "Number of times that these bytes have failed.",
    ERROR_FIRST_FAILED_AT: "Time of the first failure: ISO 8601, UTC.",
    ERROR_LAST_FAILED_AT: "Time of the last failure: ISO 8601, UTC.",
    ORIGINAL_TOPIC: "Topic from which the record was read; "
    "for a replayed record, that of its first failure.",
    ORIGINAL_PARTITION: "Partition of the original topic.",
    ORIGINAL_OFFSET: "Offset in the original partition.",
    ORIGINAL_TIMESTAMP: "Kafka timestamp of the original record in Unix milliseconds.",
    MODEL_VERSION: "Served model version when the record failed.",
    SCHEMA_VERSION: "Fingerprint of the pipeline's declaration.",
    APP_VERSION: "Version of this program.",
    REPLAY_COUNT: "Number of times that the record has been replayed.",
    REPLAY_ID: "Id of the last replay, empty if there was none.",
    ORIGINAL_SIZE: "Bytes of a value that is too large for the dead letter, "
    "whose own value is then null.",
}


def is_of_record(name: str) -> bool:
    """Return True for a header that belongs to a record, not to its failure or replay.

    >>> is_of_record("trace"), is_of_record(SOURCE), is_of_record(ERROR_CODE)
    (True, True, False)
    """
    return not name.startswith(HEADER_PREFIX) or name in _FORWARDED


def producer_headers(
    headers: Iterable[tuple[str, bytes | None]],
) -> list[tuple[str, bytes | None]]:
    """Return the headers that are not the program's.

    >>> producer_headers([("trace", b"1"), (SOURCE, b"forged")])
    [('trace', b'1')]
    """
    return [header for header in headers if not header[0].startswith(HEADER_PREFIX)]


class SourcePosition(NamedTuple):
    """Origin of a forwarded record: its source, partition and offset there, and Kafka timestamp.

    >>> SourcePosition("orders", 3, 1234, 1700000000000).header()
    b'orders/3/1234/1700000000000'
    """

    source: str
    partition: int
    offset: int
    timestamp: int

    def header(self) -> bytes:
        """Return the content of the header `SOURCE`."""
        source, partition, offset, timestamp = self
        return f"{source}/{partition}/{offset}/{timestamp}".encode()


def parse_source(content: bytes | None) -> SourcePosition | None:
    """Return the position in a header `SOURCE`, or None if it is not of that form.

    >>> parse_source(b"orders/3/1234/-1")
    SourcePosition(source='orders', partition=3, offset=1234, timestamp=-1)
    >>> parse_source(b"orders/3/x/0") is None
    True
    """
    try:
        name, partition, offset, timestamp = (content or b"").decode().split("/")
        return SourcePosition(name, int(partition), int(offset), int(timestamp))
    except ValueError:
        return None


def own_header_texts(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Returns the headers of the program as texts by name.

    Headers of producers, whose values may be any bytes, are left out.

    >>> own_header_texts([("stream-app-error-code", b"late"), ("trace", b"\\xff"), ("x", None)])
    {'stream-app-error-code': 'late'}
    """
    return {
        name: (content or b"").decode("utf-8", "replace")
        for name, content in headers
        if name.startswith(HEADER_PREFIX)
    }
