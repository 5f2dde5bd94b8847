"""Texts of the keys of sampled records, also of keys in JSON or Avro."""

import json
from typing import Any

import orjson

from stream_app.core.reading.avro_reader import AvroReader, compile_reader
from stream_app.core.reading.decoding import AvroFrame, SchemaId, find_frame
from stream_app.records import Failure
from stream_app.schema_registry import SchemaRegistry, UnknownSchemaError

_FIELD = "key"


class KeyTexts:
    """Returns keys as text; of a key in JSON or Avro the text or number, or its only field.

    >>> texts = KeyTexts(None)
    >>> texts.of(b"o-7"), texts.of(b'{"id": 7}'), texts.of(b'"o-7"'), texts.of(b"\\xff")
    ('o-7', '7', 'o-7', None)

    Args:
        registry: registry with the schemas of keys in Avro; without one, these have no text.
    """

    def __init__(self, registry: SchemaRegistry | None) -> None:
        self._registry = registry
        self._readers: dict[SchemaId, AvroReader | None] = {}

    def of(self, key: bytes | None) -> str | None:
        """Return the text of a key, None for null and for a key that has none.

        Raises:
            RegistryError: the registry does not answer.
        """
        if key is None:
            return None
        # No text, as for `RecordKey`.
        if key[:1] == b"\0":
            return _scalar_text(self._avro_value(key))
        try:
            text = key.decode()
            value = orjson.loads(key) if text[:1] in ("{", '"') else text
        except orjson.JSONDecodeError:
            return text
        except UnicodeDecodeError:
            return None
        if isinstance(value, dict) and value.keys() == {"schema", "payload"}:
            value = value["payload"]
        found = _scalar_text(value)
        return text if found is None else found

    def _avro_value(self, key: bytes) -> Any:
        """Return the value of a key in Avro, None if it is not Avro or cannot be read."""
        frame = find_frame(key, ())
        if not isinstance(frame, AvroFrame):
            return None
        if frame.schema_id not in self._readers:
            self._readers[frame.schema_id] = self._reader(frame.schema_id)
        read = self._readers[frame.schema_id]
        fields = None if read is None else read(key, frame.start)
        return None if fields is None or isinstance(fields, Failure) else fields[_FIELD]

    def _reader(self, schema_id: SchemaId) -> AvroReader | None:
        if self._registry is None:
            return None
        try:
            schema = json.loads(self._registry.schema(schema_id))
            # Keys are often no records. A record of one field has the bytes of that field.
            fields = [{"name": _FIELD, "type": schema}]
            return compile_reader({"type": "record", "name": "SampledKey", "fields": fields})
        except (UnknownSchemaError, ValueError, RecursionError):
            return None


def _scalar_text(value: Any) -> str | None:
    """Return a text or an integer, or the only field of a record, as text."""
    if isinstance(value, dict) and len(value) == 1:
        (value,) = value.values()
    return str(value) if isinstance(value, str | int) else None
