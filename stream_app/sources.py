"""Declaration of topics that the pipeline does not own: where they are and what their fields mean.

A `Source` names a topic with events or labels. For each field of the pipeline's schema, or of the
label's, it says where the value comes from: a path in the record, a constant, or the Kafka record.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

Unit = Literal["s", "ms", "us", "ns"]
"""Unit of a number since 1970: seconds, milliseconds, microseconds or nanoseconds."""

PartitionerName = Literal["murmur2", "crc32", "fnv1a"]
"""Hash by which a producer chooses the partition of a key."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Value that a field has in every record of a source.

    >>> Constant("EUR").value
    'EUR'
    """

    value: Any
    """The value, which fits the type of the field: text, a number, a boolean or None."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """Time as a number since 1970-01-01 00:00 UTC; becomes Unix milliseconds.

    >>> Epoch("payment.ts", "s").unit
    's'
    """

    path: str
    """Path of the number in the record."""
    unit: Unit
    """Unit of the number: `"s"`, `"ms"`, `"us"` or `"ns"`. Seconds and milliseconds may have a
    fraction. Smaller units are rounded down to milliseconds."""


@dataclass(frozen=True, slots=True)
class LocalTime:
    """Time as ISO 8601 text without an offset; becomes Unix milliseconds.

    Of a time that clocks show twice in autumn, it is the first; a time that they skip in spring is
    read with the offset from before the change. A text with an offset keeps its own.

    >>> LocalTime("created", zone="Europe/Berlin").zone
    'Europe/Berlin'
    """

    path: str
    """Path of the text in the record."""
    zone: str
    """Name of the time zone, such as `"Europe/Berlin"`."""


@dataclass(frozen=True, slots=True)
class RecordTimestamp:
    """Timestamp of the Kafka record in Unix milliseconds."""


@dataclass(frozen=True, slots=True)
class RecordKey:
    """Key of the Kafka record as text in UTF-8. A key in Avro, or a binary number, is no text."""


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Source, partition and offset of the Kafka record as text, such as `orders/3/1234`."""


@dataclass(frozen=True, slots=True)
class EnvelopeField:
    """Field of Debezium's envelope, outside of the row, such as `source.lsn` or `ts_ms`."""

    path: str
    """Path in the envelope."""


FieldOrigin = (
    str | Constant | Epoch | LocalTime | RecordTimestamp | RecordKey | Coordinates | EnvelopeField
)
"""Origin of a field: text is a path, whose parts are separated by dots and name nested records."""


ORIGIN_CLASSES: tuple[type, ...] = tuple(one for one in get_args(FieldOrigin) if one is not str)
"""Classes of the origins that are no path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Topic with events or labels that other programs write, in their own form.

    The role `ingest` reads it and forwards each record with the pipeline's key. With `direct`,
    scorers read it.

        Source(
            topic="shop.orders",
            start="earliest",
            fields={"order_id": "order.id", "paid_at": Epoch("payment.ts", "s")},
            where=lambda record: record["kind"] == "order",
        )
    """

    topic: str
    """Full name of the topic."""
    start: Literal["earliest", "latest"] | datetime
    """First record to read, when the topic is read for the first time: the oldest, the next one to
    come, or the first one with this Kafka timestamp or a later one, given as a datetime with a time
    zone."""
    name: str = ""
    """Name in messages, in `origin` and in coordinates: lower-case letters, digits, dots, hyphens
    and underscores. Keep it when the topic is renamed. Empty: the topic's name."""
    format: Literal["json", "avro"] = "json"
    """Encoding of the values. `"json"`: JSON objects. `"avro"`: Avro with the id of a schema in the
    registry."""
    fields: Mapping[str, FieldOrigin] = field(default_factory=dict)
    """Origins of fields of the schema, by their names. A field that is not named comes from the
    field of the same name at the top of the record. For labels also the fields of the key that the
    label's schema lacks."""
    where: Callable[[dict[str, Any]], bool] | None = None
    """Pure function of the record, as it is in the source without its envelope. False: the record
    is left out and counted as `filtered`. None: all records are events, or labels."""
    envelope: Literal["debezium", "connect"] | None = None
    """Envelope around the record. `"debezium"`: a change event; created and read rows are events,
    deleted ones are counted as `tombstone`. `"connect"`: an object with `schema` and
    `payload`."""
    updates: Literal["dropped", "events"] = "dropped"
    """Updated rows of Debezium's envelope: counted as `filtered`, or events of their own, whose id
    contains `Coordinates()` or the log position."""

    on_loss: Literal["wait", "continue"] = "wait"
    """Reaction if the next records of a partition were deleted before they were read, by retention
    or with the topic. `"wait"`: the worker reads nothing there until it is started with
    `"continue"`, and reads the other partitions. `"continue"`: it raises an alarm, and continues
    with the first record that is left; `ingest` counts the others as `lost`."""
    direct: bool = False
    """True: scorers read the topic themselves, without `ingest`. Only for one topic of events,
    whose record key is the text of the pipeline's key, and which has as many partitions as the
    pipeline."""
    partitioner: PartitionerName | None = None
    """With `direct`, the partitioner of the producers, by which the pipeline places its own records
    too: `"murmur2"` (Java, kafka-python, kafkajs), `"crc32"` (librdkafka and kcat) or `"fnv1a"`
    (sarama). None: murmur2."""

    @property
    def source_name(self) -> str:
        """Name of the source; by default that of its topic."""
        return self.name or self.topic
