"""Dead letters: the original bytes of a failed record, with the failure in the headers.

The fingerprint of a failure covers the error code, the stage, the place in the user's code, and the
message without values: it is the same for all failures with the same cause.
"""

import re
import sysconfig
from functools import lru_cache
from hashlib import blake2b
from traceback import extract_tb, format_list, walk_tb
from types import CodeType, FrameType, TracebackType
from typing import NamedTuple

from stream_app.core.scoring.replay_headers import ORIGIN, replay_headers
from stream_app.core.scoring.retries import Attempt
from stream_app.error_codes import ERROR_CODES, Stage
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
    HEADER_PREFIX,
    MODEL_VERSION,
    ORIGINAL_OFFSET,
    ORIGINAL_PARTITION,
    ORIGINAL_SIZE,
    ORIGINAL_TIMESTAMP,
    ORIGINAL_TOPIC,
    REPLAY_COUNT,
    REPLAY_ID,
    SCHEMA_VERSION,
    is_of_record,
)
from stream_app.records import Failure, Output, Record
from stream_app.topic_kinds import TopicKind

# Only this much of a message is read, in characters.
MAX_READ = 1000

_VALUES = re.compile(
    r"""
      (?<!\w)[bru]?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`)(?!\w)   # quoted
    | (?<![\w.+%-])[\w.+%-]+@[\w.-]*\w                                       # address
    | \b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b              # UUID
    | \b0[xX][0-9a-fA-F]+\b                                                  # hexadecimal
    | \b(?=[a-fA-F]*\d)(?=\d*[a-fA-F])[0-9a-fA-F]{8,}\b
    | (?<![\w+/=-])(?:(?=[\w+/=-]*\d)[\w+/=-]{20,}|[\w+/=-]{40,})            # key, hash or token
    | (?<![\w.])[-+]?(?:inf|nan)\b                                         # number
    | (?:(?<![\w.])[-+])?\d+(?:[.,:]\d+)*(?:[eE][-+]?\d+)?
    """,
    re.VERBOSE,
)
_LIST = re.compile(r"#(?:, ?#)+")

_OWN_FOLDER = re.split(r"core[\\/]scoring[\\/]", __file__)[0]
# The examples are written like a user's pipeline, so they count as the user's code.
_EXAMPLES = f"{_OWN_FOLDER}examples"
# Modules of which some are compiled.
_CORE = ("stream_app.core.", "stream_app.model_store.")
_STANDARD_LIBRARY = sysconfig.get_path("stdlib")
_INSTALLED = re.compile(r"[\\/](?:site|dist)-packages[\\/]")
MAX_STACKTRACE = 4000  # characters
MAX_MESSAGE = 1000  # characters
# A key of a shortened dead letter is cut to this length.
MAX_COPIED_BYTES = 100


def fingerprint(failure: Failure, stage: Stage | None = None) -> str:
    """Return the fingerprint of a failure, 16 hexadecimal digits; the stage is that of its code."""
    error = failure.exception
    place = "" if error is None else raised_in(error.__traceback__)
    stage = stage or ERROR_CODES[failure.code].stage
    return digest(failure.code, stage, normalized(failure.message), place)


# Most failures with the same cause have the same message.
@lru_cache(1000)
def normalized(message: str) -> str:
    """Replace numbers, quoted texts, ids, hashes, addresses and lists of them by #.

    >>> normalized("order 4711 of 'ann' took 1.5e3 ms, not [10, 20]")
    'order # of # took # ms, not [#]'
    """
    return _LIST.sub("#", _VALUES.sub("#", message[:MAX_READ]))


def raised_in(traceback: TracebackType | None) -> str:
    """Return file and function of the innermost frame in the user's code.

    Without one, of the innermost frame outside the core, which differs if it is compiled. The line
    number is left out: an edit elsewhere in the file must not change the fingerprint.
    """
    last = users = None
    for frame, _ in walk_tb(traceback):
        if not _is_core(frame):
            last = frame.f_code
            if _is_user_code(last.co_filename):
                users = last
    code = users or last
    return "" if code is None else _name(code)


def digest(*parts: str) -> str:
    """Return a hash of texts, 16 hexadecimal digits."""
    return blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=8).hexdigest()


def _is_core(frame: FrameType) -> bool:
    """Return True for a frame of the core, which differs if it is compiled."""
    return str(frame.f_globals.get("__name__")).startswith(_CORE)


