"""A dead letter on its way back: the record that is sent, with headers that say where it comes from."""

from typing import NamedTuple

from confluent_kafka import Message

from stream_app.core.reading.decoding import Schemas
from stream_app.dead_letters.dead_letter_record import DeadLetter, DeadLetterRef, Kind, Origin
from stream_app.kafka.partitioner import java_partition
from stream_app.records import Record

REPLAY_TOPICS: dict[Kind, str] = {"raw.dlq": "raw.replay", "labels.dlq": "labels"}
"""Where dead letters are sent unless they go to their source."""

SOURCES: dict[Kind, str] = {"raw.dlq": "raw", "labels.dlq": "labels"}

_KEPT = (
    "error-attempts",
    "error-first-failed-at",
    "original-topic",
    "original-partition",
    "original-offset",
    "original-timestamp",
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
            *(one for one in letter.original_headers if not one[0].startswith("replay-")),
            *((name, facts[name].encode()) for name in _KEPT if name in facts),
            ("replay-id", self.replay_id.encode()),
            ("replay-count", str(replay_count(letter) + 1).encode()),
        ]
        if not self.learn:
            headers.append(("replay-learn", b"no"))
        if self.model is not None:
            headers.append(("replay-model", str(self.model).encode()))
        return Record(self.topic(ref.kind), partition, -1, 0, key, value, tuple(headers))


def replay_count(letter: DeadLetter) -> int:
    """How often it has been sent again before."""
    text = letter.facts.get("replay-count", "")
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def letter_of(kind: Kind, message: Message, schemas: Schemas) -> DeadLetter:
    """The dead letter that a record of such a topic is."""
    headers = message.headers() or []
    facts = dict(headers)
    place = _number(facts.get("original-partition")), _number(facts.get("original-offset"))
    origin = Origin(_text(facts.get("original-topic")), *place)
    ref = DeadLetterRef(
        kind, message.partition() or 0, message.offset() or 0, _text(facts.get("error-id")), origin
    )
    return DeadLetter(ref, message.timestamp()[1], message.key(), message.value(), headers, schemas)


def _text(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "replace")


def _number(content: bytes | None) -> int:
    return int(content) if content and content.isdigit() else -1
