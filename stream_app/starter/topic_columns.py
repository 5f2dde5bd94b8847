"""Fields of the records of a topic as columns, with where each comes from."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import NamedTuple

from stream_app.core.reading.source_values import find
from stream_app.errors import InputError
from stream_app.kafka.partitioner import fnv1a_partition, java_partition, librdkafka_partition
from stream_app.offline.event_order import EventOrder
from stream_app.records import Fields, Record
from stream_app.sources import Coordinates, Epoch, FieldOrigin, LocalTime, RecordKey, Unit
from stream_app.starter.column_profiles import Column, SampledRecord, profile_columns
from stream_app.starter.role_guesses import CHOOSE, time_format
from stream_app.starter.topic_sample import TopicSample
from stream_app.transfer.csv_files import avro_name, is_avro_name

RECORD_KEY = "record_key"
COORDINATES = "coordinates"
RECORD_TIMESTAMP = "record_timestamp"
"""Names of fields that do not come from the value of the record."""

Origins = dict[str, FieldOrigin]
"""Origins of fields, by their names in the schema."""

# Records with keys that are no names, such as article numbers, have any number of fields.
_MAX_COLUMNS = 300
_MIN_KEYS = 20
_PLACED = 0.99
# Times that differ from the timestamps by whole hours are in another zone.
_HOUR_MS = 3_600_000
_MAX_HOURS = 14
_NEAR_MS = 10 * 60_000
_NEAR = 0.9
_PARTITIONERS: tuple[tuple[str, Callable[[bytes, int], int]], ...] = (
    ("murmur2, as by Java, kafka-python, aiokafka and kafkajs", java_partition),
    ("crc32, as by librdkafka and kcat", librdkafka_partition),
    ("fnv1a, as by sarama", fnv1a_partition),
)
_UNITS: Mapping[str, Unit] = {
    "seconds": "s", "milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"
}  # fmt: skip


class RecordKind(NamedTuple):
    """Kind of the records that are events, if a topic has others.

    Attributes:
        path: path of the field that says the kind.
        value: its value for events.
        reason: what tells these records from others.
    """

    path: str
    value: str
    reason: str


@dataclass(frozen=True)
class TopicColumns:
    """Columns of a topic's sample.

    Attributes:
        sample: sample of the topic.
        columns: fields of the values; their names can be those of a schema.
        paths: path of each column in the record.
        kind: kind of the records that the sample has, None for all.
    """

    sample: TopicSample
    columns: list[Column]
    paths: Mapping[str, str]
    kind: RecordKind | None = None

    @cached_property
    def key(self) -> Column:
        """Texts of the records' keys."""
        texts = [one.key for one in self.sample.rows]
        return Column(self._free(RECORD_KEY), "text" if any(texts) else "empty", texts)

    @cached_property
    def has_plain_keys(self) -> bool:
        """True if the texts of the keys are what `RecordKey` gives."""
        keys = [one.record.key for one in self.sample.rows]
        plain = [None if key is None else key.decode(errors="replace") for key in keys]
        return plain == self.key.values

    @cached_property
    def coordinates(self) -> Column:
        """Coordinates of the records."""
        rows = [one.record for one in self.sample.rows]
        texts = [f"{self.source_name}/{row.partition}/{row.offset}" for row in rows]
        return Column(self._free(COORDINATES), "text", texts)

    @cached_property
    def timestamp(self) -> Column:
        """Timestamps of the records."""
        times = [one.record.timestamp for one in self.sample.rows]
        return Column(self._free(RECORD_TIMESTAMP), "integer", times, "timestamp-millis")

    @property
    def source_name(self) -> str:
        """Name of the source that is declared for the topic."""
        return self.sample.topic.lower()

    def find(self, chosen: str | None, option: str) -> Column | None:
        """Return the column of a name or path that the user has given, None for None.

        Raises:
            InputError: there is none.
        """
        if chosen is None:
            return None
        for column in self.columns:
            if chosen in (column.name, self.paths[column.name]):
                return column
        raise InputError(
            f"{option} {chosen!r} is not a field of {self.sample.topic}",
            f"Choose from {', '.join(self.paths.values())}",
        )

    def origin(self, column: Column) -> FieldOrigin | None:
        """Return where a field comes from, None for the same name at the top of the record."""
        if column.name == self.key.name:
            return RecordKey()
        if column.name == self.coordinates.name:
            return Coordinates()
        path = self.paths[column.name]
        return None if path == column.name else path

    def time_origin(self, column: Column) -> FieldOrigin | None:
        """Return where a time comes from, with the unit or the zone that was guessed."""
        if column.declared_time is None and column.type != "text":
            return Epoch(self.paths[column.name], _unit(column))
        if (column.time_type or "").startswith("local-") and column.declared_time is None:
            return LocalTime(self.paths[column.name], "UTC")
        return self.origin(column)

    def time_reason(self, column: Column) -> str:
        """Return how the times of a column are written; those without an offset need a zone."""
        if not isinstance(self.time_origin(column), LocalTime):
            return time_format(column)
        return (
            f"{CHOOSE}the times have no offset and are read in UTC: put their zone into LocalTime"
            f"{self._shift(column)}; {time_format(column)}"
        )

    def _shift(self, column: Column) -> str:
        """Return by how many hours times differ from the timestamps, empty if they do not."""
        gaps = [
            time - sent
            for time, sent in zip(column.times, self.timestamp.times, strict=True)
            if time is not None and sent is not None
        ]
        middle = median(gaps) if gaps else 0
        hours = round(middle / _HOUR_MS)
        near = sum(abs(gap - hours * _HOUR_MS) < _NEAR_MS for gap in gaps)
        if not 0 < abs(hours) <= _MAX_HOURS or near < _NEAR * len(gaps):
            return ""
        direction = "ahead of" if hours > 0 else "behind"
        return f"; they are {abs(hours)} h {direction} the records' timestamps"

    def order(self, times: Sequence[int | None]) -> EventOrder:
        """Return the distance of the records' times from order within their partitions."""
        orders: dict[int, EventOrder] = {}
        for one, time in zip(self.sample.rows, times, strict=True):
            if time is not None:
                orders.setdefault(one.record.partition, EventOrder()).add(time)
        return EventOrder.sum(orders.values())

    def _free(self, name: str) -> str:
        """Return a name that no column has."""
        while name in self.paths:
            name += "_"
        return name

    def sorted_records(
        self, times: Sequence[int | None], only: Collection[int] = ()
    ) -> list[Record]:
        """Return the sampled records in order of their times.

        Args:
            times: time of each record.
            only: numbers of the records to return; empty for all.
        """
        rows = enumerate(zip(self.sample.rows, times, strict=True))
        chosen = [
            (row.record.timestamp if time is None else time, row.record)
            for number, (row, time) in rows
            if not only or number in only
        ]
        return [record for _, record in sorted(chosen, key=lambda one: one[0])]

    def placement(self) -> str:
        """Return how the records were placed in partitions, empty if it cannot be found out."""
        keyed = {
            (one.record.key, one.record.partition)
            for one in self.sample.rows
            if one.record.key is not None
        }
        if not keyed:
            return "its records have no keys"
        keys = len({key for key, _ in keyed})
        if keys < len(keyed):
            return f"{len(keyed) - keys:,} of {keys:,} keys are in several partitions"
        if keys < _MIN_KEYS or self.sample.partitions < 2:
            return ""
        for name, partition_of in _PARTITIONERS:
            right = sum(partition_of(key, self.sample.partitions) == part for key, part in keyed)
            if right >= _PLACED * keys:
                return f"{right:,} of {keys:,} keys are placed by {name}"
        return "no known partitioner explains where its keys are"


