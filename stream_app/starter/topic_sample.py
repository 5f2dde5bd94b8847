"""Sample of a topic of which nothing is declared yet: from its beginning, middle and end."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from math import ceil
from typing import Literal, NamedTuple

from stream_app.core.reading.decoding import decode_leniently, find_frame
from stream_app.core.reading.envelopes import Unwrapped, compile_envelope
from stream_app.errors import AccessError, InputError, TopicsError
from stream_app.kafka.offsets import OffsetBounds, PartitionId
from stream_app.kafka.partition_reader import PartitionReader, any_permanent
from stream_app.kafka.retrying_reader import as_record
from stream_app.records import Failure, Fields, Record
from stream_app.schema_registry import open_registry
from stream_app.schema_registry.schema_cache import open_schema_cache
from stream_app.settings import Settings
from stream_app.sources import Source
from stream_app.starter.key_texts import KeyTexts

# Limits of a sample. The records of one place are successive, so that the sample of a topic of
# labels has the labels of many sampled events.
_SAMPLED = 6_000
_PLACES = 3
_MAX_BYTES = 24 * 1024 * 1024
_SECONDS = 8.0
_MIN_RECORDS = 10
# Share of the records that have an envelope, if the topic has one.
_ENVELOPED = 0.95
# Share of the records that differ, if equal ones are repetitions of their producer.
_DIFFERENT = 0.5
_OPERATIONS = frozenset("crudtm")
_GRANT = (
    "Grant this user Describe and Read on the topic, as `stream-app acl show PIPELINE --role "
    "ingester` lists them for a declared source"
)

Envelope = Literal["debezium", "connect"]


class SampledRow(NamedTuple):
    """Record of a topic.

    Attributes:
        record: the record.
        row: its row, without the envelope.
        key: text of its key, None if it has none.
    """

    record: Record
    row: Fields
    key: str | None


class TopicSample(NamedTuple):
    """Decoded sample of a topic.

    Attributes:
        topic: full name.
        partitions: number of partitions.
        total: records between the beginning and end offsets of the partitions.
        records: sampled records, by partition and offset.
        rows: those of them that are events or labels.
        format: encoding of the values.
        envelope: envelope around the records.
        left_out: number of the other records by the reason.
    """

    topic: str
    partitions: int
    total: int
    records: list[Record]
    rows: list[SampledRow]
    format: Literal["json", "avro"]
    envelope: Envelope | None
    left_out: Mapping[str, int]


def sample_topic(settings: Settings, topic: str) -> TopicSample:
    """Read and decode up to 6,000 records of a topic, in a few seconds.

    Raises:
        TopicsError: the topic does not exist.
        AccessError: the topic must not be read, or the cluster rejects this client.
        KafkaUnavailableError: the cluster does not answer.
        InputError: the topic is empty, or fewer than 10 of its records can be read.
        RegistryError: the registry does not answer.
    """
    # Only a sample: librdkafka fetches far ahead by default.
    with PartitionReader.open(
        settings, policy=any_permanent, queued_min_messages=1_000, queued_max_messages_kbytes=4_096
    ) as reader:
        try:
            bounds = reader.bounds(_partitions(reader, topic))
            records = _read(reader, bounds)
        except AccessError as error:
            raise AccessError(error.message, _GRANT) from None
    total = sum(end - start for start, end in bounds.values())
    if not records:
        raise InputError(
            f"Topic {topic} has no records that can be read",
            "Wait until its producers have sent some, or declare the source yourself",
        )
    return decode_sample(settings, records, topic, (len(bounds), total))


def _partitions(reader: PartitionReader, topic: str) -> list[PartitionId]:
    topics = reader.topics()
    if topic in topics:
        return reader.find_partitions([topic])
    reader.check_visible(topic)
    nearest = get_close_matches(topic, topics, 1)
    hint = f"; the nearest is {nearest[0]}" if nearest else ""
    raise TopicsError(
        f"Topic {topic} does not exist, or this user must not see it{hint}",
        "Correct the name, or grant this user Describe and Read on the topic",
    )


def _read(reader: PartitionReader, bounds: OffsetBounds) -> list[Record]:
    """Return records of each place in turn, until a limit is reached."""
    found: list[Record] = []
    size, deadline = 0, time.monotonic() + _SECONDS
    total = sum(end - start for start, end in bounds.values())
    # In proportion, so that a place is about the same time in each partition.
    windows = {
        one: places(start, end, ceil(_SAMPLED * (end - start) / max(total, _SAMPLED)))
        for one, (start, end) in bounds.items()
    }
    for place in range(_PLACES):
        chosen = {one: spans[place] for one, spans in windows.items() if place < len(spans)}
        for batch in reader.batches(chosen):
            found += map(as_record, batch)
            size += sum(len(message) for message in batch)
            if time.monotonic() > deadline or size > (place + 1) * _MAX_BYTES / _PLACES:
                break
    return sorted(found, key=lambda record: (record.partition, record.offset))


def places(start: int, end: int, limit: int) -> list[tuple[int, int]]:
    """Return the offsets of up to `limit` records: from the beginning, the middle and the end.

    >>> places(0, 100, 6), places(0, 5, 6), places(4, 4, 6)
    ([(0, 2), (49, 51), (98, 100)], [(0, 5)], [])
    """
    if start == end:
        return []
    size = max(1, limit // _PLACES)
    if end - start <= max(limit, size * _PLACES):
        return [(start, end)]
    middle = (start + end - size) // 2
    return [(start, start + size), (middle, middle + size), (end - size, end)]


def decode_sample(
    settings: Settings, records: Sequence[Record], topic: str, size: tuple[int, int]
) -> TopicSample:
    """Decode the sampled records of a topic, and find their envelope.

    Args:
        settings: settings of the schema registry.
        records: sampled records.
        topic: full name of the topic.
        size: number of its partitions and of its records.

    Raises:
        InputError: fewer than 10 records can be read.
        RegistryError: the registry does not answer.
    """
    left_out = Counter[str]()
    decoded = _decode(settings, records, left_out)
    envelope = find_envelope([fields for _, fields in decoded])
    unwrap = compile_envelope(Source(topic=topic, start="earliest", envelope=envelope))
    texts = KeyTexts(open_registry(settings.registry) if settings.registry.url else None)
    rows = []
    for record, fields in decoded:
        found = unwrap(fields)
        if isinstance(found, Unwrapped):
            rows.append(SampledRow(record, found.row, texts.of(record.key)))
        else:
            left_out[found if isinstance(found, str) else "enveloped"] += 1
    different = {(row.record.key, row.record.value): row for row in reversed(rows)}
    # Records without an id or a time may be equal and are no repetitions.
    if _DIFFERENT * len(rows) <= len(different) < len(rows):
        left_out["repeated"] = len(rows) - len(different)
        rows = list(reversed(different.values()))
    if len(rows) < _MIN_RECORDS:
        raise InputError(
            f"Topic {topic} has {len(rows)} records in the sample, too few to guess from",
            f"Wait until there are {_MIN_RECORDS}, or declare the source yourself",
        )
    return TopicSample(
        topic, *size, list(records), rows, _format(rows[0].record), envelope, left_out
    )


def _decode(
    settings: Settings, records: Sequence[Record], left_out: Counter[str]
) -> list[tuple[Record, Fields]]:
    """Return the records that can be decoded; raises as `decode_sample`."""
    schemas = open_schema_cache(settings.registry)
    decoded: list[tuple[Record, Fields]] = []
    first = ""
    for record in records:
        if record.value is None:
            left_out["empty"] += 1
            continue
        fields = decode_leniently(record.value, record.headers, schemas)
        if isinstance(fields, Failure):
            left_out["unreadable"] += 1
            place = f"{record.topic}[{record.partition}]@{record.offset}"
            first = first or f"{place}: {fields.code}, {fields.message}"
        else:
            decoded.append((record, fields))
    if len(decoded) < left_out["unreadable"]:
        raise InputError(
            f"{left_out['unreadable']:,} of {len(records):,} sampled records of {records[0].topic} "
            f"cannot be read; {first}",
            "A source has JSON objects, or Avro with the id of a schema in the registry that "
            "STREAM_APP_REGISTRY__URL names",
        )
    return decoded


def _format(record: Record) -> Literal["json", "avro"]:
    return "avro" if find_frame(record.value or b"", record.headers) is not None else "json"


def find_envelope(values: Sequence[Fields]) -> Envelope | None:
    """Return the envelope around the values of a topic, None if there is none.

    >>> find_envelope([{"op": "c", "before": None, "after": {"id": 7}, "source": {}}])
    'debezium'
    >>> find_envelope([{"schema": {}, "payload": {"id": 7}}]), find_envelope([{"id": 7}])
    ('connect', None)
    """
    found = Counter(_envelopes(values))
    for envelope, count in found.most_common(1):
        if count >= _ENVELOPED * len(values):
            return envelope
    return None


def _envelopes(values: Sequence[Fields]) -> Iterator[Envelope]:
    for value in values:
        is_connect = value.keys() == {"schema", "payload"}
        content = value["payload"] if is_connect else value
        # A null payload is what Connect makes of a tombstone.
        if isinstance(content, dict) and _is_change_event(content):
            yield "debezium"
        elif is_connect and isinstance(content, dict | None):
            yield "connect"


def _is_change_event(value: Fields) -> bool:
    return value.get("op") in _OPERATIONS and "after" in value and "source" in value
