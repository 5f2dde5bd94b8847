"""Reading topics plainly, outside any group: the seam between the roles' state and Kafka."""

from collections.abc import Iterable
from typing import Protocol

from stream_app.records import InputPartition, Record


class TopicReader(Protocol):
    """Reads committed records of one partition; `topic` is the full Kafka name."""

    def read_all(self, topic: str, partition: int) -> Iterable[tuple[bytes | None, bytes | None]]:
        """Key and value of every record up to the present stable end, in log order; a value of None deletes its key."""

    def read_settled(
        self, topic: str, partition: int
    ) -> Iterable[tuple[bytes | None, bytes | None]]:
        """As `read_all`, once every transaction has ended that was open on it."""

    def read_range(self, topic: str, partition: int, start: int, end: int) -> Iterable[Record]:
        """The records with start <= offset < end."""

    def ends(self, source: InputPartition) -> tuple[int, int]:
        """First offset still there, and the one after the last that is stable."""
