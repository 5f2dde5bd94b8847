"""Start of a partition of a source: where to continue, and what to do about lost records."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, Protocol

from stream_app.core.monitoring.alarms import LastingAlarms
from stream_app.errors import TopicsError
from stream_app.kafka.retrying_reader import TopicReader
from stream_app.records import InputPartition
from stream_app.sources import Source
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)

LOST_ALARM = "source-records-lost"
HELD_ALARM = "source-held"
# The alarm of lost records ends after this time.
LOST_QUIET_MS = 600_000


class SourceTopicReader(TopicReader, Protocol):
    """Reader that also knows the partitions of topics and the times of their records."""

    def partition_count(self, topic: str) -> int:
        """Return the number of partitions of a topic."""

    def offset_since(self, source: InputPartition, since: int) -> int:
        """Return the first offset with a timestamp of at least `since`, in Unix milliseconds."""


TopicIds = Callable[[str], str | None]
"""Returns the present id of a topic, None if it cannot be read or has none."""


class SourceStart(NamedTuple):
    """Start of one partition of a source.

    Attributes:
        source: declaration of the source.
        partition: the partition.
        reader: reader of its offsets.
        id_of: returns the present id of a topic.
        accept_loss: True if records that were deleted unread are accepted in every source.
    """

    source: Source
    partition: InputPartition
    reader: SourceTopicReader
    id_of: TopicIds
    accept_loss: bool

    def first_offset(self, low: int, high: int) -> int:
        """Return where to begin a partition that was never read, between its ends."""
        start = self.source.start
        if isinstance(start, datetime):
            return self.reader.offset_since(self.partition, int(start.timestamp() * 1000))
        return low if start == "earliest" else high

    def is_recreated(self, known: str | None) -> bool:
        """Return True if the topic is another one than was read before, whose id is given."""
        present = self.id_of(self.partition.topic)
        return None not in (present, known) and present != known

    def check_topic(self, known: str | None) -> None:
        """Check that the topic is the one that was read before, whose id is given.

        Raises:
            TopicsError: it was recreated.
        """
        if self.is_recreated(known):
            raise TopicsError(
                f"{self.partition.topic} was recreated",
                "No action needed: its task starts again and decides what to do",
            )

    def accepted_loss(
        self, offset: int, low: int, known: str | None, alarms: LastingAlarms, now: int
    ) -> int | None:
        """Return the number of records that are skipped, None if that is not accepted.

        Args:
            offset: next offset, from which records are missing.
            low: first offset that is left.
            known: id of the topic that was read before.
            alarms: alarms of the partition, which get the one for the case.
            now: wall-clock time in Unix milliseconds.
        """
        where = f"{self.partition.topic}[{self.partition.partition}]"
        count = 0 if self.is_recreated(known) else max(0, low - offset)
        why = f"{count} records were deleted" if count else "the topic was recreated"
        if self.accept_loss or self.source.on_loss == "continue":
            log.warning("records of a source are lost", partition=where, why=why, next=low)
            alarms.end(HELD_ALARM, now)
            alarms.raise_(LOST_ALARM, where, now, value=float(count))
            return count
        log.error(
            "a partition of a source waits",
            partition=where,
            why=f"it continues at offset {offset}, but {why}",
            action=f'set on_loss="continue" of source {self.source.source_name} to read what is '
            "left",
        )
        alarms.raise_(HELD_ALARM, where, now, value=float(count))
        return None
