"""Selection: a record as it is in a source becomes the fields of the pipeline's schema.

`SourceReader` reads what `ingest` has forwarded; the scorer and the offline commands use it.
`SourceIntake` decides what `ingest` does with a record of a source, and decodes no more than that
needs: the key K, the event time and the filter.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from stream_app.core.reading.decoding import (
    NO_SCHEMAS,
    Schemas,
    decode_leniently,
)
from stream_app.core.reading.envelopes import Skipped, Unwrapped, compile_envelope
from stream_app.core.reading.event_time import to_unix_ms
from stream_app.core.reading.identity import empty_field, identity_text, key_fields
from stream_app.core.reading.selected_decoding import SelectedDecoder, compile_selected_decoder
from stream_app.core.reading.source_values import (
    MISSING,
    Problem,
    SentRecord,
    compile_origin,
    origin_text,
)
from stream_app.core.reading.validator import compile_validator
from stream_app.error_codes import UNREADABLE
from stream_app.headers import (
    SOURCE,
    SOURCE_KEY,
    VALUE_SCHEMA_ID,
    SourcePosition,
    producer_headers,
)
from stream_app.pipeline import Pipeline, parsed
from stream_app.records import (
    Failure,
    Fields,
    Headers,
    Record,
    UnreadableRecord,
    fast_namedtuple,
)
from stream_app.sources import RecordKey, Source


class Forwarded(NamedTuple):
    """Record that `ingest` writes to `<p>.raw` or `<p>.labels`, with the value of the source.

    Attributes:
        key: text of K in UTF-8, the key of the record.
        time: time of the event, or at which the label became known, in Unix milliseconds; None if
            the record has no valid one, which the scorer reports.
        headers: headers of the record: `SOURCE` first, then `SOURCE_KEY` if a field comes from the
            key, then those of the producer.
    """

    key: bytes
    time: int | None
    headers: Headers


_position = fast_namedtuple(SourcePosition)
_forwarded = fast_namedtuple(Forwarded)


class FieldSelection:
    """Selects some fields of a schema from decoded records of a source, and validates them."""

    def __init__(
        self, source: Source, schema: Mapping[str, Any], time_field: str, only: Collection[str]
    ) -> None:
        fields = [field for field in schema["fields"] if field["name"] in only]
        named = {
            field["name"]: source.fields[field["name"]]
            for field in fields
            if field["name"] in source.fields
        }
        texts = {
            field["name"]: origin_text(named.get(field["name"], field["name"])) for field in fields
        }
        self._origins = {
            name: f"(source {source.source_name}: {text})" for name, text in texts.items()
        }
        self._time_field = time_field
        self._named = [(name, compile_origin(origin)) for name, origin in named.items()]
        self._same = [
            name
            for field in fields
            if field["name"] not in named
            for name in (field["name"], *field.get("aliases", ()))
        ]
        self._validate = compile_validator(schema, time_field, only=only, origins=self._origins)

    def select(self, sent: SentRecord) -> Fields | Failure:
        """Return the validated fields."""
        row = sent.row
        selected = {name: row[name] for name in self._same if name in row}
        for name, get in self._named:
            value = get(sent)
            if type(value) is Problem:
                code = "event-time-invalid" if name == self._time_field else "wrong-type"
                return Failure(code, f"field {name} {value.text} {self._origins[name]}")
            if value is not MISSING:
                selected[name] = value
        return self._validate(selected)


class SourceDecoder:
    """Decodes records of a source and takes them out of their envelope."""

    def __init__(self, source: Source) -> None:
        self._unwrap = compile_envelope(source)
        self._name = source.source_name

    def decode(self, record: Record, schemas: Schemas) -> Unwrapped | Skipped | Failure:
        """Return the row and envelope of a record, or why there is none."""
        if isinstance(record, UnreadableRecord):
            return Failure(UNREADABLE, "the batch of the record cannot be decoded")
        if record.value is None:
            return "tombstone"
        decoded = decode_leniently(record.value, record.headers, schemas)
        found = decoded if isinstance(decoded, Failure) else self._unwrap(decoded)
        return self.named(found) if isinstance(found, Failure) else found

    def named(self, failure: Failure) -> Failure:
        """Return a failure whose message names the source."""
        return named(failure, self._name)


class SourceReader:
    """Reads records of a source that `ingest` has forwarded.

    Args:
        source: declaration of the source.
        schema: parsed schema of the events, or of the labels.
        time_field: name of the field with the time.

    Attributes:
        name: name of the source.
    """

    def __init__(self, source: Source, schema: Mapping[str, Any], time_field: str) -> None:
        names = [field["name"] for field in schema["fields"]]
        self._decoder = SourceDecoder(source)
        self._selection = FieldSelection(source, schema, time_field, names)
        self._has_key = _takes_key(source, names)
        self._fast = _fast_decoder(source, schema["fields"])
        self.name = source.source_name

    def read(
        self, record: Record, position: SourcePosition, schemas: Schemas = NO_SCHEMAS
    ) -> Fields | Failure:
        """Return the validated fields of a record, or the first failure; filters do not apply.

        Args:
            record: forwarded record.
            position: content of its header `SOURCE`.
            schemas: writer schemas that Avro records refer to.
        """
        _, _, _, _, _, value, headers = record
        key = find_header(headers, SOURCE_KEY) if self._has_key else None
        if (
            self._fast is not None
            and value
            and value[0]
            and (len(headers) == 1 or not _is_framed(headers))
        ):
            fields = self._fast(value, position, key)
            if fields is not None:
                return fields
        found = self._decoder.decode(record, schemas)
        if isinstance(found, Failure):
            return found
        if not isinstance(found, Unwrapped):
            # `ingest` forwards none of these: another program has changed the record.
            return named(Failure("empty-value", f"the record is a {found}"), self.name)
        return self._selection.select(SentRecord(*found, position, key))


class SourceIntake:
    """Decides what happens to the records of a source.

    Args:
        pipeline: loaded pipeline.
        source: one of its sources.
        label: True if it is a source of labels.
    """

    def __init__(self, pipeline: Pipeline, source: Source, *, label: bool) -> None:
        events = parsed(pipeline.schema)
        schema = parsed(pipeline.label.schema) if label else events
        time_field = pipeline.label.time if label else pipeline.event_time
        self._key_fields = key_fields(pipeline)
        self._time_field = time_field
        self._name = source.source_name
        self._where = source.where
        self._decoder = SourceDecoder(source)
        own = {field["name"] for field in schema["fields"]}
        # Fields of K that the label's schema lacks have the types of the pipeline's schema.
        parts = [
            (schema, [name for name in self._key_fields if name in own]),
            (events, [name for name in self._key_fields if name not in own]),
        ]
        self._keys = [FieldSelection(source, one, "", names) for one, names in parts if names]
        self._time = FieldSelection(source, schema, time_field, [time_field])
        self._forwards_key = _takes_key(source, own)
        parts.append((schema, [time_field]))
        needed = {
            field["name"]: field
            for one, names in parts
            for field in one["fields"]
            if field["name"] in names
        }
        self._fast = None if self._where else _fast_decoder(source, list(needed.values()))

    def read(
        self,
        record: Record,
        schemas: Schemas = NO_SCHEMAS,
        position: SourcePosition | None = None,
    ) -> Forwarded | Skipped | Failure:
        """Return what happens to a record: forwarded, left out, or a dead letter of the failure.

        Never raises, whatever the record holds.

        Args:
            record: record of the source, or a replayed dead letter.
            schemas: writer schemas that Avro records refer to.
            position: position in the source, for a replayed dead letter; by default that of
                `record`.
        """
        _, partition, offset, timestamp, key, value, headers = record
        if position is None:
            position = _position((self._name, partition, offset, timestamp))
        fields = None
        if self._fast is not None and value and value[0] and not (headers and _is_framed(headers)):
            fields = self._fast(value, position, key)
        if fields is None:
            found = self._read_slowly(record, schemas, position)
            if not isinstance(found, dict):
                return found
            fields = found
        names = self._key_fields
        text = fields[names[0]] if len(names) == 1 else None
        if type(text) is not str or not text:
            empty = empty_field(fields, names)
            if empty is not None:
                return self._decoder.named(empty)
            text = identity_text(fields, names) or ""
        time = to_unix_ms(fields.get(self._time_field))
        return _forwarded((text.encode(), time, self.headers(position, key, headers)))

    def _read_slowly(
        self, record: Record, schemas: Schemas, position: SourcePosition
    ) -> Fields | Skipped | Failure:
        """Return the fields of K and, if it is valid, the time."""
        found = self._decoder.decode(record, schemas)
        if not isinstance(found, Unwrapped):
            return found
        filtered = None if self._where is None else self._filter(self._where, found.row)
        if filtered is not None:
            return filtered
        sent = SentRecord(*found, position, record.key)
        time = self._time.select(sent)
        fields: Fields = time if isinstance(time, dict) else {}
        for selection in self._keys:
            part = selection.select(sent)
            if isinstance(part, Failure):
                return part
            fields |= part
        return fields

    def _filter(self, where: Callable[[Fields], object], row: Fields) -> Skipped | Failure | None:
        """Return None for a record that passes the filter."""
        try:
            passes = where(row)
        except Exception as error:
            failure = Failure("filter-failed", f"{type(error).__name__} in the filter", error)
            return self._decoder.named(failure)
        if passes is True:
            return None
        if passes is False:
            return "filtered"
        name = type(passes).__name__
        return self._decoder.named(
            Failure("filter-failed", f"the filter returned {name}, not bool")
        )

    def headers(self, position: SourcePosition, key: bytes | None, headers: Headers) -> Headers:
        """Return the headers of a forwarded record: ours first, then the producer's.

        Args:
            position: position of the record in the source.
            key: key of the record there.
            headers: headers of the record there.
        """
        ours: list[tuple[str, bytes | None]] = [(SOURCE, position.header())]
        if self._forwards_key:
            ours.append((SOURCE_KEY, key))
        if headers:
            ours += producer_headers(headers)
        return ours


def _fast_decoder(source: Source, fields: Sequence[Mapping[str, Any]]) -> SelectedDecoder | None:
    return None if source.envelope else compile_selected_decoder(fields, source.fields)


def _takes_key(source: Source, names: Iterable[str]) -> bool:
    """Return True if one of the fields comes from the record's key."""
    return any(isinstance(source.fields.get(name), RecordKey) for name in names)