def _unit(column: Column) -> Unit:
    return _UNITS[column.unit.name]


def _is_path(column: Column, rows: Iterable[Fields]) -> bool:
    """Return False for a name with a dot, which cannot be told from a path."""
    parts = column.name.split(".")
    if not all(parts):
        return False
    return len(parts) == 1 or all(
        value is None or find(row, parts) == value
        for row, value in zip(rows, column.values, strict=True)
    )


def _names(paths: Sequence[str]) -> dict[str, str]:
    """Return a name of a field for each path, all different.

    >>> _names(["order.id", "order_id", "Order ID"])
    {'order.id': 'order_id_2', 'order_id': 'order_id', 'Order ID': 'Order_ID'}
    """
    names = {path: path for path in paths if is_avro_name(path)}
    return {path: names.get(path) or _free_name(avro_name(path), names, path) for path in paths}


def _free_name(wanted: str, names: dict[str, str], path: str) -> str:
    taken, number, name = set(names.values()), 2, wanted
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    names[path] = name
    return name


def in_milliseconds(column: Column) -> Column:
    """Return a column of times as sources give them."""
    return Column(column.name, "integer", column.times, "timestamp-millis")


def topic_columns(sample: TopicSample) -> TopicColumns:
    """Return the columns of a topic's sample."""
    found = profile_columns(SampledRecord(one.row) for one in sample.rows)
    rows = [one.row for one in sample.rows]
    paths = [one for one in found if one.type != "empty" and _is_path(one, rows)]
    if len(paths) > _MAX_COLUMNS:
        most = sorted(paths, key=lambda one: one.nulls)[:_MAX_COLUMNS]
        paths = [one for one in paths if any(one is other for other in most)]
    names = _names([one.name for one in paths])
    columns = [Column(names[one.name], one.type, one.values, one.declared_time) for one in paths]
    return TopicColumns(sample, columns, {names[one.name]: one.name for one in paths})
