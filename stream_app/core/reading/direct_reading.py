"""Direct reading: records of a source that scorers read themselves, without `ingest`."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, Self

from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas
from stream_app.core.reading.envelopes import Skipped
from stream_app.core.reading.selection import Forwarded, SourceIntake, find_header, named
from stream_app.error_codes import WRONG_PARTITION
from stream_app.headers import SOURCE, SourcePosition, parse_source
from stream_app.pipeline import Pipeline, direct_source
from stream_app.records import Failure, Record, UnreadableRecord, fast_namedtuple

# Keys whose partitions are remembered: the hash of some partitioners takes microseconds.
_REMEMBERED_KEYS = 10_000


class Placement(NamedTuple):
    """Placement of the keys of a pipeline.

    Attributes:
        name: name of the partitioner.
        home: returns the partition of a key.
    """

    name: str
    home: Callable[[bytes], int]


class DirectRecord(NamedTuple):
    """Record as the scorer's reader takes it, and its outcome if it is not to be read.

    Attributes:
        record: the record with the header `SOURCE`, as `ingest` would forward it.
        result: outcome of a record that is left out, failure of a dead letter, or None.
    """

    record: Record
    result: Skipped | Failure | None = None


_record = fast_namedtuple(Record)
_direct_record = fast_namedtuple(DirectRecord)


class DirectIntake:
    """Decides what happens to the records of the topic that a pipeline reads directly.

    Records of that source that come through another topic, as replays do, are treated alike. All
    others are left as they are.

    Args:
        pipeline: loaded pipeline with a direct source.
        placement: its partitioner; None if no record is in a wrong partition.

    Attributes:
        topic: full name of the topic.
        name: name of the source.
    """

    def __init__(self, pipeline: Pipeline, placement: Placement | None = None) -> None:
        source = direct_source(pipeline)
        if source is None:
            raise ValueError(f"{pipeline.name} has no source that is read directly")
        self.topic = source.topic
        self.name = source.source_name
        self._intake = SourceIntake(pipeline, source, label=False)
        # Otherwise the reader decodes the record, and nothing else has to.
        self._decodes = source.where is not None or source.envelope is not None
        self._partitioner = "" if placement is None else placement.name
        self._home = None if placement is None else lru_cache(_REMEMBERED_KEYS)(placement.home)

    @classmethod
    def of(cls, pipeline: Pipeline, placement: Placement | None = None) -> Self | None:
        """Return the intake of a pipeline, None if it has no direct source."""
        return None if direct_source(pipeline) is None else cls(pipeline, placement)

    def marked(self, record: Record) -> Record:
        """Return a record of the topic with the header `SOURCE`; others are left as they are."""
        topic, partition, offset, timestamp, key, value, headers = record
        if topic != self.topic:
            return record
        position = SourcePosition(self.name, partition, offset, timestamp)
        ours = self._intake.headers(position, key, headers)
        if value is None:
            # Keeps the class of an unreadable record.
            return record._replace(headers=ours)
        return _record((topic, partition, offset, timestamp, key, value, ours))

    def read(self, record: Record, schemas: Schemas = NO_SCHEMAS) -> DirectRecord:
        """Return a record as the scorer's reader takes it, or what happens to it instead.

        Failures: those of the filter and of the envelope; `wrong-partition` for a key that the
        partitioner puts elsewhere.

        Args:
            record: record of an input of events.
            schemas: writer schemas that Avro records refer to.
        """
        if record.topic == self.topic:
            if record.value is None and not isinstance(record, UnreadableRecord):
                return DirectRecord(self.marked(record), "tombstone")
        elif not self._is_of_source(record):
            return DirectRecord(record)
        sent = self.marked(record)
        if self._decodes:
            found = self._intake.read(sent, schemas, _position_of(sent))
            if not isinstance(found, Forwarded):
                return DirectRecord(sent, found)
        key, find_home = sent.key, self._home
        if key and find_home is not None:
            home = find_home(key)
            if home != sent.partition:
                return DirectRecord(sent, self._misplaced(sent, home, schemas))
        return _direct_record((sent, None))

    def _is_of_source(self, record: Record) -> bool:
        position = _position_of(record) if record.headers else None
        return position is not None and position.source == self.name

    def _misplaced(self, record: Record, home: int, schemas: Schemas) -> Skipped | Failure | None:
        """Return the outcome of a record that is not in the home partition of its key.

        None if its key is not that of its fields, which the reader reports.
        """
        found = self._intake.read(record, schemas, _position_of(record))
        if not isinstance(found, Forwarded):
            return found
        if found.key != record.key:
            return None
        problem = (
            f"the record is in partition {record.partition}, and {self._partitioner}, the "
            f"partitioner that is declared, puts its key in partition {home}"
        )
        return named(Failure(WRONG_PARTITION, problem), self.name)


def _position_of(record: Record) -> SourcePosition | None:
    return parse_source(find_header(record.headers, SOURCE))