def _is_user_code(file: str) -> bool:
    """Return True if a file is not of this package, Python or an installed package."""
    if file.startswith(_OWN_FOLDER):
        return file.startswith(_EXAMPLES)
    return not (file.startswith((_STANDARD_LIBRARY, "<")) or _INSTALLED.search(file))


def _name(code: CodeType) -> str:
    file = re.split(r"[\\/]", code.co_filename)[-1]
    return f"{file}:{code.co_qualname}"


class FailureContext(NamedTuple):
    """Worker that processed a record when it failed.

    Attributes:
        group: consumer group.
        model_version: served model version.
        fingerprint: fingerprint of the pipeline's declaration.
        app_version: version of this program.
    """

    group: str
    model_version: str
    fingerprint: str
    app_version: str


def error_id(group: str, record: Record) -> str:
    """Return the id of a record's failure, the same whenever the record is processed."""
    return digest(group, record.topic, str(record.partition), str(record.offset))


def dead_letter(
    topic: TopicKind,
    record: Record,
    failure: Failure,
    context: FailureContext,
    now: int,
    last_attempt: Attempt | None = None,
    stage: Stage | None = None,
) -> Output:
    """Return the dead letter of a record: its key, value and headers, and headers of the failure.

    Headers of an earlier failure of the same bytes are replaced, except for the time of the first
    failure and the number of attempts. A replayed record keeps the origin of its first failure.

    Args:
        topic: kind of the dead-letter topic.
        record: the failed record.
        failure: the failure.
        context: worker that processed the record.
        now: wall-clock time in Unix milliseconds.
        last_attempt: attempt before this one, if the record was retried.
        stage: stage that failed, by default that of the code.
    """
    kind = ERROR_CODES[failure.code]
    earlier = replay_headers(record) if record.headers else {}
    attempts = int(earlier.get(ERROR_ATTEMPTS, 0)) + (last_attempt.number if last_attempt else 0)
    failed_at = iso_time(now)
    first_failed = iso_time(last_attempt.first_failed) if last_attempt else failed_at
    ours = {
        ERROR_ID: error_id(context.group, record),
        ERROR_CODE: failure.code,
        ERROR_CLASS: kind.error_class,
        ERROR_STAGE: stage or kind.stage,
        ERROR_MESSAGE: failure.message[:MAX_MESSAGE],
        ERROR_EXCEPTION: type(failure.exception).__name__ if failure.exception else "",
        ERROR_STACKTRACE: _stacktrace(failure.exception),
        ERROR_FINGERPRINT: fingerprint(failure, stage),
        ERROR_ATTEMPTS: str(attempts + 1),
        ERROR_FIRST_FAILED_AT: earlier.get(ERROR_FIRST_FAILED_AT, first_failed),
        ERROR_LAST_FAILED_AT: failed_at,
        ORIGINAL_TOPIC: record.topic,
        ORIGINAL_PARTITION: str(record.partition),
        ORIGINAL_OFFSET: str(record.offset),
        ORIGINAL_TIMESTAMP: str(record.timestamp),
        MODEL_VERSION: context.model_version,
        SCHEMA_VERSION: context.fingerprint,
        APP_VERSION: context.app_version,
        REPLAY_COUNT: earlier.get(REPLAY_COUNT, "0"),
        REPLAY_ID: earlier.get(REPLAY_ID, ""),
    }
    ours |= {name: text for name, text in earlier.items() if name in ORIGIN}
    kept = [(name, content) for name, content in record.headers if is_of_record(name)]
    headers = kept + [(name, text.encode()) for name, text in ours.items()]
    return Output(topic, record.partition, record.key, record.value, headers)


def shortened(letter: Output) -> Output:
    """Return a dead letter without the value, for a record that does not fit into the topic.

    That is the case for records that came compressed or with huge headers. The value can be read at
    the original topic, partition and offset.
    """
    ours = [(name, content) for name, content in letter.headers if name.startswith(HEADER_PREFIX)]
    value_size = (ORIGINAL_SIZE, str(len(letter.value or b"")).encode())
    key = (letter.key or b"")[:MAX_COPIED_BYTES]
    return Output(letter.topic, letter.partition, key, None, [*ours, value_size])


def _stacktrace(error: BaseException | None) -> str:
    """Return the frames without the exception's message, which may quote a record.

    Frames of the core are left out: an event leaves the same dead letter whether it is compiled or
    not.
    """
    if error is None:
        return ""
    traceback = error.__traceback__
    frames = zip(walk_tb(traceback), extract_tb(traceback), strict=True)
    shown = [summary for (frame, _), summary in frames if not _is_core(frame)]
    return "".join(format_list(shown))[-MAX_STACKTRACE:]
