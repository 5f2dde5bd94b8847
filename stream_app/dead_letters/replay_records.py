"""A dead letter on its way back: the record that is sent, with headers that say where it comes from."""

from typing import NamedTuple

from confluent_kafka import Message

from stream_app.core.reading.decoding import Schemas
from stream_app.dead_letters.dead_letter_record import DeadLetter, DeadLetterRef, Kind, Origin
from stream_app.headers import (
    ERROR_ATTEMPTS,
    ERROR_FIRST_FAILED_AT,
    ERROR_ID,
    ORIGINAL_OFFSET,
    ORIGINAL_PARTITION,
    ORIGINAL_TIMESTAMP,
    ORIGINAL_TOPIC,
    REPLAY_COUNT,
    REPLAY_ID,
    REPLAY_LEARN,
    REPLAY_MODEL,
    REPLAY_PREFIX,
)
from stream_app.kafka.partitioner import java_partition
from stream_app.records import Record

REPLAY_TOPICS: dict[Kind, str] = {"raw.dlq": "raw.replay", "labels.dlq": "labels"}
"""Where dead letters are sent unless they go to their source."""

SOURCES: dict[Kind, str] = {"raw.dlq": "raw", "labels.dlq": "labels"}

_KEPT = (
    ERROR_ATTEMPTS,
    ERROR_FIRST_FAILED_AT,
    ORIGINAL_TOPIC,
    ORIGINAL_PARTITION,
    ORIGINAL_OFFSET,
    ORIGINAL_TIMESTAMP,
)


class ReplayRoute(NamedTuple):
    """How the letters of one replay are sent; `model` is a version, or None for the one that is served."""

    replay_id: str
    to_source: bool
    learn: bool
    model: int | None
    partitions: int

    def topic(self, kind: Kind) -> str:
        """The kind of topic that such letters go to."""
        return (SOURCES if self.to_source else REPLAY_TOPICS)[kind]

    def outgoing(self, letter: DeadLetter, key: bytes | None, value: bytes | None) -> Record:
        """The record to be sent: `key` and `value` as they are, or as an edit has made them; offset and time do not
        count.

        With the letter's key it goes to the letter's partition, where its event is known if it was scored meanwhile,
        whatever partitioner its producer used; with another key to that key's partition.
        """
        ref = letter.ref
        partition = (
            ref.partition
            if key == letter.key or key is None
            else java_partition(key, self.partitions)
        )
        facts = letter.facts
        headers = [
            *(one for one in letter.original_headers if not one[0].startswith(REPLAY_PREFIX)),
            *((name, facts[name].encode()) for name in _KEPT if name in facts),
            (REPLAY_ID, self.replay_id.encode()),
            (REPLAY_COUNT, str(replay_count(letter) + 1).encode()),
        ]
        if not self.learn:
            headers.append((REPLAY_LEARN, b"no"))
        if self.model is not None:
            headers.append((REPLAY_MODEL, str(self.model).encode()))
        return Record(self.topic(ref.kind), partition, -1, 0, key, value, tuple(headers))


def replay_count(letter: DeadLetter) -> int:
    """How often it has been sent again before."""
    text = letter.facts.get(REPLAY_COUNT, "")
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def letter_of(kind: Kind, message: Message, schemas: Schemas) -> DeadLetter:
    """The dead letter that a record of such a topic is."""
    headers = message.headers() or []
    facts = dict(headers)
    place = _number(facts.get(ORIGINAL_PARTITION)), _number(facts.get(ORIGINAL_OFFSET))
    origin = Origin(_text(facts.get(ORIGINAL_TOPIC)), *place)
    ref = DeadLetterRef(
        kind, message.partition() or 0, message.offset() or 0, _text(facts.get(ERROR_ID)), origin
    )
    return DeadLetter(ref, message.timestamp()[1], message.key(), message.value(), headers, schemas)


def _text(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "replace")


def _number(content: bytes | None) -> int:
    return int(content) if content and content.isdigit() else -1