def source_readers(
    sources: Iterable[Source], schema: Mapping[str, Any], time_field: str
) -> dict[bytes, SourceReader]:
    """Return the readers of sources by their names in headers; arguments as for the reader."""
    return {
        source.source_name.encode(): SourceReader(source, schema, time_field) for source in sources
    }


class ForwardedFields(NamedTuple):
    """Validated fields of a forwarded record, and its position in the source."""

    fields: Fields
    position: SourcePosition


def read_forwarded(
    record: Record,
    content: bytes | None,
    schemas: Schemas,
    readers: Mapping[bytes, SourceReader],
) -> ForwardedFields | Failure:
    """Return the fields of a forwarded record.

    Args:
        record: forwarded record.
        content: content of its header `SOURCE`.
        schemas: writer schemas that Avro records refer to.
        readers: readers by the name of their source.
    """
    try:
        name, partition, offset, timestamp = (content or b"").split(b"/")
        numbers = int(partition), int(offset), int(timestamp)
    except ValueError:
        return Failure("unknown-source", f"header {SOURCE} is not name/partition/offset/timestamp")
    reader = readers.get(name)
    if reader is None:
        return Failure("unknown-source", f"header {SOURCE} names no source of the pipeline")
    position = _position((reader.name, *numbers))
    fields = reader.read(record, position, schemas)
    return fields if isinstance(fields, Failure) else ForwardedFields(fields, position)


def named(failure: Failure, source: str) -> Failure:
    """Return a failure whose message names the source."""
    return failure._replace(message=f"{failure.message} (source {source})")


def find_header(headers: Headers, name: str) -> bytes | None:
    """Return the content of the first header of a name; None if it is null, or there is none."""
    for found, content in headers:
        if found == name:
            return content
    return None


def is_forwarded(headers: Headers) -> bool:
    """Return True if a header has the position in a source."""
    return any(name == SOURCE for name, _ in headers)


def has_read_header(headers: Headers) -> bool:
    """Return True if a header decides how the value is read."""
    return any(name in (VALUE_SCHEMA_ID, SOURCE) for name, _ in headers)


def _is_framed(headers: Headers) -> bool:
    """Return True if a header has the id of the value's Avro schema."""
    return any(name == VALUE_SCHEMA_ID for name, _ in headers)
