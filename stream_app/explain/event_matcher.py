"""Decides which records are about an event id, and which keys they have."""

import re
from collections.abc import Iterable

from confluent_kafka import Message

from stream_app.core.reading.decoding import Schemas, decode
from stream_app.core.reading.direct_reading import DirectIntake
from stream_app.core.reading.identity import (
    EventIdentity,
    event_identity,
    id_fields,
    key_is_id,
    split_texts,
)
from stream_app.core.reading.record_identity import IdentityReader, RecordIdentity, key_text
from stream_app.core.reading.selection import has_read_header, is_forwarded
from stream_app.core.scoring.state_changelog import BLOCK_PREFIX, ENTRY_PREFIX
from stream_app.dead_letters.dead_letter_reader import DeadLetter, read_ref
from stream_app.kafka.partition_reader import headers_of
from stream_app.kafka.retrying_reader import as_record
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, Record
from stream_app.sources import Source
from stream_app.topic_kinds import TopicKind

# Characters that every JSON encoder writes as they are.
_PLAIN = re.compile(r"[A-Za-z0-9_.: -]*")


class EventMatcher:
    """Finds the records about an event id.

    Args:
        pipeline: loaded pipeline.
        event_id: text of the event id.
        key: text of K; None matches all keys.
        schemas: writer schemas of Avro values.
    """

    def __init__(
        self, pipeline: Pipeline, event_id: str, key: str | None, schemas: Schemas
    ) -> None:
        self._event_id = event_id
        self._schemas = schemas
        self._id_bytes = event_id.encode()
        self._id_is_key = key_is_id(pipeline)
        if self._id_is_key:
            key = event_id
        self._key = key
        self._identity = None if key is None else self.identity(key)
        # End of each identity with this id: the key, which comes first, cannot end like that.
        ending = event_identity("", event_id) if self._identity is None else self._identity
        self._ending = ending.encode()
        self._readers = {label: IdentityReader(pipeline, label=label) for label in (False, True)}
        self._direct = DirectIntake.of(pipeline)
        names = id_fields(pipeline)
        parts = split_texts(event_id) if len(names) > 1 else [event_id]
        # Parts of a value without which it need not be decoded; None if it must be.
        is_plain = all(map(_PLAIN.fullmatch, parts))
        self._parts = [part.encode() for part in parts] if is_plain else None
        self._sources_are_plain = all(
            _are_paths(source, names) for source in (*pipeline.sources, *pipeline.label.sources)
        )

    def identity(self, key: str) -> str:
        """Return the identity of the event with this key."""
        return self._event_id if self._id_is_key else event_identity(key, self._event_id)

    def key_of(self, identity: str) -> str:
        """Return the key in the identity of an event."""
        return identity if self._id_is_key else EventIdentity.parse(identity).key

    def is_identity(self, identity: str) -> bool:
        """Return True if an identity has the event id and, if it is given, the key."""
        if self._identity is not None:
            return identity == self._identity
        # A state that was written with another key may have any text.
        return split_texts(identity)[1:] == [self._event_id]

    def may_change(self, key: bytes, value: bytes | None) -> bool:
        """Return False if a record of the changelog certainly has no such identity."""
        if key[:1] == ENTRY_PREFIX:
            return key.endswith(self._ending)
        return key[:1] != BLOCK_PREFIX or value is None or self._ending in value

    def match(self, kind: TopicKind, message: Message) -> RecordIdentity | None:
        """Return the identity in a record if it has the event id and, if it is given, the key.

        A record with the event id whose key is unknown matches every key.
        """
        found = self._read(kind, message)
        if found is None or found.event_id != self._event_id:
            return None
        return found if self._key is None or found.key in (None, self._key) else None

    def is_example(self, message: Message) -> bool:
        """Return True if an example is that of the event; the key must be given."""
        if self._key is None or message.key() != self._key.encode():
            return False
        return self._id_is_key or self._has_id(message)

    def _read(self, kind: TopicKind, message: Message) -> RecordIdentity | None:
        """Return the identity in a record; None if it certainly has another event id."""
        headers = headers_of(message)
        has_source = is_forwarded(headers) or self._is_in_direct(message)
        # The dead letter of a source's record may have the key of the source.
        if self._id_is_key and not has_source and message.key() == self._id_bytes:
            return RecordIdentity(self._event_id, self._event_id)
        is_read_by = has_source or has_read_header(headers)
        must_decode = is_read_by and not (has_source and self._sources_are_plain)
        if not must_decode and not self._may_match(message.value() or b""):
            return None
        if kind == "scored":
            if not self._has_id(message):
                return None
            return RecordIdentity(key_text(message.key()), self._event_id)
        is_label = kind.startswith("labels")
        record = _original(kind, message)
        if self._direct is not None:
            record = self._direct.marked(record)
        return self._readers[is_label].read(record, self._schemas)

    def _is_in_direct(self, message: Message) -> bool:
        """Return True for a record of the topic that is read directly."""
        return self._direct is not None and message.topic() == self._direct.topic

    def _may_match(self, value: bytes) -> bool:
        """Return False if a value certainly has another event id; most need not be decoded."""
        is_json = value[:1] != b"\0" and self._parts is not None
        return not is_json or all(part in value for part in self._parts or ())

    def _has_id(self, message: Message) -> bool:
        """Return True if the event id is in the field `event_id` of a record."""
        fields = decode(message.value(), headers_of(message), self._schemas)
        return not isinstance(fields, Failure) and fields.get("event_id") == self._event_id


def _original(kind: TopicKind, message: Message) -> Record:
    """Return a record, or that of which it is the dead letter."""
    match kind:
        case "raw.dlq" | "labels.dlq":
            return DeadLetter.of(read_ref(kind, message), message).original_record()
    return as_record(message)


def _are_paths(source: Source, names: Iterable[str]) -> bool:
    """Return True if fields come from JSON as they are."""
    return source.format == "json" and all(
        isinstance(source.fields.get(name, name), str) for name in names
    )
