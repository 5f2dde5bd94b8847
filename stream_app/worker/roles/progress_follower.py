"""Follower of `<p>.ingest.state`: how far the other workers have read the sources."""

from collections.abc import Collection, Iterable, Mapping
from threading import Event, Thread
from typing import Any, Protocol

from stream_app.errors import StreamAppError
from stream_app.records import InputPartition, Record
from stream_app.telemetry.logs import get_logger
from stream_app.worker.roles.ingest_state import read_states
from stream_app.worker.roles.source_alignment import PartitionProgress, SourceAlignment

log = get_logger(__name__)

POLL_SECONDS = 0.5
# After an error.
_RETRY_SECONDS = 10.0
# Partitions whose ends are asked for at a time.
_ENDS = 32


class StateReader(Protocol):
    """Reader of the state and of the ends of partitions; see `RetryingReader`."""

    def ends(self, source: InputPartition) -> tuple[int, int]: ...

    def read_range(self, topic: str, partition: int, start: int, end: int) -> Iterable[Record]: ...


class ProgressFollower(Thread):
    """Thread that tells the alignment how far other workers have read.

    It asks Kafka only while a partition of this worker catches up with the present. Without an
    answer, nothing waits for partitions of other workers for long.

    Args:
        reader: reader of the state and of the sources' ends.
        topic: full name of the topic with the state.
        sources: topics of the sources.
        alignment: told about the progress.
    """

    def __init__(
        self,
        reader: StateReader,
        topic: str,
        sources: Collection[str],
        alignment: SourceAlignment,
    ) -> None:
        super().__init__(name="source-progress", daemon=True)
        self._reader = reader
        self._topic = topic
        self._sources = sources
        self._alignment = alignment
        self._position = 0
        # State of each partition of the sources, and its end when it was last asked for.
        self._states: dict[InputPartition, Mapping[str, Any]] = {}
        self._ends: dict[InputPartition, int] = {}
        # Number of the round in which that was.
        self._asked: dict[InputPartition, int] = {}
        self._round = 0
        self._has_failed = False

    def run(self) -> None:
        pause = Event()
        while not pause.wait(_RETRY_SECONDS if self._has_failed else POLL_SECONDS):
            if self._alignment.is_catching_up:
                self.follow()

    def follow(self) -> None:
        """Tell the alignment what is new."""
        try:
            self._read()
            self._has_failed = False
        except (StreamAppError, ValueError, KeyError) as error:
            if not self._has_failed:
                log.warning("the progress of other ingest workers is unknown", why=str(error))
            self._has_failed = True

    def _read(self) -> None:
        low, high = self._reader.ends(InputPartition(self._topic, 0))
        if high < self._position:
            # The topic was recreated.
            self._position, self._states = 0, {}
        start = max(low, self._position)
        records = self._reader.read_range(self._topic, 0, start, high) if start < high else ()
        found = read_states((record.key, record.value) for record in records)
        self._position = high
        self._states |= {
            source: state for source, state in found.items() if source.topic in self._sources
        }
        self._learn(self._states)
        self._round += 1
        behind = sorted(self._alignment.others_behind(), key=lambda one: self._asked.get(one, 0))
        for source in behind[:_ENDS]:
            self._ends[source] = self._reader.ends(source)[1]
            self._asked[source] = self._round
        self._learn(behind[:_ENDS])

    def _learn(self, sources: Iterable[InputPartition]) -> None:
        self._alignment.learn({source: self._progress(source) for source in sources})

    def _progress(self, source: InputPartition) -> PartitionProgress:
        state = self._states[source]
        has_more = state["next"] < self._ends.get(source, 0)
        return PartitionProgress(state["clock"]["watermark"], has_more)
