"""Events and labels of topics as lines of a simulation, read in windows of bounded memory.

The topics are those of the pipeline's sources, and the pipeline's own: of these, the records that
were sent directly, and those that `ingest` has forwarded and that their source no longer has.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import count
from typing import NamedTuple

from stream_app.core.reading.completeness import is_completeness
from stream_app.core.reading.decoding import Schemas
from stream_app.core.reading.record_reader import LabelReader
from stream_app.core.reading.selection import find_header
from stream_app.errors import InputError, TopicsError
from stream_app.headers import SOURCE, parse_source
from stream_app.kafka.offsets import PartitionId
from stream_app.kafka.partition_reader import PartitionReader, partition_of
from stream_app.kafka.retrying_reader import as_record
from stream_app.offline.ingesting import OfflineIngest
from stream_app.offline.log_order import LOOKAHEAD, LogBuffer, Timed, merged_logs
from stream_app.offline.timeline import InputLine, LineKind, time_reader, timed_line
from stream_app.pipeline import Pipeline
from stream_app.records import Record
from stream_app.sources import Source
from stream_app.topic_kinds import topic_name

# Records in memory, of all partitions, and their bytes beyond which no more are read at once.
_RECORDS = 50_000
_BYTES = 64 * 1024 * 1024


class LogRange(NamedTuple):
    """Range of offsets, the end exclusive, that was read of one partition."""

    topic: str
    partition: int
    start: int
    end: int


class _PartitionLog(LogBuffer[InputLine]):
    """Next lines of one partition.

    Attributes:
        partition: topic and number.
        next: offset of the next record to read.
        end: offset after the last one.
    """

    def __init__(self, range_: LogRange) -> None:
        super().__init__()
        self.partition: PartitionId = range_.topic, range_.partition
        self.next, self.end = range_.start, range_.end
        self.is_ended = self.next >= self.end


class TopicLines:
    """Events, or labels, of a pipeline's topics as they are now; iterate it once.

    Records of a partition come in the order of its log. Partitions are merged by the time of their
    records, so that none is ahead of the others.

    Args:
        reader: reader of its own.
        pipeline: loaded pipeline.
        kind: "event" or "label".
        schemas: writer schemas that Avro records refer to.

    Attributes:
        ranges: offsets of each partition that has any.
        size: their number.
        deleted: number of those that retention deleted before they were read.

    Raises:
        TopicsError: a topic is missing.
        InputError: the topics have no record.
        AccessError, KafkaUnavailableError: as `PartitionReader`.
    """

    def __init__(
        self, reader: PartitionReader, pipeline: Pipeline, kind: LineKind, schemas: Schemas
    ) -> None:
        labels = kind == "label"
        self._reader, self._kind, self._schemas = reader, kind, schemas
        self._own_topic = topic_name(pipeline.name, "labels" if labels else "raw")
        sources = pipeline.label.sources if labels else pipeline.sources
        self._ingests = {
            source.topic: OfflineIngest(
                pipeline, source.source_name, labels=labels, partitions=self._partitions_of(source)
            )
            for source in sources
        }
        self._meanings = LabelReader(pipeline) if labels else time_reader(pipeline)
        # The pipeline's own topic first, so that what it has of the sources is within their ends.
        self.ranges = [*self._own_ranges(bool(sources)), *self._source_ranges(sources)]
        self._starts = {
            (self._ingests[one.topic].source.source_name, one.partition): one.start
            for one in self.ranges
            if one.topic in self._ingests
        }
        self.size = sum(one.end - one.start for one in self.ranges)
        self._read = self.deleted = 0
        if not self.size:
            topics = ", ".join([*self._ingests, self._own_topic])
            raise InputError(
                f"There are no {kind}s to learn from: no record in {topics}",
                "Send some first, or train from files",
            )
        self._logs = [_PartitionLog(one) for one in self.ranges]
        self._window = max(LOOKAHEAD, _RECORDS // len(self._logs))
        # The simulation knows records by their offset.
        self._offsets = count()

    def __iter__(self) -> Iterator[Timed[InputLine]]:
        return merged_logs(self._logs, self._read_more)

    @property
    def position(self) -> int:
        """Number of offsets that are done: read, and not among the next lines."""
        return self._read - sum(map(len, self._logs))

    def _partitions_of(self, source: Source) -> int:
        """Return the number of partitions of a topic that is read directly, else 0."""
        if not source.direct:
            return 0
        try:
            return len(self._reader.find_partitions([source.topic]))
        except TopicsError:
            # `_source_ranges` names the source of a missing topic.
            return 0

    # --- Bounds -----------------------------------------------------------------------------------

    def _own_ranges(self, may_be_missing: bool) -> list[LogRange]:
        try:
            return self._ranges(self._own_topic)
        except TopicsError:
            if may_be_missing:
                return []
            raise

    def _source_ranges(self, sources: Sequence[Source]) -> Iterator[LogRange]:
        for source in sources:
            try:
                ranges = self._ranges(source.topic)
            except TopicsError:
                raise TopicsError(
                    f"Topic {source.topic} of the source {source.source_name} does not exist",
                    "Correct topic= of the source, or create the topic",
                ) from None
            yield from self._since(ranges, source.start)

    def _ranges(self, topic: str) -> list[LogRange]:
        bounds = self._reader.topic_bounds([topic])
        return [LogRange(*one, start, end) for one, (start, end) in bounds.items() if start < end]

    def _since(self, ranges: list[LogRange], start: str | datetime) -> list[LogRange]:
        """Return what is left of ranges from a time on; the other starts are for `ingest`."""
        since = int(start.timestamp() * 1000) if isinstance(start, datetime) else None
        if since is None or not ranges:
            return ranges
        ends = {(one.topic, one.partition): one.end for one in ranges}
        offsets = self._reader.offsets_since(ends, since)
        found = [
            one._replace(start=max(one.start, offsets[one.topic, one.partition])) for one in ranges
        ]
        return [one for one in found if one.start < one.end]

    # --- Records ----------------------------------------------------------------------------------

    def _read_more(self) -> None:
        """Read until no log needs more: first a window of each, then those that need it alone."""
        wanted = [log for log in self._logs if not log.is_ended and len(log) < self._window // 2]
        while wanted:
            self._read_windows({log.partition: log for log in wanted})
            wanted = [log for log in self._logs if log.needs_more]

    def _read_windows(self, logs: Mapping[PartitionId, _PartitionLog]) -> None:
        windows = {
            one: (log.next, min(log.next + self._window, log.end)) for one, log in logs.items()
        }
        size, skipped = 0, set(windows)
        for message in self._reader.records(windows):
            record = as_record(message)
            log = logs[partition_of(message)]
            if record.offset > log.next and log.partition in skipped:
                self._count_deleted(log, record.offset)
            skipped.discard(log.partition)
            self._move(log, record.offset + 1)
            line = self._line(record)
            if line is not None:
                log.add(timed_line(self._meanings, line, self._schemas))
                size += len(record.value or b"")
                if size > _BYTES:
                    return
        for one, log in logs.items():
            if one in skipped:
                self._count_deleted(log, windows[one][1])
            self._move(log, windows[one][1])

    def _move(self, log: _PartitionLog, offset: int) -> None:
        self._read += offset - log.next
        log.next = offset
        log.is_ended = offset >= log.end

    def _count_deleted(self, log: _PartitionLog, reached: int) -> None:
        """Count what retention has deleted of a range without records, which may be markers."""
        start, _ = self._reader.bounds([log.partition])[log.partition]
        self.deleted += max(0, min(start, reached) - log.next)

    def _line(self, record: Record) -> InputLine | None:
        """Return the line of a record, None if it is no event and no label, or read elsewhere."""
        place = f"{record.topic}[{record.partition}]@{record.offset}"
        ingest = self._ingests.get(record.topic)
        if ingest is not None:
            forwarded, result = ingest.ingest(record, next(self._offsets), self._schemas)
            return InputLine(self._kind, place, forwarded, result=result)
        if is_completeness(record) or self._is_in_source(record):
            return None
        own = record._replace(partition=0, offset=next(self._offsets))
        return InputLine(self._kind, place, own)

    def _is_in_source(self, record: Record) -> bool:
        """Return True if a forwarded record is read from its source as well."""
        position = parse_source(find_header(record.headers, SOURCE))
        if position is None:
            return False
        start = self._starts.get((position.source, position.partition))
        return start is not None and position.offset >= start
