"""Dead letters: the original bytes, with what happened in the headers."""

from traceback import format_tb

from stream_app.core.scoring.failure_fingerprint import digest, fingerprint
from stream_app.core.scoring.retries import Attempt
from stream_app.error_codes import ERROR_CODES
from stream_app.formatting import iso_time
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
        "error-id": error_id(context["group"], record),
        "error-code": failure.code,
        "error-class": kind.error_class,
        "error-stage": kind.stage,
        "error-message": failure.message[:MESSAGE_LIMIT],
        "error-exception": type(failure.exception).__name__ if failure.exception else "",
        "error-stacktrace": _stacktrace(failure.exception),
        "error-fingerprint": fingerprint(failure),
        "error-attempts": str(
            _count(earlier.get("error-attempts")) + (before.number if before else 0) + 1
        ),
        "error-first-failed-at": earlier.get("error-first-failed-at")
        or iso_time(before.first_failed if before else now),
        "error-last-failed-at": iso_time(now),
        "original-topic": record.topic,
        "original-partition": str(record.partition),
        "original-offset": str(record.offset),
        "original-timestamp": str(record.timestamp),
        "model-version": context["model-version"],
        "schema-version": context["schema-version"],
        "app-version": context["app-version"],
        "replay-count": earlier.get("replay-count", "0"),
        "replay-id": earlier.get("replay-id", ""),
    }
    if earlier.get("replay-id"):  # then they say where the record was first
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
        if name.startswith(("error-", "original-", "replay-"))
    ]
    note = ("original-size", str(len(letter.value or b"")).encode())
    return Output(
        letter.topic, letter.partition, (letter.key or b"")[:KEPT_LIMIT], None, [*ours, note]
    )


_ORIGIN = frozenset(
    {"original-topic", "original-partition", "original-offset", "original-timestamp"}
)
_KEPT = (
    frozenset({"error-attempts", "error-first-failed-at", "replay-count", "replay-id"}) | _ORIGIN
)


def _count(text: str | None) -> int:
    return int(text) if text and len(text) < 10 and text.isdecimal() else 0


def _stacktrace(error: BaseException | None) -> str:
    """Where it was raised; without the exception's own text, which may quote a record."""
    return "" if error is None else "".join(format_tb(error.__traceback__))[-STACKTRACE_LIMIT:]
