"""Reads records: decode, validate, check the key, clean, read the time, extract the features."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from math import isfinite
from typing import Any, NamedTuple

from stream_app.core.reading.cleaning_steps import compile_cleaning
from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas, decode, schema_text
from stream_app.core.reading.event_time import MAX_AHEAD_MS, time_problem, to_unix_ms
from stream_app.core.reading.identity import (
    FieldNames,
    empty_field,
    id_fields,
    identity_text,
    key_fields,
)
from stream_app.core.reading.label_values import binary_values
from stream_app.core.reading.selection import (
    SourceReader,
    find_header,
    has_read_header,
    is_forwarded,
    named,
    read_forwarded,
    source_readers,
)
from stream_app.core.reading.typed_decoding import compile_fast_decoder
from stream_app.core.reading.validator import Validator, compile_validator
from stream_app.error_codes import LABEL_UNKNOWN, UNREADABLE
from stream_app.headers import SOURCE, SourcePosition
from stream_app.pipeline import Pipeline, parsed
from stream_app.records import (
    Failure,
    Features,
    Fields,
    Record,
    Target,
    UnreadableRecord,
    fast_namedtuple,
)
from stream_app.resilience import TRANSIENT

PassFields = Callable[[Fields], Fields]
"""Returns the passed fields of a validated record."""

_SCALARS = frozenset(
    ("null", "boolean", "int", "long", "float", "double", "bytes", "string", "enum", "fixed")
)
# Characters of a class, which the model keeps, and with it every scored record.
_MAX_CLASS_LENGTH = 200
_FIRST_SURROGATE, _LAST_SURROGATE = chr(0xD800), chr(0xDFFF)


def extract_features(function: Callable[[Fields], object], fields: Fields) -> Features | Failure:
    """Call the feature function on a cleaned record.

    Returns a non-empty dict of finite floats, 64-bit integers, booleans and strings, of exactly
    these types. Failures: `features-unavailable` if an external system failed; `features-failed`
    if the function raised anything else; `feature-invalid` if it returned anything else.

    >>> extract_features(lambda fields: {"long": fields["distance"] > 1000}, {"distance": 1400.0})
    {'long': True}
    >>> extract_features(lambda fields: {"distance": None}, {}).message
    'feature distance is NoneType'
    """
    try:
        features = function(fields)
    except TRANSIENT as error:
        return Failure(
            "features-unavailable", f"{type(error).__name__} in the feature function", error
        )
    except Exception as error:
        return Failure("features-failed", f"{type(error).__name__} in the feature function", error)
    if type(features) is not dict:
        return Failure(
            "feature-invalid", f"the feature function returned {type(features).__name__}, not dict"
        )
    if not features:
        return Failure("feature-invalid", "the feature function returned no features")
    for name, value in features.items():
        # Fast paths of nearly all features. NaN or infinity minus itself is NaN, not zero.
        if type(value) is float and value - value == 0.0 and type(name) is str and name.isascii():
            continue
        if (
            (type(value) is str and value.isascii())
            or (type(value) is int and -(2**63) <= value < 2**63)
        ) and (type(name) is str and name.isascii()):
            continue
        if type(name) is not str or not _is_encodable(name):
            return Failure("feature-invalid", "a feature's name is not a string")
        if not _is_valid(value):
            return Failure("feature-invalid", f"feature {name} is {_describe(value)}")
    return features


def _is_valid(value: Any) -> bool:
    # Exact types: a subclass, such as NumPy's float, may be encoded or pickled differently.
    kind = type(value)
    if kind is float:
        return isfinite(value)
    if kind is str:
        return _is_encodable(value)
    if kind is int:
        return -(2**63) <= int(value) < 2**63
    return kind is bool


def _is_encodable(value: str) -> bool:
    """Return True if the string has no lone surrogates, which cannot be encoded in UTF-8."""
    return value.isascii() or not any(
        _FIRST_SURROGATE <= character <= _LAST_SURROGATE for character in value
    )


def _describe(value: Any) -> str:
    defect = {
        float: " that is not finite",
        int: " of more than 64 bits",
        str: " with a lone surrogate",
    }
    return type(value).__name__ + defect.get(type(value), "")


def compile_pass_through(pipeline: Pipeline) -> PassFields | None:
    """Return the function that selects the fields named by `pass_through`, None if it names none.

    Arrays, maps and records are copied, because a step might change them in place.
    """
    names = pipeline.pass_through
    if not names:
        return None
    types = {field["name"]: field["type"] for field in parsed(pipeline.schema)["fields"]}
    if all(_is_scalar(types[name]) for name in names):
        return lambda fields: {name: fields[name] for name in names}
    return lambda fields: deepcopy({name: fields[name] for name in names})


def _is_scalar(schema: Any) -> bool:
    """Return True if all values of a type are immutable; False for a reference to a named type."""
    if isinstance(schema, list):
        return all(map(_is_scalar, schema))
    return _is_scalar(schema["type"]) if isinstance(schema, Mapping) else schema in _SCALARS


class Event(NamedTuple):
    """Event that is ready to be scored.

    Attributes:
        event_id: id as it was sent, as text.
        event_time: Unix milliseconds.
        fields: cleaned fields.
        features: input of the model.
        imputed: names of fields whose value was made up by cleaning.
        passed: fields of the scored record, before cleaning; None if the pipeline declares none.
        origin: position in the source; None for a record that `ingest` has not forwarded.
        schema_id: id of the schema with which it was written, as text; None for JSON.
    """

    event_id: str
    event_time: int
    fields: Fields
    features: Features
    imputed: tuple[str, ...]
    passed: Fields | None = None
    origin: SourcePosition | None = None
    schema_id: str | None = None


_event = fast_namedtuple(Event)


class LabelEvent(NamedTuple):
    """Label of an event.

    Attributes:
        event_id: id of the event as text.
        label: the label.
        label_time: time at which it became known in Unix milliseconds.
        source: name of its source, None if it was sent directly.
    """

    event_id: str
    label: Target
    label_time: int
    source: str | None = None


class _SentFields(NamedTuple):
    """Fields of a record as they were sent, validated, with the event id as text.

    Attributes:
        event_id: id as text.
        fields: validated fields.
        origin: position in the source, None for a record that was not forwarded.
    """

    event_id: str
    fields: Fields
    origin: SourcePosition | None = None


class EventReader:
    """Reads raw records of a loaded pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        schema = parsed(pipeline.schema)
        self._validate = compile_validator(schema, pipeline.event_time)
        self._decode = compile_fast_decoder(schema, self._validate)
        self._sources = source_readers(pipeline.sources, schema, pipeline.event_time)
        self._id_fields = id_fields(pipeline)
        self._key_fields = key_fields(pipeline)
        self._event_id, self._key = self._id_fields[0], self._key_fields[0]
        self._is_single = len(self._id_fields) == len(self._key_fields) == 1
        self._event_time = pipeline.event_time
        self._clean = compile_cleaning(pipeline.clean) if pipeline.clean else None
        self._features = pipeline.features
        self._pass = compile_pass_through(pipeline)

    def read(self, record: Record, now: int, schemas: Schemas = NO_SCHEMAS) -> Event | Failure:
        """Return the event of a raw record, or the first failure.

        Args:
            record: record as it was read from Kafka.
            now: wall-clock time in Unix milliseconds.
            schemas: writer schemas that Avro records refer to.
        """
        # Id and key are compared as they were sent, before cleaning: the label has the same ones.
        # Fast path: nearly all records are valid JSON with the right key, and calls take time.
        # `_read_sent` handles all others, including Avro, and returns the failure.
        _, _, _, _, key, value, headers = record
        fields: Fields | None = None
        origin: SourcePosition | None = None
        if headers and headers[0][0] == SOURCE:
            forwarded = read_forwarded(record, headers[0][1], schemas, self._sources)
            if isinstance(forwarded, Failure):
                return forwarded
            fields, origin = forwarded
        # Avro begins with byte 0, or has a header with its schema id.
        elif value and value[0] and (not headers or not has_read_header(headers)):
            fields = self._decode(value)
        event_id = ""
        if fields is not None and self._is_single:
            sent_id, sent_key = fields[self._event_id], fields[self._key]
            if sent_id and sent_key and str(sent_key).encode() == key:
                event_id = str(sent_id)
        if fields is None or not event_id:
            sent = self._read_sent(record, fields, origin, schemas)
            if isinstance(sent, Failure):
                return sent
            event_id, fields, origin = sent
        passed = None if self._pass is None else self._pass(fields)
        imputed: tuple[str, ...] = ()
        if self._clean is not None:
            cleaned = self._clean(fields)
            if isinstance(cleaned, Failure):
                return cleaned
            fields, imputed = cleaned
        event_time = to_unix_ms(fields[self._event_time])
        if event_time is None or event_time > now + MAX_AHEAD_MS:
            return _time_failure(fields, self._event_time, origin)
        features = extract_features(self._features, fields)
        if isinstance(features, Failure):
            return features
        schema_id = schema_text(value, headers) if value and (headers or not value[0]) else None
        return _event((event_id, event_time, fields, features, imputed, passed, origin, schema_id))

    def _read_sent(
        self,
        record: Record,
        fields: Fields | None,
        origin: SourcePosition | None,
        schemas: Schemas,
    ) -> _SentFields | Failure:
        names = self._id_fields, self._key_fields
        if fields is not None:
            return _with_id(record.key, fields, names, origin)
        return _read_fields(record, schemas, self._validate, self._sources, names)


