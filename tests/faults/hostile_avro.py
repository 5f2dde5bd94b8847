"""Avro values that a correct encoder does not write, in Confluent's wire format."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from stream_app.loading import load_pipeline
from stream_app.pipeline import Schema, parsed
from stream_app.schema_registry.folder_registry import FolderRegistry
from stream_app.topic_kinds import TopicKind
from tests import avro_samples
from tests.faults.hostile_values import FieldPairs


class HostileAvro:
    """Encodes fields as they are, whether or not they fit the schema.

    Args:
        schemas: id and schema of events and of labels.
        seed: decides which records are damaged.
    """

    def __init__(
        self, schemas: Mapping[TopicKind, tuple[int, Mapping[str, Any]]], seed: int
    ) -> None:
        self._schemas = schemas
        self._chance = Random(seed)

    def encode_valid(self, kind: TopicKind, fields: FieldPairs) -> bytes:
        """Returns a record of the schema."""
        schema_id, schema = self._schemas[kind]
        return avro_samples.framed(schema, dict(fields), schema_id)

    def event_id(self, value: bytes) -> str:
        """Returns the id in a valid record."""
        found = avro_samples.decode(
            value, {number: json.dumps(schema) for number, schema in self._schemas.values()}
        )
        return str(found["event_id"])

    def encode(self, kind: TopicKind, fields: FieldPairs) -> bytes:
        """Returns a record, of which a tenth has wrong bytes, another end or another schema."""
        schema_id, schema = self._schemas[kind]
        types = {field["name"]: field["type"] for field in schema["fields"]}
        order = list(types)
        known = [pair for pair in fields if pair[0] in types]
        known.sort(key=lambda pair: order.index(pair[0]))
        body = bytearray(b"".join(_encoded(types[name], value) for name, value in known))
        choice = self._chance.random()
        if choice < 0.03 and body:
            at = self._chance.randrange(len(body))
            # A digit may belong to a time, which a flipped bit would move to another year.
            body[at] ^= 0 if body[at] in b"0123456789" else 1 << self._chance.randrange(8)
        elif choice < 0.06:
            del body[self._chance.randrange(len(body) + 1) :]
        elif choice < 0.08:
            body += self._chance.randbytes(self._chance.randint(1, 20))
        elif choice < 0.1:
            schema_id = self._chance.choice((0, 1, 2, 3, 4, 2**31 - 1, 2**32 - 1))
        return b"\0" + schema_id.to_bytes(4, "big") + bytes(body)


def _encoded(avro: Any, value: Any) -> bytes:
    if isinstance(avro, list):
        if value is None:
            return _number(avro.index("null"))
        branch = next(one for one in avro if one != "null")
        return _number(avro.index(branch)) + _encoded(branch, value)
    if avro == "string":
        content = value if isinstance(value, bytes) else str(value).encode()
        return _number(len(content)) + content
    if avro == "double":
        return struct.pack("<d", _float(value))
    if avro == "boolean":
        return b"\1" if value is True else b"\0" if value is False else b"\7"
    number = _float(value)
    return _number(int(number) if abs(number) < float("inf") else 2**80)


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
    except OverflowError:
        return float("inf")


def _number(value: int) -> bytes:
    """Returns the zigzag encoding of an integer of any size."""
    value = value * 2 if value >= 0 else -value * 2 - 1
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def register_avro(declared: str, folder: Path, seed: int) -> HostileAvro:
    """Registers the schemas of a pipeline's events and labels in a folder."""
    pipeline, registry = load_pipeline(declared), FolderRegistry(folder)
    found: dict[TopicKind, tuple[int, Mapping[str, Any]]] = {}
    inputs: dict[TopicKind, Schema] = {"raw": pipeline.schema, "labels": pipeline.label.schema}
    for kind, schema in inputs.items():
        fields = parsed(schema)
        number = registry.register(f"{pipeline.name}.{kind}-value", json.dumps(fields))
        found[kind] = number, fields
    return HostileAvro(found, seed)
