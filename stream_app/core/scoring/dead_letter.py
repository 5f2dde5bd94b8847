"""Dead letters: the original bytes, with what happened in the headers."""

from traceback import format_tb

from stream_app.core.scoring.failure_fingerprint import digest, fingerprint
from stream_app.core.scoring.retries import Attempt
from stream_app.error_codes import ERROR_CODES
from stream_app.formatting import iso_time
from stream_app.headers import (
    APP_VERSION,
    ERROR_ATTEMPTS,
    ERROR_CLASS,
    ERROR_CODE,
    ERROR_EXCEPTION,
    ERROR_FINGERPRINT,
    ERROR_FIRST_FAILED_AT,
    ERROR_ID,
    ERROR_LAST_FAILED_AT,
    ERROR_MESSAGE,
    ERROR_STACKTRACE,
    ERROR_STAGE,
    FAILURE_HEADER_PREFIXES,
    MODEL_VERSION,
    ORIGINAL_OFFSET,
    ORIGINAL_PARTITION,
    ORIGINAL_SIZE,
    ORIGINAL_TIMESTAMP,
    ORIGINAL_TOPIC,
    REPLAY_COUNT,
    REPLAY_ID,
    SCHEMA_VERSION,
)
from stream_app.records import Failure, Output, Record

STACKTRACE_LIMIT = 4000  # characters
MESSAGE_LIMIT = 1000
KEPT_LIMIT = 100  # bytes of a header of an earlier failure


def error_id(group: str, record: Record) -> str:
    """The same failure of the same record always has the same id."""
    return digest(group, record.topic, str(record.partition), str(record.offset))


def dead_letter(
    topic: str,
    record: Record,
    failure: Failure,
    context: dict[str, str],
    now: int,
    before: Attempt | None = None,
) -> Output:
    """Key, value and headers as they came, plus the headers of the failure; `before` is the last try before this one.

    `context` has group, model-version, schema-version and app-version. A header of an earlier failure of the same
    bytes is overwritten, except when it failed first and how often.
    """
    kind = ERROR_CODES[failure.code]
    earlier = {
        name: (content or b"")[:KEPT_LIMIT].decode("utf-8", "replace")
        for name, content in record.headers
        if name in _KEPT
    }
    ours = {
        ERROR_ID: error_id(context["group"], record),
        ERROR_CODE: failure.code,
        ERROR_CLASS: kind.error_class,
        ERROR_STAGE: kind.stage,
        ERROR_MESSAGE: failure.message[:MESSAGE_LIMIT],
        ERROR_EXCEPTION: type(failure.exception).__name__ if failure.exception else "",
        ERROR_STACKTRACE: _stacktrace(failure.exception),
        ERROR_FINGERPRINT: fingerprint(failure),
        ERROR_ATTEMPTS: str(
            _count(earlier.get(ERROR_ATTEMPTS)) + (before.number if before else 0) + 1
        ),
        ERROR_FIRST_FAILED_AT: earlier.get(ERROR_FIRST_FAILED_AT)
        or iso_time(before.first_failed if before else now),
        ERROR_LAST_FAILED_AT: iso_time(now),
        ORIGINAL_TOPIC: record.topic,
        ORIGINAL_PARTITION: str(record.partition),
        ORIGINAL_OFFSET: str(record.offset),
        ORIGINAL_TIMESTAMP: str(record.timestamp),
        MODEL_VERSION: context[MODEL_VERSION],
        SCHEMA_VERSION: context[SCHEMA_VERSION],
        APP_VERSION: context[APP_VERSION],
        REPLAY_COUNT: earlier.get(REPLAY_COUNT, "0"),
        REPLAY_ID: earlier.get(REPLAY_ID, ""),
    }
    if earlier.get(REPLAY_ID):  # then they say where the record was first
        ours |= {name: text for name, text in earlier.items() if name in _ORIGIN}
    kept = [(name, content) for name, content in record.headers if name not in ours]
    headers = kept + [(name, text.encode()) for name, text in ours.items()]
    return Output(topic, record.partition, record.key, record.value, headers)


def shortened(letter: Output) -> Output:
    """A dead letter that fits where the record itself, which came compressed or with huge headers, does not.

    Its bytes stay where they are: `original-topic`, `-partition` and `-offset` say where.
    """
    ours = [
        (name, content)
        for name, content in letter.headers
        if name.startswith(FAILURE_HEADER_PREFIXES)
    ]
    note = (ORIGINAL_SIZE, str(len(letter.value or b"")).encode())
    return Output(
        letter.topic, letter.partition, (letter.key or b"")[:KEPT_LIMIT], None, [*ours, note]
    )


_ORIGIN = frozenset({ORIGINAL_TOPIC, ORIGINAL_PARTITION, ORIGINAL_OFFSET, ORIGINAL_TIMESTAMP})
_KEPT = frozenset({ERROR_ATTEMPTS, ERROR_FIRST_FAILED_AT, REPLAY_COUNT, REPLAY_ID}) | _ORIGIN


def _count(text: str | None) -> int:
    return int(text) if text and len(text) < 10 and text.isdecimal() else 0


def _stacktrace(error: BaseException | None) -> str:
    """Where it was raised; without the exception's own text, which may quote a record."""
    return "" if error is None else "".join(format_tb(error.__traceback__))[-STACKTRACE_LIMIT:]
