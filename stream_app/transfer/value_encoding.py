"""Values between JSON, as people read and write them, and Avro, as Kafka stores them."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from confluent_kafka import Message

from stream_app.core.reading.decoding import AvroFrame, decode, find_frame
from stream_app.core.reading.validator import compile_validator
from stream_app.kafka.partition_reader import headers_of
from stream_app.records import Failure
from stream_app.schema_registry import SchemaRegistry
from stream_app.schema_registry.schema_cache import SchemaCache
from stream_app.transfer.json_lines import BadLine, Row


def encode_rows(
    rows: Iterator[Row | BadLine], schema: Mapping[str, Any], schema_id: int
) -> Iterator[Row | BadLine]:
    """Yield the rows encoded as Avro; a row that does not fit the schema is a bad line."""
    from stream_app.core.reading.avro_writer import compile_writer

    validate, write = compile_validator(schema), compile_writer(schema, schema_id)
    for row in rows:
        if isinstance(row, BadLine):
            yield row
            continue
        fields = decode(row.value)
        if not isinstance(fields, Failure):
            fields = validate(fields)
        if isinstance(fields, Failure):
            yield BadLine(row.number, fields.message)
        else:
            yield row._replace(value=write(fields))


class ValueDecoder:
    """Decodes Avro values to JSON, with the schemas of a registry.

    Args:
        registry: registry of the schemas; without it, values are returned unchanged.
    """

    def __init__(self, registry: SchemaRegistry | None) -> None:
        self._schemas = SchemaCache(registry)

    def to_json(self, message: Message) -> bytes | None:
        """Return a value as JSON if it is readable Avro, else unchanged.

        Raises:
            RegistryError: the registry does not answer.
        """
        value: bytes | None = message.value()
        frame = find_frame(value, headers_of(message)) if value else None
        if value is None or not isinstance(frame, AvroFrame):
            return value
        reader = self._schemas[frame.schema_id]
        fields = reader if isinstance(reader, Failure) else reader(value, frame.start)
        if isinstance(fields, Failure):
            return value
        try:
            return orjson.dumps(fields, default=_text)
        # Nested too deeply for JSON.
        except TypeError:
            return value


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    raise TypeError
