"""Identity of the event that a record is about, also if the record is invalid otherwise.

For looking events up: records in the pipeline's form, records that `ingest` has forwarded, and dead
letters of records that it could not forward.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas, decode
from stream_app.core.reading.envelopes import Unwrapped
from stream_app.core.reading.identity import (
    FieldNames,
    id_fields,
    identity_text,
    key_fields,
    key_is_id,
)
from stream_app.core.reading.selection import FieldSelection, SourceDecoder, find_header
from stream_app.core.reading.source_values import SentRecord
from stream_app.core.reading.validator import compile_validator
from stream_app.headers import SOURCE, SOURCE_KEY, SourcePosition, parse_source
from stream_app.pipeline import Pipeline, parsed
from stream_app.records import Failure, Fields, Record
from stream_app.sources import Source


class RecordIdentity(NamedTuple):
    """Identity of an event, as far as a record has it.

    Attributes:
        key: text of K, None if it is unknown.
        event_id: text of the event id, None if it is unknown.
    """

    key: str | None
    event_id: str | None


class IdentityReader:
    """Reads the identities of events, or of the events of labels.

    Args:
        pipeline: loaded pipeline.
        label: True for labels.
    """

    def __init__(self, pipeline: Pipeline, *, label: bool) -> None:
        events = parsed(pipeline.schema)
        schema = parsed(pipeline.label.schema) if label else events
        self._key_is_id = key_is_id(pipeline)
        self._own = _OwnIdentity(pipeline, schema)
        sources = pipeline.label.sources if label else pipeline.sources
        self._sources = {
            one.source_name: _SourceIdentity(pipeline, one, schema, events) for one in sources
        }

    def read(self, record: Record, schemas: Schemas = NO_SCHEMAS) -> RecordIdentity:
        """Return the identity in a record; never raises, whatever the record holds.

        Args:
            record: record of the pipeline's topics, or the original record of a dead letter.
            schemas: writer schemas that Avro records refer to.
        """
        found = self._read(record, schemas)
        if found.event_id is None and self._key_is_id:
            return RecordIdentity(found.key, found.key)
        return found

    def _read(self, record: Record, schemas: Schemas) -> RecordIdentity:
        content = find_header(record.headers, SOURCE)
        if content is None:
            return self._own.read(record, schemas)
        position = parse_source(content)
        source = None if position is None else self._sources.get(position.source)
        if position is None or source is None:
            return RecordIdentity(key_text(record.key), None)
        return source.read(record, position, schemas)


class _OwnIdentity:
    """Reads the identity in a record of the pipeline's form."""

    def __init__(self, pipeline: Pipeline, schema: Mapping[str, Any]) -> None:
        own = {field["name"] for field in schema["fields"]}
        self._ids, keys = id_fields(pipeline), key_fields(pipeline)
        self._keys = keys if own.issuperset(keys) else ()
        self._select_id = compile_validator(schema, "", only=self._ids)
        self._select_key = compile_validator(schema, "", only=self._keys)

    def read(self, record: Record, schemas: Schemas) -> RecordIdentity:
        fields = decode(record.value, record.headers, schemas)
        if isinstance(fields, Failure):
            return RecordIdentity(key_text(record.key), None)
        key = _text(self._select_key(fields), self._keys) if self._keys else None
        event_id = _text(self._select_id(fields), self._ids)
        return RecordIdentity(
            key_text(record.key) if key is None else key,
            # An id of a wrong type is a dead letter that has a text nevertheless.
            identity_text(fields, self._ids) if event_id is None else event_id,
        )


class _SourceIdentity:
    """Reads the identity in a record of a source."""

    def __init__(
        self,
        pipeline: Pipeline,
        source: Source,
        schema: Mapping[str, Any],
        events: Mapping[str, Any],
    ) -> None:
        self._topic = source.topic
        self._decoder = SourceDecoder(source)
        self._ids, self._keys = id_fields(pipeline), key_fields(pipeline)
        self._select_id = FieldSelection(source, schema, "", self._ids)
        own = {field["name"] for field in schema["fields"]}
        # Fields of K that the label's schema lacks have the types of the pipeline's schema.
        self._select_key = FieldSelection(
            source, schema if own.issuperset(self._keys) else events, "", self._keys
        )

    def read(self, record: Record, position: SourcePosition, schemas: Schemas) -> RecordIdentity:
        # What `ingest` has forwarded has the text of K as its key, all else the key of the source.
        is_forwarded = record.topic != self._topic
        sent_key = find_header(record.headers, SOURCE_KEY)
        if sent_key is None and not is_forwarded:
            sent_key = record.key
        own_key = key_text(record.key) if is_forwarded else None
        found = self._decoder.decode(record, schemas)
        if not isinstance(found, Unwrapped):
            return RecordIdentity(own_key, None)
        sent = SentRecord(*found, position, sent_key)
        key = _text(self._select_key.select(sent), self._keys)
        event_id = _text(self._select_id.select(sent), self._ids)
        return RecordIdentity(own_key if key is None else key, event_id)


def key_text(key: bytes | None) -> str | None:
    """Return the text of a key that may be any bytes."""
    return None if key is None else key.decode("utf-8", "replace")


def _text(fields: Fields | Failure, names: FieldNames) -> str | None:
    return None if isinstance(fields, Failure) else identity_text(fields, names)
