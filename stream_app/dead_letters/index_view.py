"""A dead letter's facts as the index keeps them."""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson
from confluent_kafka import Message

from stream_app.dead_letters.dead_letter_record import KINDS
from stream_app.headers import (
    APP_VERSION,
    ERROR_ATTEMPTS,
    ERROR_CLASS,
    ERROR_CODE,
    ERROR_FINGERPRINT,
    ERROR_FIRST_FAILED_AT,
    ERROR_ID,
    ERROR_LAST_FAILED_AT,
    ERROR_MESSAGE,
    ERROR_STAGE,
    MODEL_VERSION,
    ORIGINAL_OFFSET,
    ORIGINAL_PARTITION,
    ORIGINAL_TIMESTAMP,
    ORIGINAL_TOPIC,
    REPLAY_COUNT,
    REPLAY_ID,
    SCHEMA_VERSION,
)

_DECODED = 64 * 1024  # bytes of a value, at most, for the sake of an event id

Intern = Callable[[tuple[str, ...]], int]
"""Takes texts that many letters share, gives their number in the index."""


class DeadLetterView:
    """Makes rows of messages; `event_id` is the field of that name, `key_is_id` says that the key is its text.

    Whatever was written to the topic, by whomever, this never raises.
    """

    def __init__(self, causes: Intern, contexts: Intern, event_id: str, *, key_is_id: bool) -> None:
        self._cause = lru_cache(maxsize=10_000)(lambda *parts: causes(tuple(map(_text, parts))))
        self._context = lru_cache(maxsize=10_000)(lambda *parts: contexts(tuple(map(_text, parts))))
        self._event_id = event_id
        self._key_is_id = key_is_id

    def row(self, message: Message) -> tuple[Any, ...]:
        """The values of `stream_app.dead_letters.index_file.COLUMNS`."""
        found = dict(message.headers() or ())
        get = found.get
        code = get(ERROR_CODE) or b"unknown"
        key, value = message.key(), message.value()
        first, last = get(ERROR_FIRST_FAILED_AT), get(ERROR_LAST_FAILED_AT)
        return (
            KINDS.index(
                "labels.dlq" if (message.topic() or "").endswith(".labels.dlq") else "raw.dlq"
            ),
            message.partition(),
            message.offset(),
            message.timestamp()[1],
            self._cause(get(ERROR_FINGERPRINT) or code, code, get(ERROR_CLASS), get(ERROR_STAGE)),
            self._context(
                get(ORIGINAL_TOPIC),
                get(MODEL_VERSION),
                get(SCHEMA_VERSION),
                get(APP_VERSION),
                get(REPLAY_ID),
            ),
            key,
            _text(get(ERROR_MESSAGE)),
            _number(get(ERROR_ATTEMPTS)),
            _time(first),
            _time(last),
            _number(get(ORIGINAL_PARTITION)),
            _number(get(ORIGINAL_OFFSET)),
            _number(get(ORIGINAL_TIMESTAMP)),
            _number(get(REPLAY_COUNT)),
            _text(get(ERROR_ID)),
            self._find_event_id(key, value),
            len(value or b""),
        )

    def _find_event_id(self, key: bytes | None, value: bytes | None) -> str | None:
        if value and len(value) <= _DECODED:
            try:
                fields = orjson.loads(value)
            except orjson.JSONDecodeError:
                fields = None
            found = fields.get(self._event_id) if type(fields) is dict else None
            if found is not None:
                return str(found)
        return _text(key) if self._key_is_id and key is not None else None


def _text(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "replace")


def _number(content: bytes | None) -> int:
    """A decimal number that the index can keep; 0 for anything else."""
    return int(content) if content is not None and len(content) < 19 and content.isdigit() else 0


@lru_cache(maxsize=10_000)
def _time(content: bytes | None) -> int:
    """Epoch milliseconds of an ISO 8601 time; 0 for anything else."""
    try:
        return round(datetime.fromisoformat(_text(content)).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return 0