class LabelReader:
    """Reads label records of a loaded pipeline.

    A label has the key of its event. The key is compared with the fields of the key if the label's
    schema has them. Otherwise any text is accepted, and a label with a wrong key finds no event.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        label, schema = pipeline.label, parsed(pipeline.label.schema)
        own = {field["name"] for field in schema["fields"]}
        self._validate = compile_validator(schema, label.time)
        self._decode = compile_fast_decoder(schema, self._validate)
        self._sources = source_readers(label.sources, schema, label.time)
        self._id_fields = id_fields(pipeline)
        self._key_fields = key_fields(pipeline) if own.issuperset(key_fields(pipeline)) else ()
        self._label = label.field
        self._label_time = label.time
        self._meanings = binary_values(label)

    def read(self, record: Record, now: int, schemas: Schemas = NO_SCHEMAS) -> LabelEvent | Failure:
        """Return the label of a record, or the first failure; arguments as for an event."""
        _, _, _, _, key, value, headers = record
        # Fast path, as for an event.
        fields = (
            self._decode(value)
            if value and value[0] and (not headers or not has_read_header(headers))
            else None
        )
        names = self._id_fields, self._key_fields
        sent = (
            _read_fields(record, schemas, self._validate, self._sources, names)
            if fields is None
            else _with_id(key, fields, names)
        )
        if isinstance(sent, Failure):
            return sent
        event_id, fields, origin = sent
        label_time = to_unix_ms(fields[self._label_time])
        if label_time is None or label_time > now + MAX_AHEAD_MS:
            return _time_failure(fields, self._label_time, origin)
        label = fields[self._label]
        if self._meanings is not None:
            label = self._meanings.get(label)
            if label is None:
                problem = f"field {self._label} has a value that means neither true nor false"
                return _in_source(Failure(LABEL_UNKNOWN, problem), origin)
        if type(label) is str and len(label) > _MAX_CLASS_LENGTH:
            problem = f"field {self._label} has more than {_MAX_CLASS_LENGTH} characters"
            return _in_source(Failure("class-too-long", problem), origin)
        source = None if origin is None else origin.source
        return LabelEvent(event_id, label, label_time, source)


def _read_fields(
    record: Record,
    schemas: Schemas,
    validate: Validator,
    sources: Mapping[bytes, SourceReader],
    names: tuple[FieldNames, FieldNames],
) -> _SentFields | Failure:
    """Return id and fields of a record, forwarded or not; `names` are those of id and key."""
    _, _, _, _, key, value, headers = record
    if headers and is_forwarded(headers):
        forwarded = read_forwarded(record, find_header(headers, SOURCE), schemas, sources)
        if isinstance(forwarded, Failure):
            return forwarded
        return _with_id(key, forwarded.fields, names, forwarded.position)
    if isinstance(record, UnreadableRecord):
        return Failure(UNREADABLE, "the batch of the record cannot be decoded")
    fields = decode(value, headers, schemas)
    if isinstance(fields, Failure):
        return fields
    fields = validate(fields)
    return fields if isinstance(fields, Failure) else _with_id(key, fields, names)


def _with_id(
    key: bytes | None,
    fields: Fields,
    names: tuple[FieldNames, FieldNames],
    origin: SourcePosition | None = None,
) -> _SentFields | Failure:
    """Return the event id as text and the fields, or the failure of id or key."""
    failure = _identity_failure(key, fields, *names)
    if failure is not None:
        return _in_source(failure, origin)
    return _SentFields(identity_text(fields, names[0]) or "", fields, origin)


def _identity_failure(
    key: bytes | None, fields: Fields, id_names: FieldNames, key_names: FieldNames
) -> Failure | None:
    """Return the failure of id or key; `key_names` is empty if the record has no fields of it."""
    empty = empty_field(fields, id_names)
    if empty is not None:
        return empty
    if key is None:
        return Failure("missing-key", "the record has no key")
    empty = empty_field(fields, key_names)
    if empty is not None:
        return empty
    if not key_names:
        return _key_failure(key)
    if key != (identity_text(fields, key_names) or "").encode():
        return Failure("key-mismatch", f"the key is not that of field {', '.join(key_names)}")
    return None


def _key_failure(key: bytes) -> Failure | None:
    """Return the failure of a key that is no text of K, whatever K is."""
    if not key:
        return Failure("missing-key", "the key of the record is empty")
    try:
        key.decode()
    except UnicodeDecodeError:
        return Failure("key-mismatch", "the key is not text in UTF-8")
    return None


def _time_failure(fields: Fields, name: str, origin: SourcePosition | None) -> Failure:
    """Return the failure of a time that cannot be parsed or is more than a day ahead."""
    failure = (
        Failure("event-time-invalid", f"field {name} {time_problem(fields[name])}")
        if to_unix_ms(fields[name]) is None
        else Failure("event-in-future", f"field {name} is more than a day ahead")
    )
    return _in_source(failure, origin)


def _in_source(failure: Failure, origin: SourcePosition | None) -> Failure:
    """Return a failure whose message names the source of a forwarded record."""
    return failure if origin is None else named(failure, origin.source)
