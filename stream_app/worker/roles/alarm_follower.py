"""Follower of `<p>.alarms`: exports the states of the open alarms as a metric."""

from collections.abc import Callable, Iterable
from threading import Event, Thread
from typing import Protocol

from stream_app.clock import now_ms
from stream_app.core.alarms.alarm_log import OPEN_STATES, AlarmLog
from stream_app.errors import StreamAppError
from stream_app.records import InputPartition, Record
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import ALARMS_OPEN

log = get_logger(__name__)

POLL_SECONDS = 1.0
# After an error.
_RETRY_SECONDS = 10.0


class LogReader(Protocol):
    """Reader of the topic; see `RetryingReader`."""

    def ends(self, source: InputPartition) -> tuple[int, int]: ...

    def read_range(self, topic: str, partition: int, start: int, end: int) -> Iterable[Record]: ...


class AlarmFollower(Thread):
    """Thread that exports `stream_app_alarms_open` of the alarms that the monitor decides.

    Acknowledgements and silences are seen here only, so that no decision depends on them. Every
    worker of the role exports what is committed, also one without partitions.

    Args:
        reader: reader of the topic.
        topic: full name of the topic.
        clock: returns the wall-clock time in Unix milliseconds.
    """

    def __init__(self, reader: LogReader, topic: str, clock: Callable[[], int] = now_ms) -> None:
        super().__init__(name="alarm-states", daemon=True)
        self._reader = reader
        self._topic = topic
        self._clock = clock
        self._position = 0
        self._log = AlarmLog()
        # Series that were exported, by name and source.
        self._exported: set[tuple[str, str]] = set()
        self._has_failed = False

    def run(self) -> None:
        pause = Event()
        while True:
            self.follow()
            pause.wait(_RETRY_SECONDS if self._has_failed else POLL_SECONDS)

    def follow(self) -> None:
        """Read what is new, and export the states; those known are exported without an answer."""
        try:
            self._read()
            self._has_failed = False
        except StreamAppError as error:
            if not self._has_failed:
                log.warning("new states of alarms are unknown", why=str(error))
            self._has_failed = True
        self._export()

    def _read(self) -> None:
        low, high = self._reader.ends(InputPartition(self._topic, 0))
        if high < self._position:
            # The topic was recreated.
            self._position, self._log = 0, AlarmLog()
        start = max(low, self._position)
        for record in self._reader.read_range(self._topic, 0, start, high) if start < high else ():
            self._log.add(record.key, record.value)
        self._position = high

    def _export(self) -> None:
        now = self._clock()
        states = {(one.name, one.source): self._log.state(one, now) for one in self._log.open()}
        self._exported |= states.keys()
        for name, source in self._exported:
            for state in OPEN_STATES:
                is_in_state = states.get((name, source)) == state
                ALARMS_OPEN.labels(name, source, state).set(is_in_state)
