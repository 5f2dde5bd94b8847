"""Records to events and labels: decode, validate, check the key, clean, read the time, extract the features."""

from typing import NamedTuple

from orjson import JSONDecodeError, loads

from stream_app.core.reading.clean_step_runner import clean
from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas, decode
from stream_app.core.reading.event_time import epoch_milliseconds
from stream_app.core.reading.feature_extraction import extract
from stream_app.core.reading.validator import Validator, compile_validator
from stream_app.pipeline import Pipeline, parsed
from stream_app.records import Failure, Features, Fields, Record, Target, quick

_DAY = 24 * 60 * 60 * 1000


class Event(NamedTuple):
    """An event, ready to be scored.

    `event_id` is as it was sent, as text. `event_time` is epoch milliseconds. `fields` are the cleaned ones; `imputed`
    names those whose value was invented.
    """

    event_id: str
    event_time: int
    fields: Fields
    features: Features
    imputed: tuple[str, ...]


_event = quick(Event)


class LabelEvent(NamedTuple):
    """The truth about an event; `label_time` is when it became known, in epoch milliseconds."""

    event_id: str
    label: Target
    label_time: int


class EventReader:
    """Reads raw records of a loaded pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._validate = compile_validator(parsed(pipeline.schema), pipeline.event_time)
        self._event_id = pipeline.event_id
        self._key = pipeline.key or pipeline.event_id
        self._event_time = pipeline.event_time
        self._steps = pipeline.clean
        self._features = pipeline.features

    def read(self, record: Record, now: int, schemas: Schemas = NO_SCHEMAS) -> Event | Failure:
        """The event, or the first failure on the way; `now` is epoch milliseconds, `schemas` has the writers' ones.

        Identity and key are compared as they were sent, before cleaning, because a label has to have the same. The fast
        path: what nearly every record is, is opened in place, for calls take time; `_open` takes the others, as
        those in Avro, and says what is wrong with them.
        """
        _, _, _, _, key, value, headers = record
        try:  # Avro begins with 0, unless a header names its schema
            fields = self._validate(loads(value)) if value and value[0] and not headers else None
        except JSONDecodeError:
            fields = None
        if (
            type(fields) is dict
            and fields[self._event_id]
            and fields[self._key]
            and str(fields[self._key]).encode() == key
        ):
            event_id = str(fields[self._event_id])
        else:
            sent = _open(record, schemas, self._validate, self._event_id, self._key)
            if isinstance(sent, Failure):
                return sent
            event_id, fields = sent
        imputed: tuple[str, ...] = ()
        if self._steps:
            cleaned = clean(fields, self._steps)
            if isinstance(cleaned, Failure):
                return cleaned
            fields, imputed = cleaned
        event_time = epoch_milliseconds(fields[self._event_time])
        if event_time is None or event_time > now + _DAY:
            return _wrong_time(fields, self._event_time)
        features = extract(self._features, fields)
        if isinstance(features, Failure):
            return features
        return _event((event_id, event_time, fields, features, imputed))


class LabelReader:
    """Reads label records of a loaded pipeline.

    A label has the key of its event. It can be checked where the label's schema has the key field; elsewhere a key has
    to be there, and a wrong one shows as a label whose event is unknown.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        schema = parsed(pipeline.label.schema)
        key = pipeline.key or pipeline.event_id
        self._validate = compile_validator(schema, pipeline.label.time)
        self._event_id = pipeline.event_id
        self._key = key if any(field["name"] == key for field in schema["fields"]) else None
        self._label = pipeline.label.field
        self._label_time = pipeline.label.time

    def read(self, record: Record, now: int, schemas: Schemas = NO_SCHEMAS) -> LabelEvent | Failure:
        """The label, or the first failure on the way; the arguments are as an event's."""
        sent = _open(record, schemas, self._validate, self._event_id, self._key)
        if isinstance(sent, Failure):
            return sent
        event_id, fields = sent
        label_time = epoch_milliseconds(fields[self._label_time])
        if label_time is None or label_time > now + _DAY:
            return _wrong_time(fields, self._label_time)
        return LabelEvent(event_id, fields[self._label], label_time)


def _open(
    record: Record, schemas: Schemas, validate: Validator, event_id: str, key: str | None
) -> tuple[str, Fields] | Failure:
    """The id of the event that a record is about, and what it says, both as they were sent."""
    _, _, _, _, sent_key, value, headers = record
    fields = decode(value, headers, schemas)
    if isinstance(fields, Failure):
        return fields
    fields = validate(fields)
    if isinstance(fields, Failure):
        return fields
    identity = fields[event_id]
    if identity is None or identity == "":
        return Failure("missing-field", f"field {event_id} is empty")
    return _key_failure(sent_key, fields, key) or (str(identity), fields)


def _key_failure(key: bytes | None, fields: Fields, name: str | None) -> Failure | None:
    if key is None:
        return Failure("missing-key", "the record has no key")
    if name is None:
        return None
    value = fields[name]
    if value is None:
        return Failure("missing-field", f"field {name} is empty")
    return (
        None
        if key == str(value).encode()
        else Failure("key-mismatch", f"the key is not that of field {name}")
    )


def _wrong_time(fields: Fields, name: str) -> Failure:
    """What is wrong with the time in this field, which is none or more than a day ahead."""
    if epoch_milliseconds(fields[name]) is None:
        return Failure(
            "event-time-invalid", f"field {name} is not a time but {type(fields[name]).__name__}"
        )
    return Failure("event-in-future", f"field {name} is more than a day ahead")
